"""What training adds up over an epoch, in all its processes together."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from unrolled.training.distributed import Group


@dataclass
class EpochTotals:
    """Sums of an epoch so far.

    Attributes:
        loss: of -log p in nats, over ``tokens``. clipped: of ``updates``, those with a gradient
            that was cut. seconds: of training itself, without validation.
    """

    loss: float = 0.0
    tokens: float = 0.0
    clipped: float = 0.0
    updates: float = 0.0
    seconds: float = 0.0

    @classmethod
    def restored(cls, kept: dict[str, Any]) -> EpochTotals:
        """From what `kept` gave, by way of JSON."""
        return cls(**{field.name: float(kept[field.name]) for field in fields(cls)})

    def kept(self) -> dict[str, float]:
        """For a checkpoint."""
        return asdict(self)

    @property
    def perplexity(self) -> float:
        """exp of the mean loss of a token."""
        return math.exp(min(self.loss / max(self.tokens, 1), 700))

    @property
    def share_clipped(self) -> float:
        """Of the updates."""
        return self.clipped / max(self.updates, 1)

    def add_up(self, group: Group) -> None:
        """Loss and tokens of all processes, instead of this one's own."""
        self.loss, self.tokens = group.sum([self.loss, self.tokens])

    def keep_own(self, group: Group) -> None:
        """After `add_up`: the sums go on in the first process, and the others count anew."""
        if not group.first:
            self.loss = self.tokens = 0.0
