"""Kernels that round the probabilities of a context together with its back-off weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.editing.quantization_bins import (
    BINS,
    LEAST_BIN,
    LEAST_WEIGHT_BIN,
    SHIFT,
    WEIGHT_BINS,
)
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import device_function, inlined, kernel

Array = np.ndarray[Any, Any]

CLOSE = 8e-4  # a context whose sum is so nearly right is left as it is
SLACK = 6e-4  # by how much at most a sum is left off for the sake of the weight
PAIRS = 16  # children of a context that are moved together with another
# Beyond these a context is no distribution, and no rounding would balance it.
MOST_SUM = 1.05
LEAST_ROOM = -1e-3
RARE = np.float32(1e-30)  # a context that is rarer counts as one that never occurs
AHEAD = 32  # children whose suffixes are asked for early: they lie all over the memory


@inlined
def bin_of(log_prob: Any) -> Any:
    """Number of the fine bin of a log-probability; the bins ascend as the probabilities fall."""
    if log_prob >= 0:
        return np.int64(0)
    place = np.int64(np.float32(-log_prob).view(np.int32) >> SHIFT) - LEAST_BIN
    return min(max(place, 0), BINS - 1)


@kernel
def collect(
    first: Array,
    start: int,
    stop: int,
    log_probs: Array,
    frequencies: Array,
    pairs: Array,
    histogram: Array,
) -> None:
    """Put the children of contexts ``start`` to ``stop``, of one order, into a histogram.

    ``frequencies`` (contexts,) and ``pairs`` (contexts, 2) get those of the children that are
    contexts too: the product of the probabilities along them, and their probability, twice.

    ``histogram`` (BINS, 4): how many n-grams a bin has and the sum of their log-probabilities, and
    the same weighted by their frequencies.
    """
    for context in range(start, stop):
        above = frequencies[context]
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            log_prob = log_probs[child]
            probability = np.float32(np.exp(np.float64(log_prob)))
            frequency = probability * above
            if frequency < RARE:
                frequency = np.float32(0)
            if child < frequencies.size:
                frequencies[child] = frequency
                pairs[child, 0] = probability
                pairs[child, 1] = probability
            if log_prob != -np.inf:
                place = bin_of(log_prob)
                histogram[place, 0] += 1
                histogram[place, 1] += log_prob
                histogram[place, 2] += frequency
                histogram[place, 3] += np.float64(frequency) * log_prob


@kernel
def exact_probabilities(log_probs: Array, probabilities: Array) -> None:
    """float32 probabilities as `collect` makes them."""
    for node in range(log_probs.size):
        probabilities[node] = np.float32(np.exp(np.float64(log_probs[node])))


@kernel
def measure_rooms(
    first: Array, contexts: Array, suffixes: Array, pairs: Array, rooms: Array
) -> None:
    """What the shorter contexts leave to words that do not follow ``contexts``.

    ``pairs`` (N, 1) or (N, 2): first the exact probability of every node that is a suffix.
    ``rooms``: (contexts,) float64.
    """
    for index in range(contexts.size):
        context = contexts[index]
        room = 1.0
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            room -= pairs[suffixes[child], 0]
        rooms[index] = room


@kernel
def needed_weights(
    first: Array,
    contexts: Array,
    exact: Array,
    rooms: Array,
    values: Array,
    nearest: Array,
    backoffs: Array,
    needed: Array,
    left: Array,
) -> None:
    """Log back-off weights that make up for children which are all at their nearest codes.

    For ``contexts`` of one order, with their ``rooms`` of `measure_rooms`; ``left`` gets what the
    weights stand for. Others as in `round_contexts`.
    """
    for index in range(contexts.size):
        context = contexts[index]
        room = rooms[index]
        off = 0.0
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            if exact[child] != -np.inf:
                off += values[nearest[bin_of(exact[child])]] - np.exp(np.float64(exact[child]))
        weight = np.exp(np.float64(backoffs[context]))
        needed[index] = backoffs[context]
        left[index] = max(weight * room - off, 0.0)
        if left[index] > 0 and room > 0 and abs(off) < 0.5 * left[index]:
            needed[index] = np.log(left[index] / room)


@device_function
def _nearest_weight(book: Any, least: Any, mass: Any, room: Any) -> Any:
    """Back-off code, ``least`` or above, whose weight of ``room`` is nearest to a mass."""
    weights, nearest, _ = book
    code = least
    if mass > 0:
        place = np.int64(np.float32(mass / room).view(np.int32) >> SHIFT) - LEAST_WEIGHT_BIN
        code = max(np.int64(nearest[min(max(place, 0), WEIGHT_BINS - 1)]), least)
    best = abs(weights[code] * room - mass)
    for other in range(max(code - 1, least), min(code + 2, weights.size)):
        off = abs(weights[other] * room - mass)
        if off < best:  # the nearest logarithm need not be the nearest weight
            best = off
            code = other
    return code


@device_function
def _weigh(book: Any, least: Any, missing: Any, room: Any) -> Any:
    """Back-off code for what the children leave, and by how much it is too much.

    ``book`` is the weight of every code, the code that is nearest for each fine bin of weights, and
    what the exact weight stands for. The code is as near to that as the sum allows: where children
    have nearly all, what they are off together would be a large share of what they leave.
    """
    weights, _, left = book
    wanted = min(max(left, missing - SLACK), missing + SLACK)
    code = _nearest_weight(book, least, wanted, room)
    excess = weights[code] * room - missing
    if abs(excess) > CLOSE:
        code = _nearest_weight(book, least, missing, room)
        excess = weights[code] * room - missing
    return code, excess


@device_function
def _move_one(
    codes: Any, values: Any, book: Any, least: Any, missing: Any, room: Any, reach: Any
) -> Any:
    """The child and its code, up to ``reach`` away, that bring the sum nearest; the excess then.

    Child -1 if none does better by a tenth. The first move that is near enough will do; small
    moves are tried first.
    """
    child, child_code, best = -1, 0, abs(_weigh(book, least, missing, room)[1])
    for step in range(1, reach + 1):
        for index in range(codes.size):
            old = np.int64(codes[index])
            for other in (old - step, old + step):
                if other < 1 or other >= values.size or old == 0:
                    continue
                change = values[other] - values[old]
                if abs(change) < 0.1 * CLOSE:
                    continue
                left = abs(_weigh(book, least, missing - change, room)[1])
                if left < 0.9 * best:
                    child, child_code, best = index, other, left
            if best <= CLOSE:
                return child, child_code, best
    return child, child_code, best


@device_function
def _move_two(
    codes: Any, values: Any, book: Any, least: Any, missing: Any, room: Any, reach: Any
) -> Any:
    """Move one child so that another's best move brings the sum nearest; return what is missing."""
    best = abs(_weigh(book, least, missing, room)[1])
    child, child_code = -1, 0
    for index in range(min(codes.size, PAIRS)):
        old = np.int64(codes[index])
        for other in range(max(old - reach, 1), min(old + reach + 1, values.size)):
            if old == 0 or best <= CLOSE:
                break
            codes[index] = other
            changed = missing - (values[other] - values[old])
            left = _move_one(codes, values, book, least, changed, room, reach)[2]
            codes[index] = old
            if left < best:
                child, child_code, best = index, other, left
    if child >= 0:
        missing -= values[child_code] - values[codes[child]]
        codes[child] = child_code
    return missing


