"""What the training of a tagger tells: a line for each epoch, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class TaggerRecord:
    """One line of a learning curve; scores between 0 and 1, None without validation data."""

    epoch: int
    loss: float
    score: float | None
    metric: str
    rate: float
    tokens_per_second: float
    seconds: float

    def line(self) -> str:
        """The record as one line of text."""
        score = "" if self.score is None else f"  valid {self.metric} {100 * self.score:6.2f}"
        return (
            f"epoch {self.epoch:3d}  loss {self.loss:8.4f}{score}  rate {self.rate:.2g}  "
            f"{self.tokens_per_second:,.0f} tokens/s  {self.seconds:.0f} s"
        )


class TaggerTick(NamedTuple):
    """How far training is, told about every second."""

    epoch: int
    epochs: int
    done: float
    tokens_per_second: float
    seconds_left: float
    loss: float
    score: float | None
