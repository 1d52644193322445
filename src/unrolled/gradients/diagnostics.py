"""What the monitor measures at one step of training, and what such numbers mean in words."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unrolled.gradients.by_lag import SMALL, LayerLags

GROWS = 10.0  # a mean norm so many times that of lag 0 is reported as an explosion
DEAD_SHARE = 0.1  # share of dead units that is reported
CLIPPED_SHARE = 0.5  # share of clipped updates that is reported


def of_lags(layer: LayerLags) -> list[str]:
    """Where the gradients of a layer vanish, or that they explode; empty where they do neither.

    >>> from unrolled.gradients.measure import measure_cell
    >>> of_lags(measure_cell("elman", hidden=16, steps=20, batch=4).lags.layers[0])
    ['layer 1: gradients beyond lag 5 are under 1 % of the total']
    """
    norms, longest = layer.norms, len(layer.norms) - 1
    if not np.isfinite(norms).all():
        return [f"{layer.name}: gradients are not finite"]
    if not norms.any():
        return [f"{layer.name}: no gradient arrives"]
    found = []
    if layer.reach < longest:
        share = f"under {100 * SMALL:.0f} % of the total"
        found.append(f"{layer.name}: gradients beyond lag {layer.reach} are {share}")
    lag = int(norms.argmax())
    if lag > 0 and norms[lag] > GROWS * norms[0] > 0:
        times = norms[lag] / norms[0]
        found.append(
            f"{layer.name}: gradients grow with the lag, at lag {lag} they are {times:,.0f} times "
            "those at lag 0"
        )
    return found


def of_units(name: str, dead: float, saturated: dict[str, float]) -> list[str]:
    """Dead or saturated units."""
    found = []
    if dead >= DEAD_SHARE:
        found.append(f"{name}: {100 * dead:.0f} % of the units are dead or saturated throughout")
    elif saturated.get("state", 0) >= 0.5:
        found.append(f"{name}: {100 * saturated['state']:.0f} % of the states are saturated")
    return found


def of_clipping(clipped: float) -> list[str]:
    """Updates that are mostly clipped."""
    if clipped < CLIPPED_SHARE:
        return []
    return [f"{100 * clipped:.0f} % of the updates are clipped"]


@dataclass(frozen=True)
class LayerState:
    """One recurrent layer, or one direction of it, at one step of training.

    Attributes:
        name: of the module and the layer.
        norms: by lag, mean of |dE_t/dh_{t-k}|. shares: of the sum of all.
        reach: the lag beyond which lags have less than 1 % of the total.
        radius: approximate spectral radius of the recurrent weights, by gate.
        saturated: share of values with a slope near 0, by gate. dead: share of units.
        omega: Pascanu's Omega, of the last layer of a plain net that reads forwards; else None.
    """

    name: str
    norms: list[float]
    shares: list[float]
    reach: int
    radius: dict[str, float]
    saturated: dict[str, float]
    dead: float
    omega: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """What the monitor measured at one step.

    Attributes:
        step: updates before it. seconds: since the monitor began.
        norm: of the whole gradient, before clipping.
        clipped: share of updates since the last snapshot whose gradient was clipped, if known.
        parameters: norm of each parameter's gradient, before clipping.
        layers: of each recurrent layer.
        diagnostics: what stands out, in words.
        cost: the monitor's share of the time since it began.
    """

    step: int
    seconds: float
    norm: float
    clipped: float | None
    parameters: dict[str, float]
    layers: list[LayerState]
    diagnostics: list[str]
    cost: float

    def json(self) -> str:
        """One line of JSON; numbers that are not finite are null."""
        return json.dumps(_plain(asdict(self)))


def _plain(value: Any) -> Any:
    """As JSON has it: numbers of six digits, null for what is not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
