"""Kernels between the lines of an ARPA file and arrays: one that reads them, one that writes them.

The reader takes plain lines only and stops at any other: Python then parses that one line and
raises the error if it is broken.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import field
from unrolled.runtime.intrinsics import eight_bytes, prefetch, put_eight_bytes
from unrolled.runtime.kernels import device_function, inlined, kernel
from unrolled.text.encoding_kernels import find, recall, remember, scan
from unrolled.text.number_kernels import POWERS, ZEROS, read_decimal, skip_blanks

LN10 = math.log(10.0)
LOWEST = np.float32(-np.inf)
MOST_BACKOFF = 217.0  # log10 of e^500, the most that `packed_trie` accepts
_EIGHT = 10**8
_TENS = 10 ** np.arange(19)
LINES = 16  # that are scanned before their words are looked up, all of them asked for by then
_LINE = 64  # bytes that both numbers of a line, the tabs and the newline take at most
KNOWN = 512  # back-off weights whose digits are kept
_KNOWN_BITS = np.uint64(9)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@device_function
def natural(value: Any) -> Any:
    """A log10 as the natural logarithm in float32; without a negative zero."""
    return np.float32(value * LN10 + 0.0)


@device_function
def parse_number(data: Any, at: Any) -> Any:
    """The decimal at ``at`` and where it ends; -1 as its end where it is for Python to read.

    So it is where another last bit could change the float32 that is kept.
    """
    value, end, exact = read_decimal(data, at)
    if end >= 0 and not exact and natural(value * (1 - 1e-15)) != natural(value * (1 + 1e-15)):
        return 0.0, -1
    return value, end


@kernel
def parse_lines(
    data: Any,
    state: Any,
    text: Any,
    offsets: Any,
    slots: Any,
    recent: Any,
    ids: Any,
    log_probs: Any,
    backoffs: Any,
) -> Any:
    """Read plain lines ``log10 word ... [log10]``, as many words as ``ids`` has columns.

    Args:
        data: (bytes,) uint8 whole lines, the last byte a newline.
        state: (4,) int64 in and out: position in data, lines and rows so far, and the line after
            the last row. A line that is not plain stops the kernel, with its beginning as position.
        text, offsets, slots: the vocabulary; without slots the lines are unigrams, and their two
            columns of ids get where the word begins and ends in data.
        recent: of `recall`.
        ids: (R, k) int32, log_probs: (R,) float32 natural logarithms. backoffs: (R,) too, or (0,)
            where no weight but 0 is plain. All are filled from row state[2] on.
    """
    at, lines, row, after = state[0], state[1], state[2], state[3]
    size, words, spelled = data.size, offsets.size - 1, slots.size == 0
    length = 1 if spelled else ids.shape[1]
    places = np.empty((LINES, 2), np.int64)  # of each line: its first byte, and its number
    spans, hashes = np.empty((LINES, length, 2), np.int64), np.empty((LINES, length), np.uint64)
    plain = size > 0 and data[size - 1] == 10 and at >= 0
    while plain and at < size:
        found = 0
        while found < LINES and at < size:
            begin, column, value, weight = at, 0, 0.0, 0.0
            while plain:
                at = skip_blanks(data, at)
                if data[at] == 10:
                    break
                if 0 < column <= length:
                    start = at
                    at, hashed = scan(data, start)
                    plain = start < at and row + found < ids.shape[0]  # a NUL, for one
                    if plain:
                        spans[found, column - 1, 0], spans[found, column - 1, 1] = start, at
                        hashes[found, column - 1] = hashed
                        if not spelled:
                            word = recall(recent, hashed, at - start)
                            ids[row + found, column - 1] = word
                            if word < 0:
                                prefetch(slots, np.int64(hashed & np.uint64(slots.size - 1)))
                else:
                    number, at = parse_number(data, at)
                    plain = at >= 0
                    if column == 0:
                        value = number
                    else:
                        weight = number
                column += 1
            if plain and column > 0:
                plain = length < column <= length + 2 and value <= 0 and weight <= MOST_BACKOFF
                plain = plain and (backoffs.size > 0 or weight == 0)
            if not plain:
                at = begin
                break
            if column > 0:
                log_probs[row + found] = natural(value)
                if backoffs.size > 0:
                    backoffs[row + found] = natural(weight)
                places[found, 0], places[found, 1] = begin, lines
                found += 1
            at += 1
            lines += 1
        for line in range(found):
            known = True
            for column in range(length):
                start, stop = spans[line, column, 0], spans[line, column, 1]
                if spelled:
                    ids[row, 0], ids[row, 1] = start, stop
                elif ids[row, column] < 0:
                    hashed = hashes[line, column]
                    word = find(data, start, stop, hashed, text, offsets, slots, words)
                    remember(recent, hashed, stop - start, word)
                    ids[row, column] = word
                    known = known and word >= 0
            if not known:
                plain = False
                at, lines = places[line, 0], places[line, 1]
                break
            row += 1
            after = places[line, 1] + 1
    state[0], state[1], state[2], state[3] = at, lines, row, after


@inlined
def eight_digits(number: Any) -> Any:
    """The digits of a number below 10^8, zeros in front, as eight bytes, the first one lowest.

    Halves, then pairs, then digits are split at once, each by a product and a shift.
    """
    number = np.uint64(number)
    bits = number // np.uint64(10_000) | (number % np.uint64(10_000)) << np.uint64(32)
    tens = (bits * np.uint64(10486)) >> np.uint64(20) & np.uint64(0x0000007F0000007F)
    bits = tens | (bits - np.uint64(100) * tens) << np.uint64(16)
    tens = (bits * np.uint64(103)) >> np.uint64(10) & np.uint64(0x000F000F000F000F)
    bits = tens | (bits - np.uint64(10) * tens) << np.uint64(8)
    return bits | ZEROS


@device_function
def write_digits(number: Any, digits: Any, out: Any, at: Any) -> Any:
    """Write the last ``digits`` decimal digits of a number, zeros in front; returns the end.

    Up to seven bytes after the end change too, which ``out`` must have.
    """
    if digits > 8:
        rest = digits - 8
        put_eight_bytes(out, at, eight_digits(number // _EIGHT) >> np.uint64(8 * (8 - rest)))
        at, digits = at + rest, np.int64(8)
    put_eight_bytes(out, at, eight_digits(number % _EIGHT) >> np.uint64(8 * (8 - digits)))
    return at + digits


@device_function
def shortest(size: Any, kept: Any, power: Any) -> Any:
    """The fewest digits, 7 to 9, that read back as float32 ``kept``, as a number, and its power.

    ``size`` is what they should be near, with 10^power its first digit. Nine digits always do:
    they are 10 times finer than float32. Six are tried too, as seven can miss 0.1 by one: then
    they end in 9, 0 or 1.
    """
    number, scale = np.int64(0), np.int64(0)
    for digits in range(7, 10):
        scale = digits - 1 - power
        number = np.int64(np.rint(size * POWERS[scale]))
        if natural(np.float64(number) / POWERS[scale]) == kept:
            break
    if digits == 7 and (number + 1) % 10 <= 2:
        rounder = np.int64(np.rint(size * POWERS[scale - 1]))
        if natural(np.float64(rounder) / POWERS[scale - 1]) == kept:
            return rounder, scale - 1
    return number, scale


@device_function
def write_number(log: Any, out: Any, at: Any) -> Any:
    """Write a natural logarithm as log10, so that it reads back the same; returns the end.

    Log zero becomes -99, which is how ARPA files say it.
    """
    if log == LOWEST:
        out[at], out[at + 1], out[at + 2] = 45, 57, 57
        return at + 3
    size = abs(np.float64(log)) / LN10
    if log < 0:
        out[at] = 45
        at += 1
    if size == 0.0:
        out[at] = 48
        return at + 1
    if 1.01 < size < 9.99:
        power = np.int64(0)
    elif 0.101 < size < 0.999:
        power = np.int64(-1)
    else:
        power = np.int64(math.floor(math.log10(size)))
    exponent = np.int64(0)
    if power < -6 or power > 5:  # then as digits times a power of ten
        exponent = power
        number, scale = np.int64(np.rint(size / 10.0 ** np.float64(power) * 1e8)), 8
    else:
        number, scale = shortest(size, np.float32(abs(log)), power)
    while scale > 0 and number % 10 == 0:
        number //= 10
        scale -= 1
    whole = number // _TENS[scale]
    digits = 1
    while digits < 10 and whole >= _TENS[digits]:
        digits += 1
    at = write_digits(whole, digits, out, at)
    if scale > 0:
        out[at] = 46
        at = write_digits(number - whole * _TENS[scale], scale, out, at + 1)
    if exponent != 0:
        out[at] = 101
        out[at + 1] = 45 if exponent < 0 else 43
        at = write_digits(abs(exponent), np.int64(2), out, at + 2)
    return at


@device_function
def write_weight(log: Any, out: Any, at: Any, known: Any) -> Any:
    """As `write_number`, of a back-off weight: most have one of a few values.

    Args:
        known: (KNOWN, 3) uint64: the bits of a number above the length of its digits, and 16 bytes
            that begin with them. Those of a longer one are not read.
    """
    bits = np.uint64(np.float32(log).view(np.uint32)) << np.uint64(32)
    slot = np.int64((bits * _FACTOR) >> (np.uint64(64) - _KNOWN_BITS))
    size = known[slot, 0] ^ bits  # of another number, a large one
    if size == np.uint64(0) or size > np.uint64(16):
        end = write_number(log, out, at)
        known[slot, 0] = bits | np.uint64(end - at)
        known[slot, 1] = eight_bytes(out, at)
        known[slot, 2] = eight_bytes(out, at + 8)
        return end
    put_eight_bytes(out, at, known[slot, 1])
    put_eight_bytes(out, at + 8, known[slot, 2])
    return at + np.int64(size)


@inlined
def copy_bytes(text: Any, start: Any, stop: Any, out: Any, at: Any) -> Any:
    """Copy text[start:stop] to out[at:], eight bytes at a time where there are; returns the end.

    Up to seven bytes after the end change too, which ``out`` must have.
    """
    end = at + stop - start
    while start < stop and start + 8 <= text.size:
        put_eight_bytes(out, at, eight_bytes(text, start))
        start, at = start + 8, at + 8
    while start < stop:
        out[at] = text[start]
        start, at = start + 1, at + 1
    return end


@kernel
def format_lines(
    path: Any,
    stop: Any,
    first: Any,
    packed: Any,
    bits: Any,
    inverse: Any,
    log_probs: Any,
    backoffs: Any,
    text: Any,
    offsets: Any,
    out: Any,
) -> Any:
    """Write the n-grams of nodes path[-1] to ``stop`` as lines, as long as they fit into ``out``.

    Args:
        path: (k,) int64 in and out: the nodes of the first 1 to k words of the next n-gram.
        first, packed, bits, log_probs, backoffs: of the `NgramTable`; a node without a back-off
            weight (of the highest order) has no third column.
        inverse: undoes the spreading of words, see `trie_kernels.spread`.
        text, offsets: the vocabulary. out: (bytes,) uint8.

    Returns:
        Bytes written; with the room that the next line needs, at most, as second number, or 0 at
        the end, or -1 at a word id that the vocabulary lacks.
    """
    length = path.size
    mask = (1 << bits) - 1
    words = offsets.size - 1
    spans = np.empty((length, 2), np.int64)
    known = np.zeros((KNOWN, 3), np.uint64)
    at = np.int64(0)  # a plain 0 has a type of its own, for which write_number compiles again
    while path[length - 1] < stop:
        for level in range(length - 2, -1, -1):
            while first[path[level] + 1] <= path[level + 1]:
                path[level] += 1
        room = np.int64(_LINE)
        for level in range(length):
            word = (field(packed, bits, path[level]) * inverse) & mask
            if word >= words or not (0 <= offsets[word] <= offsets[word + 1] <= text.size):
                return at, -1
            spans[level, 0], spans[level, 1] = offsets[word], offsets[word + 1]
            room += spans[level, 1] - spans[level, 0] + 1
        if at + room > out.size:
            return at, room
        node = path[length - 1]
        at = write_number(log_probs[node], out, at)
        out[at] = 9
        for level in range(length):
            at = copy_bytes(text, spans[level, 0], spans[level, 1], out, at + 1)
            out[at] = 32
        if node < backoffs.size:
            out[at] = 9
            at = write_weight(backoffs[node], out, at + 1, known)
        out[at] = 10
        at += 1
        path[length - 1] += 1
    return at, 0
