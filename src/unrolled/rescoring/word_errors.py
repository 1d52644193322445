"""Word error rate: the fewest substitutions, insertions and deletions that turn one into other.

>>> word_errors(["the cat sat"], ["a cat sat down"]).line()
'WER 66.67 % | 3 words | 1 substituted, 1 inserted, 0 deleted | 1 of 1 sentences wrong'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WordErrors:
    """Sufficient statistics of a word error rate; those of parts of a text add up."""

    substitutions: int
    insertions: int
    deletions: int
    words: int
    sentences: int
    wrong_sentences: int

    @property
    def errors(self) -> int:
        """All three kinds together."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Errors for each word of the references; insertions may lift it above 1."""
        return self.errors / self.words

    def line(self) -> str:
        """One line with all counts."""
        return (
            f"WER {100 * self.rate:.2f} % | {self.words} words | {self.substitutions} substituted, "
            f"{self.insertions} inserted, {self.deletions} deleted | "
            f"{self.wrong_sentences} of {self.sentences} sentences wrong"
        )


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Errors of one hypothesis for each reference; words are what white space parts.

    Raises:
        SettingError: lists of different lengths. TextError: no word in any reference.
    """
    if len(references) != len(hypotheses):
        raise SettingError(f"there are {len(references)} references for {len(hypotheses)} texts")
    counts = edit_counts(references, hypotheses, np.arange(len(references)))
    return total_errors(counts, references)


def total_errors(counts: Array, references: Sequence[str]) -> WordErrors:
    """The sum of counts (N, 3) of one hypothesis for each reference.

    Raises:
        TextError: no word in any reference.
    """
    words = sum(len(text.split()) for text in references)
    if words == 0:
        raise TextError("the references hold no word")
    wrong = int(np.count_nonzero(counts.sum(axis=1)))
    sums = [int(value) for value in counts.sum(axis=0)]
    return WordErrors(sums[0], sums[1], sums[2], words, len(references), wrong)


def edit_counts(references: Sequence[str], texts: Sequence[str], owners: Array) -> Array:
    """(H, 3) int64 substitutions, insertions, deletions of each text against its reference.

    Args:
        owners: (H,) int64 number of the reference of each text.
    """
    from unrolled.rescoring.edit_distance_kernels import count_errors

    ids: dict[str, int] = {}
    counts = np.zeros((len(texts), 3), np.int64)
    count_errors(*_flat(references, ids), *_flat(texts, ids), owners.astype(np.int64), counts)
    return counts


def _flat(texts: Sequence[str], ids: dict[str, int]) -> tuple[Array, Array]:
    """Ids of all words one after the other, int32, and where each text begins, (N + 1,) int64."""
    words = [[ids.setdefault(word, len(ids)) for word in text.split()] for text in texts]
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(each) for each in words], out=starts[1:])
    flat = np.fromiter((word for each in words for word in each), np.int32, int(starts[-1]))
    return flat, starts
