"""What the monitor sees at one step of training."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerState:
    """One recurrent layer, or one direction of it, at one step of training.

    Attributes:
        name: of the module and the layer.
        norms: by lag, mean of |dE_t/dh_{t-k}|. shares: of the sum of all.
        reach: the lag beyond which lags have less than 1 % of the total.
        radius: spectral radius of the recurrent weights, about, by gate.
        saturated: share of values with hardly any slope, by gate. dead: share of units.
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
class Observation:
    """What the monitor saw at one step.

    Attributes:
        step: updates before it. seconds: since the monitor began.
        norm: of the whole gradient, before clipping.
        clipped: share of updates since the last observation whose gradient was clipped; None if it
            is not known.
        parameters: norm of each parameter's gradient, before clipping.
        layers: of each recurrent layer.
        findings: what is worth saying, in words.
        cost: the monitor's share of the time since it began.
    """

    step: int
    seconds: float
    norm: float
    clipped: float | None
    parameters: dict[str, float]
    layers: list[LayerState]
    findings: list[str]
    cost: float

    def json(self) -> str:
        """One line of JSON; what is no finite number is null."""
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
