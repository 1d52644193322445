"""Numba kernels from bytes to word ids, on one open-addressing hash table.

The table is four arrays: ``text``, the words back to back; ``offsets``, where each begins;
``slots``, a power of two of them, each ``fingerprint << 32 | id + 1`` or 0 where empty; and, while
words are being counted, ``counts``. The fingerprint decides nearly every probe without comparing
the word, and since ids go by frequency the words that are looked at lie together in cache.

Models come from files, so no content of these arrays is trusted: an id is compared with the number
of words and both of its offsets with the size of the text before use, and a probe gives up after
MAX_PROBES slots. A table three quarters full has its longest run of slots below that.

Only words and marks matter here; what a line is and which bytes split words is KenLM's choice:
a line ends at a newline, and NUL, tab, carriage return and space split words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import eight_bytes, prefetch, trailing_zeros
from unrolled.runtime.kernels import cached_kernel, inlined, kernel, no_refcount
from unrolled.text.hashing import MAX_PROBES, MIX, SCANNED, SEED
from unrolled.text.specials import ALL_SKIPPED, ALL_STOP, MARKS_STOP

_SEED = np.uint64(SEED)
_MIX = np.uint64(MIX)
_LOW = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)
_NONE = np.uint64(0)
_ONE = np.uint64(1)
_BYTE = np.uint64(0xFF)
_BLANKS = np.uint64(0x2121212121212121)  # a byte below '!' may split words
_TOPS = np.uint64(0x8080808080808080)


@inlined
def splits(byte: Any) -> Any:
    """Whether a byte ends a word; one comparison is enough for all bytes above the space."""
    return byte <= 32 and (byte == 32 or byte == 10 or byte == 13 or byte == 9 or byte == 0)


@no_refcount
def last_bytes(data: Any, at: Any) -> Any:
    """As window, for fewer than eight bytes: apart, since it is rare and slow to compile inline."""
    bits = _NONE
    for behind in range(data.size - at):
        bits |= np.uint64(data[at + behind]) << np.uint64(8 * behind)
    return bits


@inlined
def window(data: Any, at: Any) -> Any:
    """Eight bytes from ``at`` on as one number, zeros past the end; at must not be negative."""
    if at + 8 <= data.size:
        return eight_bytes(data, at)
    return last_bytes(data, at)


@inlined
def mixed(hashed: Any, bits: Any) -> Any:
    """One step of the hash. The second round carries the last byte into the lowest bits."""
    hashed = (hashed ^ bits) * _MIX
    hashed = (hashed ^ (hashed >> _S32)) * _MIX
    return hashed ^ (hashed >> _S32)


@inlined
def scan(data: Any, at: Any) -> Any:
    """The end and the hash of the word that begins at ``at``, eight bytes at a time."""
    hashed = _SEED
    while True:
        bits = window(data, at)
        # The top bit is set for a byte below '!', and by a borrow perhaps for a '!' above it, so
        # each is checked. The zeros past the end of the data are marked too and split as NUL does.
        marked = (bits - _BLANKS) & ~bits & _TOPS
        while marked != _NONE:
            shift = trailing_zeros(marked) & ~np.uint64(7)
            if splits((bits >> shift) & _BYTE):
                if shift > _NONE:
                    hashed = mixed(hashed, bits & ((_ONE << shift) - _ONE))
                return at + np.int64(shift >> np.uint64(3)), hashed
            marked &= marked - _ONE
        hashed = mixed(hashed, bits)
        at += 8


@inlined
def same(data: Any, start: Any, stop: Any, text: Any, offsets: Any, word: Any) -> Any:
    """Whether ``data[start:stop]`` is the word; the caller checked that word + 1 is an offset."""
    first, size = np.int64(offsets[word]), stop - start
    if np.int64(offsets[word + 1]) - first != size or first + size > text.size:
        return False
    while size >= 8:
        if window(data, start) != window(text, first):
            return False
        start, first, size = start + 8, first + 8, size - 8
    differing = window(data, start) ^ window(text, first)
    return differing & ((_ONE << np.uint64(8 * size)) - _ONE) == _NONE


@inlined
def find(
    data: Any, start: Any, stop: Any, hashed: Any, text: Any, offsets: Any, slots: Any, words: Any
) -> Any:
    """The id of ``data[start:stop]``, or -1 - slot for the free slot where it belongs.

    ``words`` must be below ``offsets.size``, and ``slots`` not empty. Without a free slot in reach
    the answer is -1 - slots.size.
    """
    mask = np.uint64(slots.size - 1)
    place = hashed & mask
    fingerprint = hashed >> _S32
    for _ in range(MAX_PROBES):
        slot = slots[place]
        if slot == _NONE:
            return -1 - np.int64(place)
        if slot >> _S32 == fingerprint:
            word = np.int64(slot & _LOW) - 1
            if 0 <= word < words and same(data, start, stop, text, offsets, word):
                return word
        place = (place + _ONE) & mask
    return -1 - np.int64(slots.size)


@inlined
def recall(recent: Any, hashed: Any, size: Any) -> Any:
    """The id of a recent word, or -1.

    ``recent`` holds pairs (hash, id + 1), or none. Only words of at most eight bytes are in it:
    of those no two share a hash, since every step of it can be undone, so the word itself need
    not be compared. They are nine tokens in ten.
    """
    if size > 8 or recent.size < 2:
        return -1
    pair = np.int64(hashed & np.uint64(recent.size // 2 - 1)) * 2
    if recent[pair] != hashed:
        return -1
    return np.int64(recent[pair + 1]) - 1


@inlined
def remember(recent: Any, hashed: Any, size: Any, word: Any) -> Any:
    """Let ``recall`` find the word, in place of the one that had its pair."""
    if size <= 8 and recent.size >= 2 and word >= 0:
        pair = np.int64(hashed & np.uint64(recent.size // 2 - 1)) * 2
        recent[pair] = hashed
        recent[pair + 1] = np.uint64(word + 1)


@inlined
def scan_batch(data: Any, at: Any, slots: Any, recent: Any, batch: Any, hashes: Any) -> Any:
    """Scan up to a batch of words and line ends (start = stop), asking for their slots early.

    ``batch`` is int64 (3, SCANNED): starts, stops, and the id of a recent word, else -1.
    Looking up a batch after scanning it lets the processor wait for many cache lines at once.
    Returns how many were found and where the scan stopped.
    """
    found = 0
    mask = np.uint64(slots.size - 1)
    while at < data.size and found < SCANNED:
        byte = data[at]
        if splits(byte):
            if byte == 10:
                batch[0, found], batch[1, found] = at, at
                found += 1
            at += 1
            continue
        batch[0, found] = at
        stop, hashed = scan(data, at)
        batch[1, found], hashes[found] = stop, hashed
        word = recall(recent, hashed, stop - at)
        batch[2, found] = word
        if word < 0:
            prefetch(slots, np.int64(hashed & mask))
        at = stop
        found += 1
    return found, at


@cached_kernel
def encode_lines(
    data: Any,
    text: Any,
    offsets: Any,
    slots: Any,
    recent: Any,
    policy: Any,
    marks: Any,
    out: Any,
    batch: Any,
    hashes: Any,
) -> Any:
    """Write the ids of the text to ``out``, with <s> and </s> round each line if ``marks`` is 1.

    ``batch`` and ``hashes`` are for `scan_batch`.

    Returns (ids written, lines, words not in the table, position of the word that stopped it or
    -1, or -2 where ``out`` is too small).
    """
    room, words = out.size - 3, offsets.size - 1
    at, written, lines, unknown, fresh = np.int64(0), 0, 0, 0, True
    while at < data.size:
        found, at = scan_batch(data, at, slots, recent, batch, hashes)
        for token in range(found):
            if written > room:
                return written, lines, unknown, -2
            if fresh and marks != 0:
                out[written] = 1
                written += 1
                fresh = False
            start, stop, word = batch[0, token], batch[1, token], batch[2, token]
            if start == stop:
                if marks != 0:
                    out[written] = 2
                    written += 1
                    lines += 1
                    fresh = True
                continue
            if word < 0 or word >= words:
                word = find(data, start, stop, hashes[token], text, offsets, slots, words)
                remember(recent, hashes[token], stop - start, word)
            if word < 3:
                if word < 0:
                    unknown += 1
                    word = 0
                elif policy == ALL_SKIPPED:
                    continue
                elif policy == ALL_STOP or (policy == MARKS_STOP and word > 0):
                    return written, lines, unknown, start
            out[written] = word
            written += 1
    if marks != 0 and data.size > 0 and data[data.size - 1] != 10:  # the last line had no newline
        if fresh:
            out[written] = 1
            written += 1
        out[written] = 2
        written += 1
        lines += 1
    return written, lines, unknown, -1


@kernel
def count_lines(
    data: Any,
    state: Any,
    text: Any,
    offsets: Any,
    slots: Any,
    counts: Any,
    seen: Any,
    recent: Any,
    policy: Any,
    out: Any,
) -> Any:
    """As encode_lines with marks, but words not yet in the table are added, and all are counted.

    ``state`` is int64 (7,): position in data, ids written, whether a line is begun, lines, words in
    the table, bytes in its text, and the bytes that the next word needs. Returns 0 when the block
    is done; 1 when the table must grow first, to be called again; 2 at a forbidden mark; 3 when
    too many words collide; 4 where the arrays do not fit one another.

    ``seen`` are views of text, offsets and slots that cannot be written: the leaves that read them
    then compile for one type, here and in encode_lines, which halves the time.
    """
    batch, hashes = np.empty((3, SCANNED), np.int64), np.empty(SCANNED, np.uint64)
    seen_text, seen_offsets, seen_slots = seen
    at, written, begun, lines, words, filled = (
        state[0], state[1], state[2], state[3], state[4], state[5],
    )  # fmt: skip
    full = min(offsets.size - 1, counts.size, slots.size // 2)
    if not (0 <= at and 0 <= written and 3 <= words <= full and 0 <= filled <= text.size):
        return 4
    while at < data.size:
        found, at = scan_batch(data, at, seen_slots, recent, batch, hashes)
        for token in range(found):
            start, stop, word = batch[0, token], batch[1, token], batch[2, token]
            code = 0
            if written > out.size - 3:
                code = 4
            elif begun == 0:
                out[written] = 1
                written += 1
                begun = 1
            if code == 0 and start == stop:
                out[written] = 2
                written += 1
                lines += 1
                begun = 0
                continue
            if code == 0 and (word < 0 or word >= words):
                word = find(
                    data, start, stop, hashes[token], seen_text, seen_offsets, seen_slots, words
                )
                remember(recent, hashes[token], stop - start, word)
            if word < 3 and code == 0:
                if word < 0:
                    place = -1 - word
                    if words >= full or filled + stop - start > text.size:
                        state[6] = stop - start
                        code = 1
                    elif place >= slots.size:
                        code = 3
                    else:
                        for source in range(start, stop):
                            text[filled] = data[source]
                            filled += 1
                        word = words
                        words += 1
                        offsets[words] = filled
                        counts[word] = 0
                        slots[place] = (hashes[token] >> _S32 << _S32) | np.uint64(words)
                elif policy == ALL_SKIPPED:
                    continue
                elif policy == ALL_STOP or (policy == MARKS_STOP and word > 0):
                    code = 2
            if code != 0:
                state[0], state[1], state[2], state[3], state[4], state[5] = (
                    start, written, begun, lines, words, filled,
                )  # fmt: skip
                return code
            counts[word] += 1
            out[written] = word
            written += 1
    if data.size > 0 and data[data.size - 1] != 10:  # the last line had no newline
        if written > out.size - 3:
            return 4
        if begun == 0:
            out[written] = 1
            written += 1
        out[written] = 2
        written += 1
        lines += 1
    state[0], state[1], state[2], state[3], state[4], state[5] = (
        at, written, 0, lines, words, filled,
    )  # fmt: skip
    return 0


@cached_kernel
def enter_words(text: Any, offsets: Any, slots: Any, seen: Any) -> Any:
    """As vocabulary.index_words; ``seen`` is a view of ``slots`` that cannot be written."""
    for word in range(offsets.size - 1):
        start, stop = np.int64(offsets[word]), np.int64(offsets[word + 1])
        if start >= stop or stop > text.size:
            return word
        hashed = _SEED
        for at in range(start, stop, 8):
            bits = window(text, at)
            if at + 8 > stop:
                bits &= (_ONE << np.uint64(8 * (stop - at))) - _ONE
            hashed = mixed(hashed, bits)
        place = -1 - find(text, start, stop, hashed, text, offsets, seen, word)
        if place < 0 or place >= slots.size:
            return word
        slots[place] = (hashed >> _S32 << _S32) | np.uint64(word + 1)
    return -1


@kernel
def renumber(ids: Any, mapping: Any, out: Any) -> None:
    """out[i] = mapping[ids[i]]; ``out`` may be ``ids``, which must lie below the mapping's size."""
    for index in range(ids.size):
        out[index] = mapping[ids[index]]


@kernel
def lay_out(text: Any, offsets: Any, order: Any, gap: Any, out: Any, out_offsets: Any) -> Any:
    """Copy words in the given order, each followed by ``gap`` spaces; False if they do not fit."""
    filled = 0
    for rank in range(order.size):
        word = order[rank]
        if word < 0 or word >= offsets.size - 1 or rank >= out_offsets.size - 1:
            return False
        start, stop = np.int64(offsets[word]), np.int64(offsets[word + 1])
        if start > stop or stop > text.size or filled + stop - start + gap > out.size:
            return False
        for at in range(start, stop):
            out[filled] = text[at]
            filled += 1
        for _ in range(gap):
            out[filled] = 32
            filled += 1
        out_offsets[rank + 1] = filled
    return True
