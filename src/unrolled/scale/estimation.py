"""Probabilities and back-off weights of consecutive contexts of one length.

The kernels are those of estimation in memory, so that the numbers are the same to the last bit; an
n-gram's lower-order number stands in the place of its own instead of anywhere in the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.estimation import estimation_kernels as kernels
from unrolled.ngram.trie import editing_kernels

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LevelCounts:
    """The n-grams of one length that begin with consecutive contexts.

    Attributes:
        first: (contexts + 1,) uint32, where each context's n-grams begin; the first is 0.
        used: (N,) uint32, the counts that probabilities are made of.
        occurrences: (N,) uint32, for the cut-off.
        cutoff: n-grams that occur at most so often are dropped.
    """

    first: Array
    used: Array
    occurrences: Array
    cutoff: int

    @classmethod
    def of(cls, children: Array, used: Array, occurrences: Array, cutoff: int) -> LevelCounts:
        """From how many n-grams begin with each context, (contexts,) uint32."""
        first = np.zeros(children.size + 1, np.uint32)
        np.cumsum(children, out=first[1:])
        return cls(first, used, occurrences, cutoff)


def interpolated(counts: LevelCounts, lower: Array, weights: tuple[Array, float, float]) -> Array:
    """Turn lower-order probabilities into those of the n-grams themselves.

    Args:
        lower: (N,) float32, p(w | h') of each n-gram; becomes p(w | h).
        weights: see `Rules.interpolation`.

    Returns:
        The back-off weight of each context, (contexts,) float32.
    """
    contexts = counts.first.size - 1
    backoffs = np.empty(contexts, np.float32)
    own_places = np.arange(lower.size, dtype=np.uint32)
    kernels.interpolate(
        counts.first, 0, contexts, counts.used, counts.occurrences, counts.cutoff, 0, *weights,
        own_places, lower, backoffs,
    )  # fmt: skip
    return backoffs


def discounted(counts: LevelCounts, ratios: Array) -> Array:
    """Katz's discounted probabilities, (N,) float32; see `Rules.katz`."""
    probabilities = np.zeros(counts.used.size, np.float32)
    kernels.discount_ratios(
        counts.first, 0, counts.first.size - 1, counts.used, counts.occurrences, counts.cutoff, 0,
        ratios, probabilities,
    )  # fmt: skip
    return probabilities


def renewed(
    first: Array, log_probs: Array, lower: Array, keep: Array, whole: Array, predicted: int
) -> tuple[Array, Array, Array]:
    """Katz's back-off weights, which make contexts sum to one; see `NgramTable.renew_backoffs`.

    Args:
        first: (contexts + 1,) uint32, where each context's n-grams begin.
        log_probs, lower: (N,) float32, log p(w | h) and log p(w | h') of each n-gram.
        keep: (N,) bool, the n-grams that are not cut off.
        whole: (contexts,) float64, what all words after each context's suffix sum to.
        predicted: how many words have a probability.

    Returns:
        log p(w | h) (N,) float32, changed where a context has no room; the weights (contexts,)
        float32; what all words after each context sum to, (contexts,) float64.
    """
    size, contexts = log_probs.size, first.size - 1
    both = np.concatenate([log_probs, lower])
    suffixes = np.arange(size, 2 * size, dtype=np.uint32)
    backoffs, sums = np.zeros(contexts, np.float32), np.empty(contexts)
    editing_kernels.renew_backoffs(
        first, 0, contexts, keep, suffixes, both, backoffs, whole, sums, predicted, True
    )
    return both[:size].copy(), backoffs, sums


def logarithms(values: Array) -> Array:
    """Natural logarithms of float32 numbers, in their place."""
    with np.errstate(divide="ignore"):
        np.log(values, out=values)
    return values
