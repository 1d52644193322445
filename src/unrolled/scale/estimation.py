"""Probabilities and back-off weights of consecutive contexts of one length.

The kernels are those of estimation in memory, so that the numbers are the same to the last bit; an
n-gram's lower-order number stands in the place of its own instead of anywhere in the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.estimation import estimation_kernels as kernels
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.scale.renewal import renewed

Array = np.ndarray[Any, Any]

CHUNKS = 32

__all__ = ["LevelCounts", "discounted", "interpolated", "logarithms", "renewed"]


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

    @property
    def contexts(self) -> int:
        """How many contexts there are."""
        return self.first.size - 1


def interpolated(
    counts: LevelCounts, lower: Array, weights: tuple[Array, float, float], threads: int
) -> Array:
    """Turn lower-order probabilities into those of the n-grams themselves.

    Args:
        lower: (N,) float32, p(w | h') of each n-gram; becomes p(w | h).
        weights: see `Rules.interpolation`.

    Returns:
        The back-off weight of each context, (contexts,) float32.
    """
    backoffs = np.empty(counts.contexts, np.float32)
    own_places = np.arange(lower.size, dtype=np.uint32)

    def task(start: int, stop: int) -> None:
        kernels.interpolate(
            counts.first, start, stop, counts.used, counts.occurrences, counts.cutoff, 0,
            *weights, own_places, lower, backoffs,
        )  # fmt: skip

    run_slices(task, even_slices(counts.contexts, CHUNKS), threads)
    return backoffs


def discounted(counts: LevelCounts, ratios: Array, threads: int) -> Array:
    """Katz's discounted probabilities, (N,) float32; see `Rules.katz`."""
    probabilities = np.zeros(counts.used.size, np.float32)

    def task(start: int, stop: int) -> None:
        kernels.discount_ratios(
            counts.first, start, stop, counts.used, counts.occurrences, counts.cutoff, 0, ratios,
            probabilities,
        )  # fmt: skip

    run_slices(task, even_slices(counts.contexts, CHUNKS), threads)
    return probabilities


def logarithms(values: Array, threads: int) -> Array:
    """Natural logarithms of float32 numbers, in their place."""

    def task(start: int, stop: int) -> None:
        with np.errstate(divide="ignore"):
            np.log(values[start:stop], out=values[start:stop])

    run_slices(task, even_slices(values.size, CHUNKS), threads)
    return values
