"""Results of tagging: tags, spans and their confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from unrolled.tagging.data.columns import TaggedSentence
    from unrolled.tagging.data.tags import TagSet

Array = np.ndarray[Any, Any]


class FoundSpan(NamedTuple):
    """A span of words.

    Attributes:
        start, end: words, the last one not included. label: such as PER.
        confidence: the probability of exactly this span; NaN without confidences.
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
        spans: those that the tags encode; none for plain labels.
        confidences: the probability of each tag; empty without confidences.
        offsets: where each word lies in the text; none if words were given.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    spans: tuple[FoundSpan, ...] = ()
    confidences: tuple[float, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Found:
    """Tag numbers (N,) of sentences end to end, and probabilities, NaN without confidences.

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


def results_of(
    sentences: Sequence[TaggedSentence],
    texts: Sequence[tuple[tuple[int, int], ...]],
    found: Found,
    tags: TagSet,
    confidences: bool,
) -> list[Tagged]:
    """Each sentence with its tags and spans; ``texts`` has the places of words."""
    spans = _spans(texts, found, tags, confidences)
    names = tags.decode(found.ids, found.offsets)
    marginals = found.marginals.tolist()
    return [
        Tagged(
            tuple(sentences[number].words),
            tuple(names[number]),
            tuple(spans.get(number, ())),
            tuple(marginals[low:high]) if confidences else (),
            texts[number],
        )
        for number, (low, high) in enumerate(pairwise(found.offsets.tolist()))
    ]


def _spans(
    texts: Sequence[tuple[tuple[int, int], ...]], found: Found, tags: TagSet, confidences: bool
) -> dict[int, list[FoundSpan]]:
    """The spans of each sentence that has any."""
    spans = tags.spans(found.ids, found.offsets)
    confidence = np.full(spans.begins.size, np.nan)
    if confidences:
        confidence = found.span_confidences(spans.begins, spans.ends)
    owner = np.searchsorted(found.offsets, spans.begins, side="right") - 1
    of_sentence: dict[int, list[FoundSpan]] = {}
    rows = (owner, spans.begins, spans.ends, spans.labels, confidence)
    for number, begin, end, label, p in zip(*(row.tolist() for row in rows), strict=True):
        base = int(found.offsets[number])
        places = texts[number]
        chars = (places[begin - base][0], places[end - base - 1][1]) if places else (-1, -1)
        span = FoundSpan(begin - base, end - base, tags.labels[label], p, *chars)
        of_sentence.setdefault(number, []).append(span)
    return of_sentence
