"""Kernels that read decimal numbers out of bytes; what they cannot read exactly is for Python.

A number is ended by a blank, so that the bytes must end in a newline.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import eight_bytes, trailing_zeros
from unrolled.runtime.kernels import device_function, inlined, kernel

_MOST = 22  # 10^22 is the largest power of ten that a float64 holds exactly
POWERS = 10.0 ** np.arange(_MOST + 1)
_TENS = 10 ** np.arange(9)
_FULL = np.uint64(10**18)  # one more digit still fits into 64 bits
ZEROS = np.uint64(0x3030303030303030)  # eight digits 0
_TO_TOP = np.uint64(0x7676767676767676)  # lifts all bytes above 9 to 128 and more
_TOPS = np.uint64(0x8080808080808080)


@inlined
def is_blank(byte: Any) -> Any:
    """Whether a byte ends a number: a space, a tab, or the end of the line."""
    return byte == 9 or byte == 32 or byte == 10 or byte == 13


@device_function
def skip_blanks(data: Any, at: Any) -> Any:
    """The first byte from ``at`` on that is no space, tab or carriage return."""
    while data[at] == 32 or data[at] == 9 or data[at] == 13:
        at += 1
    return at


@device_function
def short_decimal(data: Any, at: Any) -> Any:
    """A number such as 1.2345678 that a blank ends, and where that is; -1 for any other.

    A digit, the point, and one to eight digits, which are read at once: exactly, see below.
    """
    digit = np.int64(data[at]) - 48
    if at + 11 > data.size or data[at + 1] != 46 or not 0 <= digit <= 9:
        return 0.0, -1
    bits = eight_bytes(data, at + 2) ^ ZEROS
    others = ((bits + _TO_TOP) | bits) & _TOPS  # up to the first byte that is no digit
    digits = np.int64(trailing_zeros(others) >> np.uint64(3))
    end = at + 2 + digits
    if digits == 0 or not is_blank(data[end]):
        return 0.0, -1
    bits <<= np.uint64(8 * (8 - digits))  # zeros before them
    bits = (bits * np.uint64(10) + (bits >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    bits = (bits * np.uint64(100) + (bits >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    bits = (bits * np.uint64(10000) + (bits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)
    return np.float64(digit * _TENS[digits] + np.int64(bits)) / POWERS[digits], end


@device_function
def read_decimal(data: Any, at: Any) -> Any:
    """The decimal at ``at``, where it ends, and whether it is exact; -1 as its end if Python must
    read it.

    With at most 53 bits of digits and a power of ten from -22 to 22 both are exact, so that their
    quotient is the float64 nearest to what is written (Clinger, "How to read floating point
    numbers accurately", 1990). With more it is an ulp or two off.
    """
    negative = data[at] == 45
    if negative:
        at += 1
    short, end = short_decimal(data, at)
    if end >= 0:
        return -short if negative else short, end, True
    digits, power, fraction = np.int64(0), np.int64(0), np.int64(0)
    mantissa = np.uint64(0)
    while True:
        digit = np.int64(data[at]) - 48
        if 0 <= digit <= 9:
            digits += 1
            if mantissa < _FULL:
                mantissa = mantissa * np.uint64(10) + np.uint64(digit)
                power -= fraction
            else:
                power += 1 - fraction
        elif digit == -2 and fraction == 0:
            fraction = np.int64(1)
        else:
            break
        at += 1
    if data[at] == 101 or data[at] == 69:
        at += 1
        sign = np.int64(1)
        if data[at] == 45 or data[at] == 43:
            sign = 44 - np.int64(data[at])
            at += 1
        exponent, begin = np.int64(0), at
        while 48 <= data[at] <= 57 and exponent < 1000:
            exponent = exponent * 10 + np.int64(data[at]) - 48
            at += 1
        if at == begin:
            return 0.0, -1, False
        power += sign * exponent
    if not is_blank(data[at]) or digits == 0 or power < -2 * _MOST or power > _MOST:
        return 0.0, -1, False
    value = np.float64(mantissa)
    exact = mantissa >> np.uint64(53) == np.uint64(0) and power >= -_MOST
    if power < -_MOST:
        value /= POWERS[_MOST]
        power += _MOST
    value = value / POWERS[-power] if power < 0 else value * POWERS[power]
    return -value if negative else value, at, exact


@kernel
def read_row(line: Any, at: Any, numbers: Any) -> Any:
    """Fill an array with the decimals that a line ends in; False if Python must read it.

    Args:
        line: with its newline.
        at: where the first number begins.
    """
    for column in range(numbers.size):
        value, at, exact = read_decimal(line, skip_blanks(line, at))
        if not exact:
            return False
        numbers[column] = np.float32(value)
    return line[skip_blanks(line, at)] == 10