@device_function
def _settle(codes: Any, values: Any, book: Any, least: Any, missing: Any, room: Any) -> Any:
    """Move children by a few codes until the context is near enough to its sum.

    Returns the back-off code and the excess.
    """
    code, excess = _weigh(book, least, missing, room)
    attempt = 0
    while attempt < 16 and abs(excess) > CLOSE:
        if attempt == 12:
            missing = _move_two(codes, values, book, least, missing, room, np.int64(24))
        reach = 4 if attempt < 6 else 40
        child, child_code, _ = _move_one(codes, values, book, least, missing, room, reach)
        if child >= 0:
            missing -= values[child_code] - values[codes[child]]
            codes[child] = child_code
            code, excess = _weigh(book, least, missing, room)
            attempt += 1
        else:  # the same search would find nothing again
            attempt = 6 if attempt < 6 else 12 if attempt < 12 else 16
    return code, excess


@kernel
def round_contexts(
    first: Array,
    start: int,
    stop: int,
    suffixes: Array,
    exact: Array,
    pairs: Array,
    codes: Array,
    vocabulary: int,
    values: Array,
    nearest: Array,
    backoffs: Array,
    weights: Array,
    nearest_weights: Array,
    backoff_codes: Array,
    sums: Array,
) -> None:
    """Codes of the children of contexts ``start`` to ``stop``, and of the contexts' weights.

    Args:
        exact: (G,) log-probabilities. pairs: (contexts, 2) the probabilities and, for shorter
            n-grams, what their codes stand for; the children's are put in.
        values: (256,) the probability of every code. nearest: (BINS,) the code of every bin.
        weights, nearest_weights: the same for back-off weights.
        sums: (contexts, 2) what each context sums to, exactly and once rounded, read of the
            shorter contexts, so that their small errors do not add up. Single words are taken to
            sum to one.
    """
    for context in range(start, stop):
        low = np.int64(first[context])
        high = np.int64(first[context + 1])
        room = 1.0
        exact_room = 1.0
        if context >= vocabulary:
            exact_room = np.float64(sums[suffixes[context], 0])
            room = np.float64(sums[suffixes[context], 1])
        here = codes[low - vocabulary : high - vocabulary]
        target = 0.0
        mass = 0.0
        for child in range(low, high):
            if child + AHEAD < suffixes.size:
                prefetch(pairs, 2 * np.int64(suffixes[child + AHEAD]))
            exact_room -= pairs[suffixes[child], 0]
            room -= pairs[suffixes[child], 1]
            log_prob = exact[child]
            code = np.int64(0)
            if log_prob != -np.inf:
                code = np.int64(nearest[bin_of(log_prob)])
            here[child - low] = code
            mass += values[code]
            if child < pairs.shape[0]:
                target += pairs[child, 0]
            else:
                target += np.exp(np.float64(log_prob))
        weight = np.exp(np.float64(backoffs[context]))
        left = weight * exact_room
        target += left
        least = np.int64(0 if weight == 0 else 1)
        if low == high or exact_room < LEAST_ROOM or target > MOST_SUM:
            book = (weights, nearest_weights, weight)
            backoff_code = _nearest_weight(book, least, weight, 1.0)
            excess = weights[backoff_code] * room + mass - target
        else:
            room = max(room, 1e-7)
            book = (weights, nearest_weights, left)
            backoff_code, excess = _settle(here, values, book, least, target - mass, room)
        for child in range(low, min(high, pairs.shape[0])):
            pairs[child, 1] = values[here[child - low]]
        backoff_codes[context] = backoff_code
        sums[context, 0] = target
        sums[context, 1] = target + excess
