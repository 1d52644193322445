"""Schedules of the learning rate: after each epoch by the validation score, or step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingError

SCHEDULES = ("halving", "cosine", "decay", "constant")


@dataclass
class Schedule:
    """The rate as a factor of the first one, and when to stop.

    ``halving`` is Mikolov's: keep the rate until the validation entropy improves by less than a
    factor of 1.003, then halve it every epoch until that happens again. ``cosine`` warms up
    linearly and then falls to a hundredth by the last step. ``decay`` divides by
    1 + ``decay`` * epoch. ``constant`` stays. The last three stop early after ``patience`` epochs
    without a better validation score.

    Attributes:
        kind: one of `SCHEDULES`. total: steps of the whole training, in ``epochs``.
        warmup: steps. patience: epochs; 0 never stops early.
    """

    kind: str
    total: int
    warmup: int = 0
    patience: int = 0
    decay: float = 0.05
    epochs: int = 1
    factor: float = 1.0
    halving: bool = False
    best: float = math.inf
    stale: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            allowed = ", ".join(SCHEDULES)
            raise SettingError(f"schedule '{self.kind}' is unknown, allowed are {allowed}")

    def rate(self, step: int) -> float:
        """Factor of the first rate at a step, counted from 0."""
        warm = min((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
        if self.kind == "cosine":
            done = min(step / max(self.total, 1), 1.0)
            return warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        if self.kind == "decay":
            return warm / (1 + self.decay * (step * self.epochs // max(self.total, 1)))
        return warm * self.factor

    def epoch_ended(self, loss: float) -> bool:
        """Adapt to the validation loss, in nats for halving; whether training continues."""
        improved = loss * 1.003 < self.best
        better = loss < self.best
        self.best = min(self.best, loss)
        self.stale = 0 if better else self.stale + 1
        if self.kind != "halving":
            return not self.patience or self.stale < self.patience
        if not improved:
            if self.halving:
                return False
            self.halving = True
        if self.halving:
            self.factor /= 2
        return True

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        names = ("factor", "halving", "best", "stale")
        return {name: _plain(getattr(self, name)) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        for name, value in state.items():
            setattr(self, name, math.inf if value is None else value)


def _plain(value: Any) -> Any:
    return None if value == math.inf else value  # JSON knows no infinity
