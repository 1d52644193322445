"""Numba kernels on bytes of text alone: is it UTF-8, and each character as a word of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import eight_bytes
from unrolled.runtime.kernels import cached_kernel, kernel
from unrolled.text.encoding_kernels import splits

TOPS = np.uint64(0x8080808080808080)


@kernel
def spell(data: Any, characters: Any, out: Any) -> Any:
    """Write each character, or each byte, as a word of its own; returns the bytes written, or -1.

    White space other than the newline becomes U+2581, a carriage return before a newline is
    dropped, and a byte outside printable ASCII, where bytes are asked for, becomes like ``<0xE2>``.
    ``data`` must be UTF-8 where characters are asked for, or they come out in some other cut.
    """
    written, size = 0, data.size
    for at in range(size):
        byte = data[at]
        if written + 8 > out.size:
            return -1
        if byte == 10:
            out[written] = 10
            written += 1
            continue
        if byte == 13 and (at + 1 == size or data[at + 1] == 10):
            continue
        follows = characters and (byte & 0xC0) == 0x80  # inside a character
        if written > 0 and out[written - 1] != 10 and not follows:
            out[written] = 32
            written += 1
        if splits(byte):
            out[written], out[written + 1], out[written + 2] = 0xE2, 0x96, 0x81
            written += 3
        elif characters or 32 < byte < 127:
            out[written] = byte
            written += 1
        else:
            for rank in range(6):
                digit = 0
                if rank == 3:
                    digit = byte >> 4
                elif rank == 4:
                    digit = byte & 15
                if rank == 0:
                    letter = 60  # <
                elif rank == 1:
                    letter = 48  # 0
                elif rank == 2:
                    letter = 120  # x
                elif rank == 5:
                    letter = 62  # >
                else:
                    letter = 48 + digit if digit < 10 else 55 + digit
                out[written + rank] = letter
            written += 6
    return written


@cached_kernel
def first_invalid(data: Any) -> Any:
    """Position of the first sequence that is not UTF-8 (RFC 3629, section 4), or -1."""
    at, size = 0, data.size
    while at < size:
        if at + 8 <= size and eight_bytes(data, at) & TOPS == np.uint64(0):
            at += 8
            continue
        byte = data[at]
        if byte < 0x80:
            at += 1
            continue
        low, high = 0x80, 0xBF  # what may follow the first byte
        if 0xC2 <= byte <= 0xDF:
            more = 1
        elif 0xE0 <= byte <= 0xEF:
            more = 2
            low = 0xA0 if byte == 0xE0 else 0x80  # no longer form than needed
            high = 0x9F if byte == 0xED else 0xBF  # no surrogates
        elif 0xF0 <= byte <= 0xF4:
            more = 3
            low = 0x90 if byte == 0xF0 else 0x80
            high = 0x8F if byte == 0xF4 else 0xBF  # nothing above U+10FFFF
        else:
            return at
        if at + more >= size or not low <= data[at + 1] <= high:
            return at
        for behind in range(2, more + 1):
            if data[at + behind] & 0xC0 != 0x80:
                return at
        at += more + 1
    return -1
