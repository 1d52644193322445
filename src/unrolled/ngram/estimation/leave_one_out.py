"""The delta of additive smoothing that makes a text likeliest, each of its words left out in turn.

A word that comes n times after a context that comes N times has without one of its occurrences
p = (n - 1 + delta) / (N - 1 + delta V). The sum of log p over all words of the text depends on the
counts alone, and its maximum is where its derivative falls through 0:

    sum of n / (n - 1 + delta) over n-grams = sum of N V / (N - 1 + delta V) over contexts

(Ney, Essen and Kneser 1994 choose discounts so.) Counts that are all multiples of a number, as
those of a text with a weight, are divided by it first, so that the weight changes no probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LEAST_DELTA, MOST_DELTA = 1e-9, 1000.0
_SMALL = 1 << 16  # counts below are counted without sorting
_HALVINGS = 40  # of the range's logarithm: more than the digits of the result need


@dataclass(frozen=True)
class Histogram:
    """How many counts there are of each value.

    Attributes:
        values: (K,) int64, ascending, above 0.
        numbers: (K,) int64.

    >>> Histogram.of(np.array([3, 1, 0, 3])).numbers.tolist()
    [1, 2]
    """

    values: Array
    numbers: Array

    @classmethod
    def of(cls, counts: Array) -> Histogram:
        """Of counts of any integer type; those of 0 are left out."""
        numbers = np.bincount(counts[counts < _SMALL].astype(np.int64), minlength=1)
        small = np.flatnonzero(numbers[1:]) + 1
        large, of_large = np.unique(counts[counts >= _SMALL], return_counts=True)
        values = np.concatenate([small, large]).astype(np.int64)
        return cls(values, np.concatenate([numbers[small], of_large]).astype(np.int64))

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """The sum of several."""
        every = list(parts)
        values, places = np.unique(
            np.concatenate([part.values for part in every]), return_inverse=True
        )
        numbers = np.zeros(values.size, np.int64)
        np.add.at(numbers, places, np.concatenate([part.numbers for part in every]))
        return cls(values, numbers)


@dataclass(frozen=True)
class WholeHistories:
    """Counts of the n-grams of one length whose context is all that a model looks at.

    Those are the longest n-grams and, of shorter ones, those that begin with <s>: each word of a
    text ends exactly one of them.

    Attributes:
        ngrams: their counts n. contexts: the sums N of the counts after each context.
    """

    ngrams: Histogram
    contexts: Histogram

    @classmethod
    def of(cls, children: Array, counts: Array) -> WholeHistories:
        """From the number of n-grams of each context, and the counts of all of them in order."""
        sums = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts, out=sums[1:])
        borders = sums[np.cumsum(children, dtype=np.int64)]
        return cls(Histogram.of(counts), Histogram.of(np.diff(borders, prepend=0)))

    @classmethod
    def merged(cls, parts: Iterable[WholeHistories]) -> WholeHistories:
        """The sum of several."""
        every = list(parts)
        return cls(
            Histogram.merged(part.ngrams for part in every),
            Histogram.merged(part.contexts for part in every),
        )


def leave_one_out_delta(counted: WholeHistories, vocabulary_size: int) -> float | None:
    """The delta with the greatest likelihood, four digits of it.

    Nothing but divisions, exact sums and square roots decides, so that it is the same everywhere.

    Args:
        counted: n-grams of one length.
        vocabulary_size: V, words that share the probability.

    Returns:
        The delta; None where none from `LEAST_DELTA` to `MOST_DELTA` has the greatest likelihood.

    >>> counted = WholeHistories.of(np.array([2, 1]), np.array([3, 1, 2]))
    >>> leave_one_out_delta(counted, 10)
    0.0456
    """
    weight = int(np.gcd.reduce(counted.ngrams.values))
    if weight == 0:
        return None
    n, times = counted.ngrams.values // weight, counted.ngrams.numbers.astype(np.float64)
    totals, contexts = counted.contexts.values // weight, counted.contexts.numbers.copy()
    # The word after a context that comes once is left with 1 / V for every delta.
    alone = contexts[totals == 1].sum()
    times[n == 1] -= alone
    contexts[totals == 1] = 0

    def slope(delta: float) -> float:
        gains = times * n / (n - 1 + delta)
        losses = contexts * totals * vocabulary_size / (totals - 1 + delta * vocabulary_size)
        return math.fsum([*gains.tolist(), *(-losses).tolist()])

    low, high = LEAST_DELTA, MOST_DELTA
    if slope(low) <= 0 or slope(high) >= 0:
        return None
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return weight * float(f"{low:.3e}")
