"""Kernels that round the probabilities of a context together with its back-off weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import device_function, kernel

Array = np.ndarray[Any, Any]

CLOSE = 5e-4  # a context whose sum is so nearly right is left as it is
BALANCED = 0.02  # share of a back-off weight's mass that its children may be off together
PAIRS = 16  # children of a context that are moved together with another
# Beyond these a context is no distribution, and no rounding would balance it.
MOST_SUM = 1.05
LEAST_ROOM = -1e-3


@kernel
def left_over(
    first: Array, suffixes: Array, log_probs: Array, backoffs: Array, left: Array
) -> None:
    """left[h] = b(h) (1 - sum of p(w|h') over the children w of h): what the weight stands for."""
    for context in range(left.size):
        room = 1.0
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            room -= np.exp(np.float64(log_probs[suffixes[child]]))
        left[context] = np.exp(np.float64(backoffs[context])) * room


@kernel
def stab(lows: Array, highs: Array, points: Array) -> int:
    """The fewest points such that each interval [lows[i], highs[i]] holds one; ``highs`` ascend.

    Returns their number, above ``points.size`` if they do not fit. Each lies in the middle of what
    its intervals have in common.
    """
    found = 0
    low = np.inf
    high = -np.inf
    for index in range(lows.size):
        if lows[index] <= high:
            low = max(low, lows[index])
        else:
            low = lows[index]
            high = highs[index]
            found += 1
            if found > points.size:
                break
        points[found - 1] = (low + high) / 2
    return found


@device_function
def _nearest(book: Array, value: float) -> int:
    """Code of the value of an ascending book that is nearest to ``value`` (logarithms)."""
    low = 0
    high = book.size - 1
    while low < high:
        middle = (low + high) >> 1
        if book[middle] < value:
            low = middle + 1
        else:
            high = middle
    if low > 0 and value - book[low - 1] < book[low] - value:
        low -= 1
    return low


@device_function
def _weigh(book: Array, least: int, missing: float, room: float) -> tuple[int, float]:
    """Back-off code that best fills what the children leave, and by how much it is too much."""
    code = least
    if missing > 0:
        code = max(_nearest(book, np.log(missing / room)), least)
    best = np.exp(np.float64(book[code])) * room - missing
    for other in range(max(code - 1, least), min(code + 2, book.size)):
        excess = np.exp(np.float64(book[other])) * room - missing
        if abs(excess) < abs(best):  # the nearest logarithm need not be the nearest weight
            best = excess
            code = other
    return code, best


@device_function
def _move_one(
    codes: Array, values: Array, book: Array, least: int, missing: float, room: float, reach: int
) -> tuple[int, int, float]:
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
    codes: Array, values: Array, book: Array, least: int, missing: float, room: float, reach: int
) -> float:
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
def _settle(
    codes: Array, values: Array, book: Array, least: int, missing: float, room: float
) -> tuple[int, float]:
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
    rounded: Array,
    codes: Array,
    vocabulary: int,
    book: Array,
    backoffs: Array,
    backoff_book: Array,
    backoff_codes: Array,
    sums: Array,
) -> None:
    """Codes of the children of contexts ``start`` to ``stop``, and of the contexts' weights.

    ``exact`` and ``rounded`` (G,) hold log-probabilities, the latter for shorter n-grams what
    their codes stand for; the children's are put in. ``sums`` (contexts, 2) holds what each
    context sums to, exactly and once rounded, read of the shorter contexts, so that their small
    errors do not add up. Single words are taken to sum to one.
    """
    values = np.exp(book.astype(np.float64))
    for context in range(start, stop):
        low = np.int64(first[context])
        high = np.int64(first[context + 1])
        room = 1.0
        exact_room = 1.0
        if context >= vocabulary:
            exact_room = np.float64(sums[suffixes[context], 0])
            room = np.float64(sums[suffixes[context], 1])
        here = codes[low - vocabulary : high - vocabulary]
        for child in range(low, high):
            room -= np.exp(np.float64(rounded[suffixes[child]]))
            exact_room -= np.exp(np.float64(exact[suffixes[child]]))
        target = np.exp(np.float64(backoffs[context])) * exact_room
        # The weight makes up for what the children are off together, if that is little to it.
        drift = 0.0
        most = max(BALANCED * target, 0.5 * CLOSE)
        mass = 0.0
        for child in range(low, high):
            probability = np.exp(np.float64(exact[child]))
            code = _nearest(book, np.float64(exact[child]))
            if abs(drift + values[code] - probability) > most:
                other = code - 1 if values[code] > probability else code + 1
                if 0 < other < book.size and code > 0:
                    change = values[other] - probability
                    if abs(drift + change) < abs(drift + values[code] - probability):
                        code = other
            here[child - low] = code
            drift += values[code] - probability
            mass += values[code]
            target += probability
        least = 0 if backoffs[context] == -np.inf else 1
        if low == high or exact_room < LEAST_ROOM or target > MOST_SUM:
            backoff_code = _nearest(backoff_book, np.float64(backoffs[context]))
            excess = np.exp(np.float64(backoff_book[backoff_code])) * room + mass - target
        else:
            room = max(room, 1e-7)
            backoff_code, excess = _settle(here, values, backoff_book, least, target - mass, room)
        for child in range(low, high):
            rounded[child] = book[here[child - low]]
        backoff_codes[context] = backoff_code
        sums[context, 0] = target
        sums[context, 1] = target + excess
