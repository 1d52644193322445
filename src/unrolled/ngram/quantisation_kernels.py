"""Kernels that round the probabilities of a context together with its back-off weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

CLOSE = 5e-4  # a context that sums to one so nearly is left as it is


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _weigh(book: Array, least: int, mass: float, room: float) -> tuple[int, float]:
    """Best back-off code for children that sum to ``mass``, and the context's sum less one."""
    wanted = (1.0 - mass) / room
    code = least
    if wanted > 0:
        code = max(_nearest(book, np.log(wanted)), least)
    best = np.exp(np.float64(book[code])) * room + mass - 1.0
    for other in range(max(code - 1, least), min(code + 2, book.size)):
        excess = np.exp(np.float64(book[other])) * room + mass - 1.0
        if abs(excess) < abs(best):  # the nearest logarithm need not be the nearest weight
            best = excess
            code = other
    return code, best


@njit(cache=True, nogil=True)
def _settle(
    codes: Array, values: Array, book: Array, least: int, mass: float, room: float, reach: int
) -> tuple[int, float, float]:
    """Move the one child whose move by up to ``reach`` codes brings the sum nearest to one.

    Returns the back-off code, the children's sum and the excess after the move. The first move
    that is near enough will do; small moves are tried first.
    """
    code, excess = _weigh(book, least, mass, room)
    child, child_code, best = -1, 0, abs(excess)
    for step in range(1, reach + 1):
        for index in range(codes.size):
            old = np.int64(codes[index])
            for other in (old - step, old + step):
                if other < 1 or other >= values.size or old == 0:
                    continue
                change = values[other] - values[old]
                if abs(change) < 0.1 * CLOSE:
                    continue
                left = abs(_weigh(book, least, mass + change, room)[1])
                if left < 0.9 * best:
                    child, child_code, best = index, other, left
            if best <= CLOSE:
                break
        if best <= CLOSE:
            break
    if child >= 0:
        mass += values[child_code] - values[codes[child]]
        codes[child] = child_code
        code, excess = _weigh(book, least, mass, room)
    return code, mass, excess


@njit(cache=True, nogil=True)
def round_contexts(
    first: Array,
    start: int,
    stop: int,
    suffixes: Array,
    rounded: Array,
    codes: Array,
    vocabulary: int,
    book: Array,
    backoffs: Array,
    backoff_book: Array,
    backoff_codes: Array,
    totals: Array,
) -> None:
    """Codes of the children of contexts ``start`` to ``stop``, and of the contexts' weights.

    ``rounded`` (G,) holds exact log-probabilities of this order, and for shorter n-grams what
    their codes stand for; the children's are replaced by what their codes stand for. ``totals``
    (contexts,) is what each context sums to once rounded, read of the shorter contexts, so that
    their small errors do not add up.
    """
    values = np.exp(book.astype(np.float64))
    for context in range(start, stop):
        low = np.int64(first[context])
        high = np.int64(first[context + 1])
        total = 1.0 if context < vocabulary else np.float64(totals[suffixes[context]])
        if low == high:
            code = _nearest(backoff_book, backoffs[context])
            backoff_codes[context] = code
            totals[context] = total * np.exp(np.float64(backoff_book[code]))
            continue
        here = codes[low - vocabulary : high - vocabulary]
        mass = 0.0
        room = total
        for child in range(low, high):
            here[child - low] = _nearest(book, rounded[child])
            mass += values[here[child - low]]
            room -= np.exp(np.float64(rounded[suffixes[child]]))
        room = max(room, 1e-7)
        least = 0 if backoffs[context] == -np.inf else 1
        backoff_code, excess = _weigh(backoff_book, least, mass, room)
        for attempt in range(12):
            if abs(excess) <= CLOSE:
                break
            reach = 4 if attempt < 6 else 40
            before = abs(excess)
            backoff_code, mass, excess = _settle(
                here, values, backoff_book, least, mass, room, reach
            )
            if abs(excess) == before and reach == 40:
                break
        backoff_codes[context] = backoff_code
        totals[context] = 1.0 + excess
        for child in range(low, high):
            rounded[child] = book[codes[child - vocabulary]]
