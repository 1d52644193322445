"""What training reports: progress every second, and a record of each epoch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from unrolled.language_models.evaluation import shown_perplexity
from unrolled.training.distributed import Group

PERPLEXITY = "perplexity"  # the metric of language models; others are shares of 1


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700))


@dataclass(frozen=True)
class EpochRecord:
    """One line of a learning curve.

    Attributes:
        epoch: from 1. tokens: trained on. seconds: of training, without validation.
        loss: mean over the epoch; of language models in nats per token.
        score: on the validation data, None without them. metric: its name.
        rate: learning rate of the last step. clipped: share of updates that were clipped.
    """

    epoch: int
    tokens: int
    seconds: float
    loss: float
    score: float | None
    metric: str
    rate: float
    clipped: float

    @property
    def tokens_per_second(self) -> float:
        """Speed of training."""
        return self.tokens / max(self.seconds, 1e-9)

    def line(self) -> str:
        """The record as one line of text."""
        if self.metric == PERPLEXITY:
            text = f"train ppl {shown_perplexity(_perplexity(self.loss)):>8}"
            text += "" if self.score is None else f"  valid ppl {shown_perplexity(self.score):>8}"
        else:
            text = f"loss {self.loss:8.4f}"
            text += "" if self.score is None else f"  valid {self.metric} {100 * self.score:6.2f}"
        return (
            f"epoch {self.epoch:3d}  {text}  rate {self.rate:.2g}  "
            f"clipped {100 * self.clipped:.0f} %  {self.tokens_per_second:,.0f} tokens/s  "
            f"{self.seconds:.0f} s"
        )

    def json(self) -> dict[str, Any]:
        """The record as a model file holds it."""
        values = {**asdict(self), "tokens_per_second": self.tokens_per_second}
        if self.metric == PERPLEXITY:
            values["train_perplexity"] = _perplexity(self.loss)
            values["valid_perplexity"] = self.score
        return values


@dataclass(frozen=True)
class Progress:
    """How far training is; reported about every second."""

    epoch: int
    epochs: int
    done: float
    tokens_per_second: float
    seconds_left: float
    loss: float
    score: float | None
    metric: str

    def line(self) -> str:
        """The progress as one line of text."""
        if self.metric == PERPLEXITY:
            text = f"ppl {shown_perplexity(_perplexity(self.loss), 1)}"
            text += "" if self.score is None else f", valid ppl {shown_perplexity(self.score, 1)}"
        else:
            text = f"loss {self.loss:.3f}"
            text += "" if self.score is None else f", valid {100 * self.score:.2f}"
        return (
            f"epoch {self.epoch} of {self.epochs}, {100 * self.done:.0f} %, "
            f"{self.tokens_per_second:,.0f} tokens/s, {self.seconds_left / 60:.1f} min left, {text}"
        )


@dataclass
class EpochTotals:
    """Sums of an epoch so far.

    Attributes:
        loss: sum over ``weight`` tokens or sentences. tokens: of all processes.
        clipped: of ``updates``, those with a gradient that was clipped. seconds: of training.
    """

    loss: float = 0.0
    weight: float = 0.0
    tokens: float = 0.0
    clipped: float = 0.0
    updates: float = 0.0
    seconds: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Of a token or a sentence."""
        return self.loss / max(self.weight, 1)

    def add_up(self, group: Group) -> None:
        """Sum the loss over all processes."""
        self.loss, self.weight = group.sum([self.loss, self.weight])

    def keep_own(self, group: Group) -> None:
        """After `add_up`: the first process keeps the sums, the others start from 0."""
        if not group.first:
            self.loss = self.weight = 0.0
