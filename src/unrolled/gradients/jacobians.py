"""Jacobians dh_t/dh_{t-1} of recurrent layers and their products over many steps, exact.

The lecture's argument: |dh_t/dh_{t-k}| is at most (beta_W beta_h)^k, where beta_W is the spectral
norm of the recurrent weights and beta_h the largest slope of the nonlinearity. `jacobian_report`
compares the measured norms with that bound, which often is far from tight.

The state of an LSTM is (h, c) concatenated, 2 H numbers; of other cells it is h.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.gradients.tangents import Tangent, tangent_of
from unrolled.neural.cells import Cell, State
from unrolled.neural.initialisation import spectral_radius

Array = np.ndarray[Any, Any]

# beta_h, the largest slope of each nonlinearity.
LARGEST_SLOPE = {"tanh": 1.0, "relu": 1.0, "linear": 1.0, "sigmoid": 0.25}


def jacobians(cell: Cell, x: Tensor, start: State | None = None) -> Tensor:
    """d state_t / d state_{t-1} at every step, (T, B, S, S): rows are what changes, by columns.

    Args:
        x: (T, B, E). start: the state before; zeros by default.

    >>> cell = Cell("elman", 3, 4, nonlinearity="linear")
    >>> bool((jacobians(cell, torch.randn(5, 2, 3)) == cell.state_weight).all())
    True
    """
    return tangent_of(cell, x, start).jacobians()


@dataclass(frozen=True)
class JacobianReport:
    """The Jacobians of one layer in numbers.

    Attributes:
        name: of the layer.
        steps: (K,) numbers k of steps.
        norms: (K,) mean spectral norm of the products over k steps. highest: (K,) the largest.
        spectrum: (K, S) mean singular values of the products, largest first.
        beta_weight, beta_slope: the lecture's bounds; beta_slope is None for LSTM and GRU, which
            the lecture's argument does not cover.
        radii: spectral radius of the recurrent weights, by gate.
        saturated: share of values whose slope is under 1 % of its largest, by gate.
        dead: share of units that are so at all steps of all sentences.
    """

    name: str
    steps: Array
    norms: Array
    highest: Array
    spectrum: Array
    beta_weight: float
    beta_slope: float | None
    radii: dict[str, float]
    saturated: dict[str, float]
    dead: float

    @property
    def bound(self) -> Array:
        """(K,) (beta_W beta_h)^k; for LSTM and GRU the k-th power of the largest norm of a step."""
        base = float(self.highest[0])
        if self.beta_slope is not None:
            base = self.beta_weight * self.beta_slope
        with np.errstate(over="ignore"):
            found: Array = base ** self.steps.astype(np.float64)
        return found

    def record(self) -> dict[str, Any]:
        """All of it, for JSON."""
        numbers = {"norms": self.norms, "highest": self.highest, "bound": self.bound}
        return {
            "name": self.name,
            "steps": self.steps.tolist(),
            **{name: [_number(value) for value in values] for name, values in numbers.items()},
            "singular_values": [[_number(value) for value in row] for row in self.spectrum],
            "beta_weight": self.beta_weight,
            "beta_slope": self.beta_slope,
            "spectral_radius": self.radii,
            "saturated": self.saturated,
            "dead": self.dead,
        }


@torch.no_grad()
def jacobian_report(
    tangent: Tangent,
    *,
    steps: Sequence[int] | None = None,
    starts: int = 4,
    name: str = "layer 1",
) -> JacobianReport:
    """Norms and singular values of a layer's Jacobians, and how saturated its units are.

    Args:
        tangent: of the layer, along some inputs.
        steps: numbers of steps to multiply Jacobians over, ascending; by default 1 and about every
            one and a half times as many, up to T.
        starts: at how many steps of each sentence products begin: singular values take long, and
            those of a few products are enough.

    Raises:
        SettingError: steps below 1 or above T.
    """
    cell = tangent.cell
    # In float64, or rounding would set a floor to the small singular values of long products.
    made = tangent.jacobians().double()
    length = len(made)
    wanted = sorted({1, *(some_steps(length) if steps is None else steps)})
    if wanted[0] < 1 or wanted[-1] > length:
        raise SettingError(f"steps are {wanted}, allowed are 1 to {length}, those of the text")
    places = sorted({start * length // starts for start in range(starts)})
    norms, highest, spectrum = [], [], []
    for product in _chains(made, places, wanted):
        values = torch.linalg.svdvals(product).flatten(0, 1)  # (stretches, S)
        norms.append(float(values[:, 0].mean()))
        highest.append(float(values[:, 0].max()))
        spectrum.append(values.mean(0).cpu().numpy())
    plain = cell.kind in ("elman", "irnn")
    return JacobianReport(
        name=name,
        steps=np.array(wanted),
        norms=np.array(norms),
        highest=np.array(highest),
        spectrum=np.array(spectrum),
        beta_weight=float(torch.linalg.matrix_norm(tangent.weight, 2)),
        beta_slope=LARGEST_SLOPE[cell.nonlinearity] if plain else None,
        radii={gate: spectral_radius(block) for gate, block in tangent.gate_weights().items()},
        saturated=tangent.saturated(),
        dead=tangent.dead(),
    )


def some_steps(longest: int) -> list[int]:
    """Numbers of steps, each about one and a half times the one before.

    >>> some_steps(20)
    [1, 2, 3, 5, 8, 12, 18, 20]
    """
    found = [1]
    while found[-1] < longest:
        found.append(min(max(found[-1] + 1, round(found[-1] * 1.5 + 0.01)), longest))
    return found


def _chains(made: Tensor, places: list[int], wanted: list[int]) -> Iterator[Tensor]:
    """Products over the wanted numbers of steps (N, B, S, S), each chain from one of the places."""
    total = made[places]
    for k in range(1, wanted[-1] + 1):
        if k > 1:
            places = [place for place in places if place + k <= len(made)]
            total = made[[place + k - 1 for place in places]] @ total[: len(places)]
        if k in wanted:
            yield total


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


@torch.no_grad()
def growth(weight: Tensor, vector: Tensor | None = None, steps: int = 60) -> tuple[float, Tensor]:
    """The approximate spectral radius of a matrix (H, H): the growth of a vector by its powers.

    Errors are a few percent; each step is one product with a vector, where eigenvalues take
    hundreds of them. A vector from an earlier call makes it more accurate.

    Returns:
        The radius, and the vector for the next call.
    """
    if vector is None or not bool(torch.isfinite(vector).all()):
        generator = torch.Generator().manual_seed(1)
        vector = torch.randn(len(weight), generator=generator).to(weight)
    logs, warm = 0.0, steps // 3
    for step in range(steps):
        vector = weight @ vector
        norm = float(vector.norm())
        if not 0 < norm < math.inf:
            return norm, weight.new_full((len(weight),), math.nan)
        vector = vector / norm
        logs += math.log(norm) if step >= warm else 0.0
    return math.exp(logs / (steps - warm)), vector
