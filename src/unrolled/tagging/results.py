"""What tagging gives: tags, spans, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class FoundSpan(NamedTuple):
    """A span of words.

    Attributes:
        start, end: words, the last one not included. label: such as PER.
        confidence: the probability of just this span; NaN if it was not asked for.
        begin_char, end_char: where its text lies in the text given, -1 if words were given.
    """

    start: int
    end: int
    label: str
    confidence: float
    begin_char: int = -1
    end_char: int = -1


@dataclass(frozen=True, slots=True)
class Tagged:
    """A sentence with its tags.

    Attributes:
        words, tags: as many of each.
        spans: what the tags stand for; none where tags are no spans.
        confidences: the probability of each tag; none if they were not asked for.
        offsets: where each word lies in the text; none if words were given.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    spans: tuple[FoundSpan, ...] = ()
    confidences: tuple[float, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Found:
    """Tag numbers (N,) of sentences end to end, and probabilities, NaN where not asked for.

    ``chain`` (N,) is log p of a tag given the one before, ``closed`` (N,) that a span which ends
    with this word ends there; from these follows the probability of any span.
    """

    ids: Array
    offsets: Array
    marginals: Array
    chain: Array
    closed: Array

    def span_confidences(self, begins: Array, ends: Array) -> Array:
        """The probability of each span."""
        sums = np.cumsum(self.chain)
        logs = np.log(self.marginals[begins]) + sums[ends - 1] - sums[begins]
        result: Array = np.exp(np.minimum(logs + self.closed[ends - 1], 0))
        return result
