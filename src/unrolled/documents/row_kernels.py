"""Numba kernels on rows of JSONL: the text is taken out, numbers are put in, the rest stays.

Parsing each row and writing it anew would take longer than scoring its text, would hold the GIL,
and would change other fields: `1e5` to `100000.0`. So a row is only checked from end to end, by the
grammar of RFC 8259 and Python's NaN, Infinity and -Infinity; its text is unescaped, and the place
is found where new fields go. All kernels stay within their arrays whatever the bytes are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.documents.row_layout import (
    BLANK,
    BROKEN,
    CLOSE,
    EXISTS,
    LINES,
    NUMBER_BYTES,
    OK,
    START,
    STATUS,
    STOP,
)
from unrolled.runtime.intrinsics import eight_bytes, put_eight_bytes
from unrolled.runtime.kernels import cached_kernel, inlined, no_refcount
from unrolled.text.encoding_kernels import window

_TOPS = np.uint64(0x8080808080808080)
_ONES = np.uint64(0x0101010101010101)
_QUOTES = np.uint64(0x2222222222222222)
_SLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_BLANKS = np.uint64(0x2020202020202020)
_NONE = np.uint64(0)
_THREE, _FOUR, _FIVE = np.uint64(0xFFFFFF), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFF)
_TRUE, _FALSE, _NULL = np.uint64(0x65757274), np.uint64(0x65736C6166), np.uint64(0x6C6C756E)
_NAN, _INFINITY = np.uint64(0x4E614E), np.uint64(0x7974696E69666E49)
_QUOTE, _SLASH, _COMMA, _COLON = 34, 92, 44, 58
_OBJECT, _END_OBJECT, _ARRAY, _END_ARRAY = 123, 125, 91, 93
_SCALE = 1_000_000.0  # numbers have six decimals
_LARGE = 1e12  # from here on they have an exponent


@inlined
def _plain(bits: Any) -> Any:
    """Whether none of eight bytes is a quote, a backslash or a control character."""
    quotes, slashes = bits ^ _QUOTES, bits ^ _SLASHES
    marked = ((quotes - _ONES) & ~quotes) | ((slashes - _ONES) & ~slashes)
    return (marked | ((bits - _BLANKS) & ~bits)) & _TOPS == _NONE


@inlined
def _skip_space(data: Any, at: Any, stop: Any) -> Any:
    while at < stop and (data[at] == 32 or data[at] == 9 or data[at] == 13):
        at += 1
    return at


@no_refcount
def _hexadecimal(data: Any, at: Any, stop: Any) -> Any:
    """The number of four hexadecimal digits, or -1."""
    if at + 4 > stop:
        return -1
    number = 0
    for place in range(at, at + 4):
        byte = np.int64(data[place])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 65 <= byte <= 70 or 97 <= byte <= 102:
            digit = (byte & 7) + 9
        else:
            return -1
        number = 16 * number + digit
    return number


@no_refcount
def _escaped(data: Any, at: Any, stop: Any) -> Any:
    """The character of an escape whose backslash is at ``at``, and where it ends; -1: no escape."""
    if at + 1 >= stop:
        return -1, at
    letter = data[at + 1]
    if letter == 34 or letter == 92 or letter == 47:  # " \ /
        return np.int64(letter), at + 2
    if letter == 110:  # n
        return 10, at + 2
    if letter == 116:  # t
        return 9, at + 2
    if letter == 114:  # r
        return 13, at + 2
    if letter == 98:  # b
        return 8, at + 2
    if letter == 102:  # f
        return 12, at + 2
    if letter != 117:  # u
        return -1, at
    number = _hexadecimal(data, at + 2, stop)
    at += 6
    if 0xD800 <= number < 0xDC00 and at + 1 < stop and data[at] == 92 and data[at + 1] == 117:
        low = _hexadecimal(data, at + 2, stop)
        if 0xDC00 <= low < 0xE000:
            return 0x10000 + ((number - 0xD800) << 10) + (low - 0xDC00), at + 6
    return number, at


@no_refcount
def _put_character(character: Any, out: Any, written: Any) -> Any:
    """Write a character in UTF-8; of half a surrogate pair a question mark, as elsewhere."""
    if 0xD800 <= character < 0xE000:
        character = 63
    if character < 0x80:
        out[written] = character
        return written + 1
    if character < 0x800:
        out[written] = 0xC0 | (character >> 6)
        out[written + 1] = 0x80 | (character & 63)
        return written + 2
    if character < 0x10000:
        out[written] = 0xE0 | (character >> 12)
        out[written + 1] = 0x80 | ((character >> 6) & 63)
        out[written + 2] = 0x80 | (character & 63)
        return written + 3
    out[written] = 0xF0 | (character >> 18)
    out[written + 1] = 0x80 | ((character >> 12) & 63)
    out[written + 2] = 0x80 | ((character >> 6) & 63)
    out[written + 3] = 0x80 | (character & 63)
    return written + 4


@no_refcount
def _copy_string(data: Any, at: Any, stop: Any, out: Any, written: Any) -> Any:
    """Unescape the string whose first byte is at ``at``: where it ends, and the bytes written.

    The end is that after the closing quote, or -1 where the string is broken.
    """
    while at < stop:
        if at + 8 <= stop:
            bits = eight_bytes(data, at)
            if _plain(bits):
                put_eight_bytes(out, written, bits)
                at, written = at + 8, written + 8
                continue
        byte = data[at]
        if byte == _QUOTE:
            return at + 1, written
        if byte < 32:
            return -1, written
        if byte != _SLASH:
            out[written] = byte
            at, written = at + 1, written + 1
            continue
        character, at = _escaped(data, at, stop)
        if character < 0:
            return -1, written
        written = _put_character(character, out, written)
    return -1, written


@no_refcount
def _skip_string(data: Any, at: Any, stop: Any) -> Any:
    """Where the string ends whose first byte is at ``at``, after its quote; -1: it is broken."""
    while at < stop:
        if at + 8 <= stop and _plain(eight_bytes(data, at)):
            at += 8
            continue
        byte = data[at]
        if byte == _QUOTE:
            return at + 1
        if byte < 32:
            return -1
        if byte == _SLASH:
            character, at = _escaped(data, at, stop)
            if character < 0:
                return -1
        else:
            at += 1
    return -1


@no_refcount
def _skip_digits(data: Any, at: Any, stop: Any) -> Any:
    while at < stop and 48 <= data[at] <= 57:
        at += 1
    return at


@no_refcount
def _skip_word(data: Any, at: Any) -> Any:
    """Where true, false, null, NaN or Infinity ends if it stands at ``at``, or -1."""
    bits = window(data, at)
    if bits & _FOUR == _TRUE or bits & _FOUR == _NULL:
        return at + 4
    if bits & _FIVE == _FALSE:
        return at + 5
    if bits & _THREE == _NAN:
        return at + 3
    return at + 8 if bits == _INFINITY else -1


@no_refcount
def _skip_number(data: Any, at: Any, stop: Any) -> Any:
    """Where the number ends that begins at ``at``, or -1."""
    if data[at] == 45:  # -
        at += 1
        if at < stop and data[at] == 73:  # I
            return _skip_word(data, at) if window(data, at) == _INFINITY else -1
    first = at
    at = _skip_digits(data, at, stop)
    if at == first or (data[first] == 48 and at > first + 1):
        return -1
    if at < stop and data[at] == 46:  # .
        first = at + 1
        at = _skip_digits(data, first, stop)
        if at == first:
            return -1
    if at < stop and data[at] | 32 == 101:  # e
        at += 1
        if at < stop and (data[at] == 43 or data[at] == 45):
            at += 1
        first = at
        at = _skip_digits(data, first, stop)
        if at == first:
            return -1
    return at


@no_refcount
def _skip_scalar(data: Any, at: Any, stop: Any) -> Any:
    """Where a string, number or word ends, or -1."""
    byte = data[at]
    if byte == _QUOTE:
        return _skip_string(data, at + 1, stop)
    if byte == 45 or 48 <= byte <= 57:
        return _skip_number(data, at, stop)
    return _skip_word(data, at)


@no_refcount
def _skip_colon(data: Any, at: Any, stop: Any) -> Any:
    """Where the value begins whose key ends at ``at``, or -1."""
    if at >= 0:
        at = _skip_space(data, at, stop)
        if at < stop and data[at] == _COLON:
            return _skip_space(data, at + 1, stop)
    return -1


@no_refcount
def _skip_key(data: Any, at: Any, stop: Any) -> Any:
    """Where the value begins whose key begins at ``at``, or -1."""
    at = _skip_space(data, at, stop)
    if at < stop and data[at] == _QUOTE:
        return _skip_colon(data, _skip_string(data, at + 1, stop), stop)
    return -1


@no_refcount
def _skip_value(data: Any, at: Any, stop: Any, stack: Any) -> Any:
    """Where the value ends that begins at ``at``, however it is nested, or -1.

    ``stack`` holds the closing bracket of each array and object that is open.
    """
    depth = 0
    while 0 <= at < stop:
        byte = data[at]
        if byte == _OBJECT or byte == _ARRAY:
            if depth == stack.size:
                return -1
            stack[depth] = byte + 2
            at = _skip_space(data, at + 1, stop)
            if at < stop and data[at] == stack[depth]:
                at += 1
            else:
                depth += 1
                if byte == _OBJECT:
                    at = _skip_key(data, at, stop)
                continue
        else:
            at = _skip_scalar(data, at, stop)
        # A value has ended, and perhaps those that it is in.
        while at >= 0:
            if depth == 0:
                return at
            at = _skip_space(data, at, stop)
            if at >= stop:
                return -1
            if data[at] == stack[depth - 1]:
                depth, at = depth - 1, at + 1
            elif data[at] == _COMMA:
                at = _skip_space(data, at + 1, stop)
                if stack[depth - 1] == _END_OBJECT:
                    at = _skip_key(data, at, stop)
                break
            else:
                return -1
    return -1


@no_refcount
def _same(data: Any, start: Any, stop: Any, name: Any, first: Any, last: Any) -> Any:
    """Whether ``data[start:stop]`` is ``name[first:last]``."""
    if stop - start != last - first:
        return False
    for place in range(stop - start):
        if data[start + place] != name[first + place]:
            return False
    return True


@no_refcount
def _is_new(data: Any, start: Any, stop: Any, names: Any, ends: Any) -> Any:
    """Whether ``data[start:stop]`` is one of the names, which end at ``ends``."""
    first = 0
    for number in range(ends.size):
        if _same(data, start, stop, names, first, ends[number]):
            return True
        first = ends[number]
    return False


@no_refcount
def _scan_row(
    data: Any, at: Any, field: Any, names: Any, ends: Any, stack: Any, text: Any, written: Any
) -> Any:
    """The row that begins at ``at``: status, where it stops, where its last value does, its text.

    The text is written, and the bytes that ``text`` has then are the fourth result.
    """
    begin, stop, close = written, data.size, 0
    found, exists = False, False
    at = _skip_space(data, at, stop)
    if at >= stop or data[at] == 10:
        return BLANK, at, close, begin
    following = data[at] == _OBJECT
    while following:
        at = _skip_space(data, at + 1, stop)
        if at >= stop or data[at] != _QUOTE:
            break
        at, end = _copy_string(data, at + 1, stop, text, written)  # the key, behind the text
        is_field = _same(text, written, end, field, 0, field.size)
        exists = exists or _is_new(text, written, end, names, ends)
        at = _skip_colon(data, at, stop)
        if at < 0 or at >= stop:
            break
        if is_field:  # of a field that comes twice the last one counts, as for Python
            found = data[at] == _QUOTE
        if is_field and found:
            at, written = _copy_string(data, at + 1, stop, text, begin)
        else:
            at = _skip_value(data, at, stop, stack)
        if at < 0:
            break
        close = at
        at = _skip_space(data, at, stop)
        following = at < stop and data[at] == _COMMA
    if close > 0 and 0 <= at < stop and data[at] == _END_OBJECT and not following:
        at = _skip_space(data, at + 1, stop)
        if found and (at == stop or data[at] == 10):
            return (EXISTS if exists else OK), at, close, written
    return BROKEN, np.int64(-1), close, begin


@cached_kernel
def scan_rows(
    data: Any, field: Any, names: Any, ends: Any, stack: Any, text: Any, rows: Any
) -> Any:
    """Check rows of JSONL and take out the text of each.

    Args:
        data: (B,) uint8 whole lines, in UTF-8.
        field: (.,) uint8 name of the text's field.
        names, ends: (.,) uint8 names of the new fields, and (F,) int64 where each ends.
        stack: (DEPTH,) uint8 to work in.
        text: (B + lines + 8,) uint8; gets the text of each document and a newline.
        rows: (lines, FIELDS) int64; of each line where it starts, stops, and its last value ends,
            its status, and the lines of its text.

    Returns:
        The lines and the bytes of text; both -1 if an array is too small.
    """
    at, written, count, size = 0, 0, 0, data.size
    while at < size:
        if count == rows.shape[0] or text.size < size + count + 8:
            return -1, -1
        begin = written
        status, stop, close, written = _scan_row(data, at, field, names, ends, stack, text, begin)
        if stop < 0:
            stop = at
            while stop < size and data[stop] != 10:
                stop += 1
        lines = 0
        if status == OK:
            text[written] = 10
            written += 1
            for place in range(begin, written):
                lines += text[place] == 10
        else:
            written = begin
        rows[count, START], rows[count, STOP], rows[count, CLOSE] = at, stop, close
        rows[count, STATUS], rows[count, LINES] = status, lines
        count, at = count + 1, stop + 1
    return count, written


@no_refcount
def _put_integer(number: Any, least: Any, out: Any, at: Any) -> Any:
    """Write a number that is not negative with at least so many digits; where it ends."""
    digits, rest = 1, number // 10
    while rest > 0 or digits < least:
        digits, rest = digits + 1, rest // 10
    for place in range(digits):
        out[at + digits - 1 - place] = 48 + number % 10
        number //= 10
    return at + digits


@no_refcount
def _put_decimal(number: Any, out: Any, at: Any) -> Any:
    """Write 0 <= number < 1e12 with up to six decimals, at least one; where it ends."""
    scaled = np.int64(number * _SCALE + 0.5)
    whole = scaled // 1_000_000
    at = _put_integer(whole, 1, out, at)
    out[at] = 46
    at = _put_integer(scaled - 1_000_000 * whole, 6, out, at + 1)
    for _ in range(5):
        if out[at - 1] != 48:
            break
        at -= 1
    return at


@no_refcount
def _put_number(number: Any, integer: Any, out: Any, at: Any) -> Any:
    """Write a number as JSON knows it, NaN and infinities as null; where it ends."""
    if not -np.inf < number < np.inf:
        out[at], out[at + 1], out[at + 2], out[at + 3] = 110, 117, 108, 108
        return at + 4
    if number < 0:
        out[at] = 45
        at, number = at + 1, -number
    if integer:
        return _put_integer(np.int64(number), 1, out, at)
    exponent = 0
    if number >= _LARGE:
        while number >= 1e22:
            number, exponent = number / 1e22, exponent + 22
        while number >= 10:
            number, exponent = number / 10, exponent + 1
    at = _put_decimal(number, out, at)
    if exponent > 0:
        out[at] = 101
        at = _put_integer(exponent, 1, out, at + 1)
    return at


@no_refcount
def _put_bytes(data: Any, start: Any, stop: Any, out: Any, at: Any) -> Any:
    """Copy ``data[start:stop]``; where the copy ends."""
    while start + 8 <= stop:
        put_eight_bytes(out, at, eight_bytes(data, start))
        start, at = start + 8, at + 8
    for place in range(start, stop):
        out[at] = data[place]
        at += 1
    return at


@cached_kernel
def write_rows(
    data: Any,
    rows: Any,
    values: Any,
    firsts: Any,
    listed: Any,
    integers: Any,
    labels: Any,
    label_ends: Any,
    tails: Any,
    out: Any,
) -> Any:
    """Write rows with new fields after their last one.

    Args:
        data: (B,) uint8, and rows: (N, FIELDS) int64, as of `scan_rows`, of the documents to write.
        values: (F, V) float64 of the new fields; firsts: (N, 2) int64, which are a document's own.
        listed: whether each field is a list of its values.
        integers: (F,) int64, whether the values of a field are integers.
        labels, label_ends: (.,) uint8 such as ``, "tokens": ``, back to back, and where they end:
            F of them, then those that end the row.
        tails: (N,) int64 the number of the label that ends a row, or -1.
        out: (.,) uint8.

    Returns:
        The bytes written; -1 if ``out`` is too small or a row is not within ``data``.
    """
    at = 0
    fields = values.shape[0]
    for number in range(rows.shape[0]):
        start, stop, close = rows[number, START], rows[number, STOP], rows[number, CLOSE]
        first, last, tail = firsts[number, 0], firsts[number, 1], tails[number]
        if not (0 <= start <= close <= stop <= data.size and 0 <= first <= last):
            return -1
        needed = stop - start + NUMBER_BYTES * fields * (last - first + 1) + labels.size + 1
        if last > values.shape[1] or tail >= label_ends.size or at + needed > out.size:
            return -1
        at = _put_bytes(data, start, close, out, at)
        label = 0
        for field in range(fields):
            at = _put_bytes(labels, label, label_ends[field], out, at)
            label = label_ends[field]
            if listed:
                out[at] = _ARRAY
                at += 1
            for place in range(first, last):
                if place > first:
                    out[at], out[at + 1] = _COMMA, 32
                    at += 2
                at = _put_number(values[field, place], integers[field], out, at)
            if listed:
                out[at] = _END_ARRAY
                at += 1
        if tail >= 0:
            begin = label_ends[tail - 1] if tail > 0 else 0
            at = _put_bytes(labels, begin, label_ends[tail], out, at)
        at = _put_bytes(data, close, stop, out, at)
        out[at] = 10
        at += 1
    return at
