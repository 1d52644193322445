"""Kernels that turn counts into probabilities, a slice of contexts at a time.

``first`` holds each context's children, ``counts`` and ``occurrences`` belong to the children's
order, whose first node is ``base``. ``suffixes`` and ``probabilities`` may be two views of one
array: a node's suffix is read before its probability takes the place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import kernel

Array = np.ndarray[Any, Any]

AHEAD = 16  # children between asking for a cache line and using it


@kernel
def count_of_counts(counts: Array, totals: Array) -> None:
    """totals[c] += 1 for every count c below its size."""
    for index in range(counts.size):
        if counts[index] < totals.size:
            totals[counts[index]] += 1


@kernel
def interpolate(
    first: Array,
    start: int,
    stop: int,
    counts: Array,
    occurrences: Array,
    cutoff: int,
    base: int,
    discounts: Array,
    types_weight: float,
    extra: float,
    suffixes: Array,
    probabilities: Array,
    backoffs: Array,
) -> None:
    """p(w|h) = (c - D(c)) / N + gamma(h) p(w|h'), for contexts ``start`` to ``stop``.

    N = sum of c + types_weight * kinds + extra; gamma(h) N = sum of D(c) over the children kept,
    the whole count of those cut off (occurrences <= cutoff), types_weight * kinds, and extra.
    ``discounts`` (4,) holds D(0), D(1), D(2), D(3 and more).
    """
    last = suffixes.size - 1
    for context in range(start, stop):
        low = np.int64(first[context])
        high = np.int64(first[context + 1])
        total = 0.0
        reserved = extra
        for child in range(low - base, high - base):
            prefetch(probabilities, np.int64(suffixes[min(child + base + AHEAD, last)]))
            count = np.int64(counts[child])
            total += count
            if occurrences[child] > cutoff:
                reserved += discounts[min(count, 3)] + types_weight
                total += types_weight
            else:
                reserved += count
        total += extra
        if total <= 0:  # no children; or </s> before all of them, which no longer n-gram holds
            reserved = 1.0
            total = 1.0
        gamma = reserved / total
        backoffs[context] = gamma
        for child in range(low - base, high - base):
            count = np.int64(counts[child])
            lower = probabilities[suffixes[child + base]]
            kept = max(count - discounts[min(count, 3)], 0.0)
            probabilities[child + base] = kept / total + gamma * lower


@kernel
def discount_ratios(
    first: Array,
    start: int,
    stop: int,
    counts: Array,
    occurrences: Array,
    cutoff: int,
    base: int,
    ratios: Array,
    probabilities: Array,
) -> None:
    """p(w|h) = d(c) c / N for the children of contexts ``start`` to ``stop`` (Katz 1987).

    ``ratios`` (k + 2,) holds d for counts up to k, and 1 for all above. A context that would
    leave nothing for unseen words counts one unseen event more.
    """
    for context in range(start, stop):
        low = np.int64(first[context]) - base
        high = np.int64(first[context + 1]) - base
        total = 0.0
        kept = 0.0
        for child in range(low, high):
            count = np.int64(counts[child])
            total += count
            if occurrences[child] > cutoff:
                kept += count * ratios[min(count, ratios.size - 1)]
        if kept >= total * (1 - 1e-9):
            total += 1.0
        for child in range(low, high):
            count = np.int64(counts[child])
            probabilities[child + base] = count * ratios[min(count, ratios.size - 1)] / total
