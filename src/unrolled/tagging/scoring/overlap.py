"""Proportional and binary overlap of spans, as Irsoy and Cardie's scorer counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.tagging.data.schemes import Span, spans
from unrolled.tagging.scoring.scores import Floats, canonical_tags, check_pairs, f1, ratio, three

_COLUMNS = 6


@dataclass(frozen=True)
class OverlapCounts:
    """What overlap scores are made of, for each sentence.

    Attributes:
        rows: (S, 6) sum over predicted spans of the share of them that gold spans cover; number of
            predicted spans; sum over gold spans of the share that predicted spans cover; number of
            gold spans; predicted spans that overlap a gold span; gold spans that overlap a
            predicted one.
        measure: which F1 `score` gives: ``proportional`` or ``binary``.
    """

    rows: Floats
    measure: str = "proportional"

    def score(self, totals: Floats) -> Floats:
        """(..., 6) sums of rows to (...) F1 between 0 and 1."""
        p, r = (0, 2) if self.measure == "proportional" else (4, 5)
        return f1(totals[..., p], totals[..., 1], totals[..., r], totals[..., 3])

    def total(self) -> OverlapScores:
        """The scores of all sentences together."""
        return OverlapScores(*map(float, self.rows.sum(axis=0)))


@dataclass(frozen=True)
class OverlapScores:
    """Proportional and binary precision, recall and F1, between 0 and 1; see `OverlapCounts`."""

    covered_predicted: float
    predicted: float
    covered_gold: float
    gold: float
    hit_predicted: float
    hit_gold: float

    @property
    def proportional_f1(self) -> float:
        return float(self.as_dict()["proportional_f1"])

    @property
    def binary_f1(self) -> float:
        return float(self.as_dict()["binary_f1"])

    def as_dict(self) -> dict[str, Any]:
        """All numbers for JSON."""
        numbers: dict[str, Any] = {"signature": "spans by overlap, read as conlleval"}
        for name, right_p, right_r in (
            ("proportional", self.covered_predicted, self.covered_gold),
            ("binary", self.hit_predicted, self.hit_gold),
        ):
            numbers[f"{name}_precision"] = p = ratio(right_p, self.predicted)
            numbers[f"{name}_recall"] = r = ratio(right_r, self.gold)
            numbers[f"{name}_f1"] = 2 * p * r / (p + r) if p + r else 0.0
        return numbers | {"spans_predicted": int(self.predicted), "spans_gold": int(self.gold)}

    def table(self) -> str:
        """Two lines, in per cent.

        >>> scores = score_overlap([["B", "I", "I", "O"]], [["O", "B", "I", "I"]])
        >>> print(scores.table())
        proportional: precision:  66.67%; recall:  66.67%; F1:  66.67
              binary: precision: 100.00%; recall: 100.00%; F1: 100.00
        """
        numbers = self.as_dict()
        return "\n".join(
            f"{name:>12}: {three(numbers[f'{name}_precision'], numbers[f'{name}_recall'], 'F1')}"
            for name in ("proportional", "binary")
        )


def score_overlap(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> OverlapScores:
    """Proportional and binary overlap scores of predicted tags.

    A span begins at B, or at I after O, at the start or after another label. Proportional
    precision: over all pairs of a predicted and a gold span of one label that share words, the sum
    of shared words / words of the predicted span, divided by the number of predicted spans; recall
    alike with the gold spans. Binary: a predicted span is right, and a gold span found, if it
    shares a word with any of the other side with its label. (Irsoy and Cardie 2014, section 4.1,
    and the scorer of the code that they released; their data has one label.)

    Raises:
        TextError: there are not as many sentences, or tags in a sentence, on both sides.
    """
    return count_overlap(gold, predicted).total()


def count_overlap(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> OverlapCounts:
    """Statistics of each sentence, for `score_overlap` and `significance.paired_bootstrap`."""
    check_pairs(gold, predicted)
    first, second, _ = canonical_tags(gold, predicted)
    rows = np.zeros((len(gold), _COLUMNS))
    for row, tags, guess in zip(rows, first, second, strict=True):
        rights, guesses = spans(tags), spans(guess)
        row[0], row[4] = _covered(guesses, rights)
        row[2], row[5] = _covered(rights, guesses)
        row[1], row[3] = len(guesses), len(rights)
    return OverlapCounts(rows)


def _covered(found: Sequence[Span], others: Sequence[Span]) -> tuple[float, int]:
    """Sum of the shares of spans that others cover, and how many spans are touched by any."""
    total, hits, first = 0.0, 0, 0
    for span in found:
        while first < len(others) and others[first].end <= span.start:
            first += 1
        shared, at = 0, first
        while at < len(others) and others[at].start < span.end:
            if others[at].label == span.label:
                shared += min(span.end, others[at].end) - max(span.start, others[at].start)
            at += 1
        total += shared / (span.end - span.start)
        hits += shared > 0
    return total, hits
