"""Jacobians dh_t/dh_{t-1} of recurrent layers and their products over many steps, exact.

The lecture's argument: |dh_t/dh_{t-k}| is at most (beta_W beta_h)^k, where beta_W is the spectral
norm of the recurrent weights and beta_h the largest slope of the nonlinearity. `jacobian_report`
sets the measured norms beside that bound, which often is far from tight.

The state of an LSTM is (h, c) side by side, 2 H numbers; of other cells it is h.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.gradients.initialisation import spectral_radius
from unrolled.gradients.tangents import Tangent, tangent_of
from unrolled.neural.cells import Cell, State

Array = np.ndarray[Any, Any]

# beta_h, the largest slope of each nonlinearity.
LARGEST_SLOPE = {"tanh": 1.0, "relu": 1.0, "linear": 1.0, "sigmoid": 0.25}
_GATES = {"elman": ("state",), "irnn": ("state",), "lstm": ("enter", "forget", "new", "out"),
          "gru": ("reset", "update", "new")}  # fmt: skip


def jacobians(cell: Cell, x: Tensor, start: State | None = None) -> Tensor:
    """d state_t / d state_{t-1} at every step, (T, B, S, S): rows are what changes, by columns.

    Args:
        x: (T, B, E). start: the state before; zeros by default.

    >>> cell = Cell("elman", 3, 4, nonlinearity="linear")
    >>> bool((jacobians(cell, torch.randn(5, 2, 3)) == cell.state_weight).all())
    True
    """
    return tangent_of(cell, x, start or _zeros(cell, x)).jacobians()


def products(steps: Tensor) -> Iterator[Tensor]:
    """Products of Jacobians over k = 1, 2, ... T steps, each (T - k + 1, B, S, S).

    Row t of the k-th is d state_{t+k} / d state_t, the product of the Jacobians of steps t + 1 to
    t + k, the latest one on the left.

    Args:
        steps: (T, B, S, S) from `jacobians`.
    """
    total = steps
    yield total
    for k in range(1, len(steps)):
        total = steps[k:] @ total[:-1]
        yield total


@dataclass(frozen=True)
class JacobianReport:
    """What the Jacobians of one layer look like.

    Attributes:
        name: of the layer.
        norms: (K,) mean spectral norm of the products over k = 1 ... K steps, over all stretches of
            k steps and sentences. highest: (K,) the largest of them.
        spectrum: (K, S) mean singular values of the products, largest first.
        step_norm: the largest spectral norm of one step.
        beta_weight, beta_slope: the lecture's bounds; beta_slope is None for LSTM and GRU, which
            the lecture's argument does not cover.
        radii: spectral radius of the recurrent weights, by gate.
        saturated: share of values whose slope is under 1 % of its largest, by gate.
        dead: share of units that are so at all steps of all sentences.
    """

    name: str
    norms: Array
    highest: Array
    spectrum: Array
    step_norm: float
    beta_weight: float
    beta_slope: float | None
    radii: dict[str, float]
    saturated: dict[str, float]
    dead: float

    @property
    def bound(self) -> Array:
        """(K,) (beta_W beta_h)^k; for LSTM and GRU the k-th power of the largest norm of a step."""
        base = self.step_norm
        if self.beta_slope is not None:
            base = self.beta_weight * self.beta_slope
        with np.errstate(over="ignore"):
            found: Array = base ** np.arange(1, len(self.norms) + 1, dtype=np.float64)
        return found

    def record(self) -> dict[str, Any]:
        """All of it but the spectra, for JSON."""
        numbers = {"norms": self.norms, "highest": self.highest, "bound": self.bound}
        return {
            "name": self.name,
            **{
                name: [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
                for name, values in numbers.items()
            },
            "beta_weight": self.beta_weight,
            "beta_slope": self.beta_slope,
            "spectral_radius": self.radii,
            "saturated": self.saturated,
            "dead": self.dead,
        }


@torch.no_grad()
def jacobian_report(
    cell: Cell,
    x: Tensor,
    start: State | None = None,
    *,
    steps: int | None = None,
    name: str = "layer 1",
) -> JacobianReport:
    """Norms and singular values of a cell's Jacobians along inputs.

    A product over k steps takes 2 S^3 operations, and its singular values ten times as many; a few
    sentences tell as much as many.

    Args:
        x: (T, B, E). start: the state before; zeros by default.
        steps: K, the longest product; T by default.

    Raises:
        SettingError: steps below 1 or above T.
    """
    longest = len(x) if steps is None else steps
    if not 1 <= longest <= len(x):
        raise SettingError(f"steps is {longest}, allowed are 1 to {len(x)}, those of the text")
    return report_of(
        tangent_of(cell, x, start or _zeros(cell, x)), cell, longest, x.shape[1], name
    )  # fmt: skip


@torch.no_grad()
def report_of(
    tangent: Tangent, cell: Cell, steps: int, sentences: int = 4, name: str = "layer 1"
) -> JacobianReport:
    """The same from derivatives that are at hand.

    Args:
        sentences: how many to look at.
    """
    norms, highest, spectrum = [], [], []
    made = tangent.jacobians(slice(sentences))
    for k, product in enumerate(products(made)):
        if k == steps:
            break
        values = torch.linalg.svdvals(product).flatten(0, 1)  # (pairs, S)
        norms.append(float(values[:, 0].mean()))
        highest.append(float(values[:, 0].max()))
        spectrum.append(values.mean(0).cpu().numpy())
    gates = _GATES[cell.kind]
    blocks = tangent.weight.split(cell.hidden)
    plain = cell.kind in ("elman", "irnn")
    return JacobianReport(
        name=name,
        norms=np.array(norms),
        highest=np.array(highest),
        spectrum=np.array(spectrum),
        step_norm=highest[0],
        beta_weight=float(torch.linalg.matrix_norm(tangent.weight, 2)),
        beta_slope=LARGEST_SLOPE[cell.nonlinearity] if plain else None,
        radii={gate: spectral_radius(block) for gate, block in zip(gates, blocks, strict=True)},
        saturated=tangent.saturated(),
        dead=tangent.dead(),
    )


def growth(weight: Tensor, vector: Tensor | None = None, steps: int = 60) -> tuple[float, Tensor]:
    """The spectral radius of a matrix (H, H), about: how fast its powers make a vector grow.

    Errors are some percent; each step is one product with a vector, where eigenvalues take hundreds
    of them. A vector from an earlier call makes it better.

    Returns:
        The radius, and the vector to go on with.
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


def _zeros(cell: Cell, x: Tensor) -> State:
    return tuple(x.new_zeros(x.shape[1], cell.hidden) for _ in range(cell.states))
