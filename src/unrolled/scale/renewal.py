"""Katz's back-off weights: what is left for unseen words, from the logarithms of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie import editing_kernels as kernels
from unrolled.runtime.threads import even_slices, run_slices

Array = np.ndarray[Any, Any]

CHUNKS = 32


def renewed(
    first: Array,
    log_probs: Array,
    lower: Array,
    keep: Array,
    whole: Array,
    predicted: int,
    threads: int,
) -> tuple[Array, Array, Array]:
    """Back-off weights that make contexts sum to one; see `NgramTable.renew_backoffs`.

    Args:
        first: (contexts + 1,) uint32, where each context's n-grams begin.
        log_probs, lower: (N,) float32, log p(w | h) and log p(w | h') of each n-gram.
        keep: (N,) bool, the n-grams that are not cut off.
        whole: (contexts,) float64, what all words after each context's suffix sum to.
        predicted: how many words have a probability.

    Returns:
        log p(w | h) (N,) float32, changed where a context has no room; the weights (contexts,)
        float32; what all words after each context sum to, (contexts,) float64.
    """  # fmt: skip
    size, contexts = log_probs.size, first.size - 1
    both = np.concatenate([log_probs, lower])
    suffixes = np.arange(size, 2 * size, dtype=np.uint32)
    backoffs, sums = np.zeros(contexts, np.float32), np.empty(contexts)
    shared = keep, suffixes, both, backoffs

    def task(start: int, stop: int) -> None:
        part = whole[start:stop]
        kernels.renew_backoffs(first, start, stop, *shared, part, sums, predicted, True)

    run_slices(task, even_slices(contexts, CHUNKS), threads)
    return both[:size], backoffs, sums
