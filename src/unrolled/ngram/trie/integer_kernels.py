"""Kernels of integers that are stored in as many bits as they need, any of which can be read alone.

Of a block of 64 integers, bit planes give each one's class, and each class has a width: so where an
integer begins follows from the classes of those before it, by popcounts. There are one, two or four
classes, with no, one or two planes. They and their widths are chosen for each block, so that it
takes the fewest bits. (Differs from the directly addressable codes of Brisaboa, Ladra and Navarro
2013: one read, not one a level.) Two arrays:

``blocks``  uint64, for each block: the byte of ``fields`` at which it begins; from bit 38 on four
            widths, 6 bits each; and in the upper two bits the number of planes
``fields``  uint64, of each block the planes, 64 bits each, then the integers; and spare elements

Model files are untrusted: what lies outside the arrays reads as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import at, bits_from, popcount
from unrolled.runtime.kernels import inlined, kernel

Array = np.ndarray[Any, Any]

BLOCK = 64
WIDTHS = 38  # the bit at which the widths begin
PLANES = 62
MOST_BITS = 34  # of an integer, and one more
MOST_BLOCK = 36  # elements that a block takes at most

ZERO, ONE = np.uint64(0), np.uint64(1)
S38, S62, W6 = np.uint64(WIDTHS), np.uint64(PLANES), np.uint64(63)
START = (ONE << S38) - ONE


@inlined
def integer(blocks: Any, fields: Any, index: Any) -> Any:
    """Integer number ``index``; 0 if it lies outside."""
    block = index >> 6
    if block < 0 or block >= blocks.size:
        return np.int64(0)
    head = at(blocks, block)
    bit = np.int64(head & START) << 3
    if (bit >> 6) + 3 >= fields.size:
        return np.int64(0)
    planes = np.int64(head >> S62)
    low = bits_from(fields, bit) if planes > 0 else ZERO
    high = bits_from(fields, bit + 64) if planes > 1 else ZERO
    shift = np.uint64(index & 63)
    below = (ONE << shift) - ONE
    ones = np.int64(popcount(low & ~high & below))
    twos = np.int64(popcount(high & ~low & below))
    threes = np.int64(popcount(low & high & below))
    widths = head >> S38
    bit += (planes << 6) + ones * np.int64((widths >> np.uint64(6)) & W6)
    bit += twos * np.int64((widths >> np.uint64(12)) & W6)
    bit += threes * np.int64((widths >> np.uint64(18)) & W6)
    bit += ((index & 63) - ones - twos - threes) * np.int64(widths & W6)
    if (bit >> 6) + 1 >= fields.size:
        return np.int64(0)
    own = ((low >> shift) & ONE) + (((high >> shift) & ONE) << ONE)
    width = (widths >> (own * np.uint64(6))) & W6
    return np.int64(bits_from(fields, bit) & ((ONE << width) - ONE))


@inlined
def bit_length(value: Any) -> Any:
    """Bits of an integer; 0 for 0."""
    length = np.int64(0)
    while value >> length > 0:
        length += 1
    return length


@kernel
def store_integers(values: Array, blocks: Array, fields: Array) -> Any:
    """Store int64 values as described above; return how many elements of ``fields`` they take.

    ``fields`` is zero at first and has room for MOST_BLOCK elements a block.
    """
    lengths = np.empty(BLOCK, np.int64)
    counts = np.empty(MOST_BITS, np.int64)
    costs = np.empty((4, MOST_BITS), np.int64)
    before = np.empty((4, MOST_BITS), np.int64)
    widths = np.empty(4, np.int64)
    bit = np.int64(0)
    for start in range(0, values.size, BLOCK):
        count = min(values.size - start, BLOCK)
        counts[:] = 0
        top = np.int64(0)
        for index in range(count):
            lengths[index] = bit_length(values[start + index])
            counts[lengths[index]] += 1
            top = max(top, lengths[index])
        planes = choose_widths(counts, top, costs, before, widths)
        head = np.uint64(bit >> 3) | (np.uint64(planes) << S62)
        for number in range(1 << planes):
            head |= np.uint64(widths[number]) << np.uint64(WIDTHS + 6 * number)
        low = high = ZERO
        base, bit = bit, bit + 64 * planes
        for index in range(count):
            own = 0
            while widths[own] < lengths[index]:
                own += 1
            low |= np.uint64(own & 1) << np.uint64(index)
            high |= np.uint64(own >> 1) << np.uint64(index)
            put_bits(fields, bit, np.uint64(values[start + index]))
            bit += widths[own]
        if planes > 0:
            put_bits(fields, base, low)
        if planes > 1:
            put_bits(fields, base + 64, high)
        blocks[start >> 6] = head
        bit = (bit + 7) & ~7
    return (bit + 63) >> 6


@inlined
def put_bits(fields: Any, bit: Any, value: Any) -> None:
    """Put a number's bits among zeros."""
    shift = np.uint64(bit & 63)
    fields[bit >> 6] |= value << shift
    fields[(bit >> 6) + 1] |= (value >> ONE) >> (np.uint64(63) - shift)


@inlined
def choose_widths(counts: Any, top: Any, costs: Any, before: Any, widths: Any) -> Any:
    """The ascending widths in which integers of so many lengths take the fewest bits.

    Returns the number of planes.
    """
    for number in range(4):
        for width in range(top + 1):
            best, own = np.int64(1 << 60), np.int64(0)
            held = np.int64(0)
            for last in range(width - 1, -2, -1):  # the widest of the class before
                held += counts[last + 1]
                if number == 0 and last >= 0:
                    continue
                cost = held * width
                if last >= 0:
                    cost += costs[number - 1, last]
                if cost < best:
                    best, own = cost, np.int64(last)
            costs[number, width], before[number, width] = best, own
    planes = 0
    least = costs[0, top]
    if costs[1, top] + 64 < least:
        planes, least = 1, costs[1, top] + 64
    if costs[3, top] + 128 < least:
        planes = 2
    width = top
    for number in range((1 << planes) - 1, -1, -1):
        widths[number] = max(width, 0)
        if width >= 0:
            width = before[number, width]
    return planes
