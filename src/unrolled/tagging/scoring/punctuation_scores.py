"""How well marks and capitals are restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.tagging.data.bare_text import CASES, MARKS, split_punctuation
from unrolled.tagging.scoring.scores import check_pairs, rates, ratio, three


@dataclass(frozen=True)
class PunctuationScores:
    """How well marks and capitals are restored.

    Attributes:
        names: of what is counted: the marks , . ? ! ; : and further ones that were met, then
            ``Capital`` and ``UPPER``.
        counts: (K, 3) of each: right, predicted and in the text.
        words: words in all.
        right: words whose tag is right in both.
    """

    names: tuple[str, ...]
    counts: np.ndarray[Any, np.dtype[np.int64]]
    words: int
    right: int

    @property
    def mark_f1(self) -> float:
        """F1 over all marks together; a mark is right where word and mark are."""
        return self._f1(slice(0, 1 - len(CASES)))

    @property
    def case_f1(self) -> float:
        """F1 over capitals, of first letters and whole words."""
        return self._f1(slice(1 - len(CASES), None))

    def as_dict(self) -> dict[str, Any]:
        """All numbers for JSON."""
        return {
            "signature": "punctuation: marks and capitals, micro F1",
            "mark_f1": self.mark_f1,
            "case_f1": self.case_f1,
            "accuracy": ratio(self.right, self.words),
            "words": self.words,
            "by_name": {
                name: rates(row) for name, row in zip(self.names, self.counts, strict=True)
            },
        }

    def table(self) -> str:
        """Lines for people, in per cent; what neither side has is left out.

        >>> scores = score_punctuation([["Capital", "lower."]], [["Capital", "lower,"]])
        >>> print(scores.table())
        2 words, 50.00% right; marks F1 0.00; capitals F1 100.00
                ,: precision:   0.00%; recall:   0.00%; F1:   0.00  0
                .: precision:   0.00%; recall:   0.00%; F1:   0.00  1
          Capital: precision: 100.00%; recall: 100.00%; F1: 100.00  1
        """
        numbers = self.as_dict()
        lines = [
            f"{self.words} words, {100 * numbers['accuracy']:.2f}% right; "
            f"marks F1 {100 * self.mark_f1:.2f}; capitals F1 {100 * self.case_f1:.2f}"
        ]
        for rank, (name, row) in enumerate(numbers["by_name"].items()):
            if self.counts[rank].any():
                own = three(row["precision"], row["recall"], "F1")
                lines.append(f"{name:>9}: {own}  {row['gold']}")
        return "\n".join(lines)

    def _f1(self, rows: slice) -> float:
        return float(rates(self.counts[rows].sum(axis=0))["f1"])


def score_punctuation(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> PunctuationScores:
    """Score restored punctuation; the numbers of the tags' two parts are counted apart.

    Raises:
        TextError: the sides have different numbers of sentences or tags.
    """
    check_pairs(gold, predicted)
    met = {split_punctuation(tag)[1] for side in (gold, predicted) for tags in side for tag in tags}
    names = (*MARKS[1:], *sorted(met - set(MARKS)), *CASES[1:])
    column = {name: rank for rank, name in enumerate(names)}
    counts = np.zeros((len(names), 3), np.int64)
    words = right = 0
    for tags, guesses in zip(gold, predicted, strict=True):
        words += len(tags)
        for tag, guess in zip(tags, guesses, strict=True):
            right += tag == guess
            for truth, found in zip(split_punctuation(tag), split_punctuation(guess), strict=True):
                if truth in column:
                    counts[column[truth], 2] += 1
                    counts[column[truth], 0] += truth == found
                if found in column:
                    counts[column[found], 1] += 1
    return PunctuationScores(names, counts, words, right)
