"""Kernels that take interpolated models apart, and round what they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.editing.quantization_kernels import RARE, bin_of
from unrolled.ngram.trie.interpolation_kernels import code_of_weight
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import device_function, inlined, kernel

Array = np.ndarray[Any, Any]

AHEAD = 32  # children whose suffixes are asked for early: they lie all over the memory
# A context is interpolated if its discounted probabilities are at least 0 and sum to one with its
# weight. (Differences of float32 logarithms; probabilities of ARPA files have 7 digits or fewer.)
LEAST = -2e-5
OFF = 5e-4
CLOSE = 1.5e-4  # a stored weight that leaves the sum of its context so near to one is exact
NEAR = 0.02  # by which share of itself a weight may well be off
REACH = 6  # codes by which a child is moved for its context's weight


@kernel
def discounted(
    first: Array,
    start: int,
    stop: int,
    suffixes: Array,
    log_probs: Array,
    backoffs: Array,
    frequencies: Array,
    result: Array,
    histogram: Array,
) -> int:
    """Discounted probabilities of the children of contexts ``start`` to ``stop``, of one order.

    As logarithms, at the children's places in ``result`` (G,); put in a histogram as
    `quantization_kernels.collect` does, which ``frequencies`` is for, too. Returns how many
    contexts are not interpolated.
    """
    others = 0
    for context in range(start, stop):
        low, high = np.int64(first[context]), np.int64(first[context + 1])
        weight = np.exp(np.float64(backoffs[context]))
        above = frequencies[context]
        total = weight
        for child in range(low, high):
            if child + AHEAD < suffixes.size:
                prefetch(log_probs, np.int64(suffixes[child + AHEAD]))
            probability = np.exp(np.float64(log_probs[child]))
            value = probability - weight * np.exp(np.float64(log_probs[suffixes[child]]))
            if value < LEAST * probability:
                others += 1
            if child < frequencies.size:
                frequency = np.float32(probability * above)
                frequencies[child] = frequency if frequency > RARE else np.float32(0)
            # What is left of the rounding of logarithms is nothing.
            if value <= -LEAST * probability:
                result[child] = -np.inf
                continue
            total += value
            log_value = np.float32(np.log(value))
            result[child] = log_value
            place = bin_of(log_value)
            frequency = np.float32(value * above)
            histogram[place, 0] += 1
            histogram[place, 1] += log_value
            histogram[place, 2] += frequency
            histogram[place, 3] += np.float64(frequency) * log_value
        if weight == 0 and low < high:  # what the children's rounding left would not be 0
            others += 1
        if abs(total - 1) > OFF and (low < high or weight != 1):
            others += 1
    return others


@inlined
def _cost(left: Any, weight: Any) -> Any:
    """How far what children leave is from the weight, as a share of it."""
    share = abs(left - weight) / max(weight, 1e-9)
    return share if left > 0 else 1e3 + share


@device_function
def _balance(codes: Any, values: Any, weight: Any, left: Any) -> Any:
    """Move one or two children so that they leave about the weight; what they leave."""
    best = _cost(left, weight)
    for _ in range(8):
        if best <= NEAR:
            break
        child, child_code = -1, 0
        for index in range(min(codes.size, 64)):
            old: Any = np.int64(codes[index])
            if old == 0:
                continue
            for code in range(max(old - REACH, 1), min(old + REACH + 1, values.size)):
                cost = _cost(left - (values[code] - values[old]), weight)
                if cost < 0.9 * best:
                    child, child_code, best = index, code, cost
        if child < 0:
            break
        left -= values[child_code] - values[np.int64(codes[child])]
        codes[child] = child_code
    return left


@kernel
def round_discounted(
    first: Array,
    start: int,
    stop: int,
    exact: Array,
    backoffs: Array,
    values: Array,
    nearest: Array,
    codes: Array,
    weights: Array,
    rank: int,
) -> None:
    """Codes of the children of contexts ``start`` to ``stop``, and weights of the large contexts.

    Args:
        exact: (G,) log discounted probabilities. values: (256,) what each code stands for.
        nearest: (BINS,) the code of every bin. codes: (G - V,) out.
        weights: uint16 out, from ``rank`` on.
    """
    size = exact.size - codes.size
    for context in range(start, stop):
        low, high = np.int64(first[context]), np.int64(first[context + 1])
        if low == high:
            continue
        weight = np.exp(np.float64(backoffs[context]))
        here = codes[low - size : high - size]
        left = 1.0
        for child in range(low, high):
            code = np.int64(0)
            if exact[child] != -np.inf:
                code = np.int64(nearest[bin_of(exact[child])])
            here[child - low] = code
            left -= values[code]
        if high - low <= 2:
            _balance(here, values, weight, left)
            continue
        if abs(left - weight) > CLOSE:
            left = _balance(here, values, weight, left)
            weight = min(max(weight, left - CLOSE), left + CLOSE)
        weights[rank] = code_of_weight(max(weight, 0.0))
        rank += 1
