"""An n-gram model in plain arrays: what estimation writes and what editing reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.trie.packing import pack_words
from unrolled.ngram.trie.shape import TrieShape
from unrolled.runtime.threads import run_slices

Array = np.ndarray[Any, Any]

ROUNDING = 1e-5


@dataclass
class NgramTable(TrieShape):
    """N-grams with log-probabilities and back-off weights.

    Every n-gram's context and suffix is an n-gram of the table too.

    Attributes:
        log_probs: (G,) float32 natural logarithms.
        backoffs: (nodes of orders < n,) float32 natural logarithms.
    """

    log_probs: Array
    backoffs: Array

    def select(self, keep: Array) -> NgramTable:
        """Only the n-grams marked in ``keep`` (G,) bool, whose contexts must be marked too."""
        places = np.zeros(keep.size + 1, np.int64)
        np.cumsum(keep, out=places[1:])
        kept = np.flatnonzero(keep[: self.inner])
        first = np.append(places[self.first[kept]], places[-1]).astype(np.uint32)
        words = np.concatenate(
            [
                self.last_words(length)[keep[self.level(length)]]
                for length in range(1, self.order + 1)
            ]
        )
        return NgramTable(
            places[self.levels],
            pack_words(words, self.bits),
            self.bits,
            first,
            self.log_probs[keep],
            self.backoffs[kept],
        )

    def renew_backoffs(
        self, suffixes: Array, keep: Array | None, predicted: int, *, threads: int = 2
    ) -> None:
        """Make every context sum to one, or those alone that lose a child to ``keep`` (G,) bool.

        Args:
            suffixes: (G,) as `link_suffixes` gives them.
            predicted: how many words have a probability: a context that has them all as children
                needs no back-off.
        """
        from unrolled.ngram.trie import editing_kernels as kernels

        marks = np.ones(int(self.levels[-1]), bool) if keep is None else keep
        total = float(np.exp(self.log_probs[self.level(1)], dtype=np.float64).sum())
        if abs(total - 1) > ROUNDING:
            total = 1.0  # a padded vocabulary: the rest belongs to words that are not in it
        sums = np.empty(self.inner)
        for length in range(2, self.order + 1):
            above = self.level(length - 1)
            whole = sums[suffixes[above]] if length > 2 else np.full(above.stop, total)
            shared = (marks, suffixes, self.log_probs, self.backoffs)
            run_slices(
                kernels.renew_backoffs,
                [
                    (self.first, low, high, *shared, whole[low - above.start : high - above.start],
                     sums, predicted, keep is None)
                    for low, high in self.context_slices(length)
                ],
                threads,
            )  # fmt: skip
