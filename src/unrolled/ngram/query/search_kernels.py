"""Steps of a group of searches in the packed trie: from contexts and words to n-grams.

Every step is done for the whole group, asking for the cache line that the next step reads: so the
processor waits for many lines at once. The steps have next to no branches, which it would guess
wrongly: lists are written by storing always and moving on by a truth value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.query.scoring_layout import (
    DUE,
    FOUND,
    GROUP,
    ITEM,
    KEY,
    KIND,
    NODE,
    PLACE,
    RANK,
    RANKED,
    SPAN,
    START,
    STOP,
    WEIGHT,
)
from unrolled.ngram.trie.backoff_kernels import place_of
from unrolled.ngram.trie.integer_kernels import START as FIELDS_START
from unrolled.ngram.trie.link_kernels import find_linked
from unrolled.ngram.trie.trie_kernels import find_child, spread
from unrolled.runtime.intrinsics import (
    at,
    bits_from,
    leading_zeros,
    popcount,
    prefetch,
    put,
    trailing_zeros,
)
from unrolled.runtime.kernels import inlined

WINDOW = 8  # children that are compared at once
ZERO, ONE = np.uint64(0), np.uint64(1)
LOW = np.uint64(0xFFFFFFFF)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
S3, S32, S63 = np.uint64(3), np.uint64(32), np.uint64(63)


@inlined
def word_at(ids: Any, place: Any, size: Any) -> Any:
    """The id at a place of the text; <unk> if it is not in the vocabulary."""
    word = np.int64(at(ids, place))
    return word if (word >= 0) & (word < size) else np.int64(0)


@inlined
def open_contexts(
    ids: Any,
    base: Any,
    start: Any,
    stop: Any,
    k: Any,
    first: Any,
    bits: Any,
    linked: Any,
    directory: Any,
    ends: Any,
    lengths: Any,
    work: Any,
    later: Any,
    lists: Any,
    stride: Any,
    interpolated: Any,
    apart: Any,
) -> Any:
    """Read the directory of listed contexts of k words that have children or a weight.

    If the words after the context's first are an n-gram too, its children will be searched, else
    its weight is due. Returns how many are to be searched, and how many weights are due. In
    interpolated models all weights are due, which `search` lists: the rows of contexts that are not
    to be searched are the last ones of the group, as many as are due.
    """
    searches, due = np.int64(0), np.int64(0)
    for place in range(start, stop):
        i, context = np.int64(at(lists, place)), np.int64(at(lists, place + stride))
        ahead = base + np.int64(at(lists, place + GROUP))
        prefetch(ids, ahead)
        prefetch(lengths, ahead)
        if linked:
            prefetch(lists, 2 * (np.int64(at(lists, place + GROUP)) + stride))
        prefetch(directory, (np.int64(at(lists, place + stride + GROUP)) >> 6) << 2)
        block = min((context >> 6) << 2, directory.size - 4)
        shift = np.uint64(context & 63)
        ones, twos = at(directory, block), at(directory, block + 1)
        firsts, weights = at(directory, block + 2), at(directory, block + 3)
        kind = np.int64(((ones >> shift) & ONE) | (((twos >> shift) & ONE) << ONE))
        below = (ONE << shift) - ONE
        large = ones & twos & below
        # Of the nodes before this one, those after the last whose end is in ends.
        near = below & (ALL << ((ZERO - leading_zeros(large)) & S63))
        rank = np.int64((firsts >> S32) + popcount(large))
        weight = np.int64((weights & LOW) + popcount((ones | twos) & below))
        extends = np.int64(at(lengths, base + i)) == k
        row = searches if extends or not interpolated else GROUP - 1 - due
        put(work, ITEM + row, i)
        key = spread(word_at(ids, base + i, first), bits)
        if linked:
            put(work, SPAN + row, max(np.int64(at(lists, 2 * (i + stride))), np.int64(1)))
            key = np.int64(at(lists, 2 * (i + stride) + 1))
        put(work, KEY + row, key)
        put(work, START + row, np.int64(firsts & LOW))
        put(work, STOP + row, np.int64(popcount(ones & near) + (popcount(twos & near) << ONE)))
        put(work, RANK + row, rank)
        put(work, PLACE + row, np.int64(large != ZERO))
        put(work, KIND + row, kind)
        prefetch(ends, rank)
        if not interpolated:
            weight = place_of(weight, rank, kind == 3, apart)
            put(work, WEIGHT + row, weight)
            put(work, later + DUE + due, i)
            put(work, later + RANKED + due, weight)
        searches += np.int64((kind > 0) & extends)
        due += np.int64((kind > 0) & (not extends))
    return searches, due


@inlined
def open_children(
    words: Any,
    ends: Any,
    first: Any,
    total: Any,
    bits: Any,
    links: Any,
    linked: Any,
    offset: Any,
    begin: Any,
    end: Any,
    work: Any,
) -> None:
    """Bound the children of contexts within [first, total), and guess where the word is."""
    for s in range(begin, end):
        rank, kind, behind = at(work, RANK + s), at(work, KIND + s), at(work, PLACE + s)
        before = np.int64(at(ends, min(rank - 1 if behind > 0 else 0, ends.size - 1)))
        own = np.int64(at(ends, min(rank if kind == 3 else 0, ends.size - 1)))
        start = (before if behind > 0 else at(work, START + s)) + at(work, STOP + s)
        stop = own if kind == 3 else start + kind
        start = max(start, first)  # only a damaged file has words as children
        if stop > total or start > stop:
            start, stop = first, first
        if linked:
            guess = start
            if kind == 3:  # else there is little to divide
                guess += at(work, KEY + s) * (stop - start) // at(work, SPAN + s)
                guess = max(min(guess, stop - 1), start)
            prefetch(links, (guess - offset) >> 6)
        else:
            guess = start + ((at(work, KEY + s) * (stop - start)) >> bits)
            prefetch(words, guess * bits >> 6)
        put(work, START + s, start)
        put(work, STOP + s, stop)
        put(work, PLACE + s, guess)


@inlined
def guess_again(words: Any, bits: Any, mask: Any, searches: Any, work: Any) -> None:
    """Guess from the child that was guessed before, twice: keys are near uniform."""
    for s in range(searches):
        start, stop, guess = at(work, START + s), at(work, STOP + s), at(work, PLACE + s)
        key = at(work, KEY + s)
        for _ in range(2):
            found = np.int64(bits_from(words, guess * bits) & mask)
            guess += ((key - found) * (stop - start)) >> bits
            guess = max(min(guess, stop), start)
        put(work, PLACE + s, guess)
        # Where the window begins and where it ends may be two lines.
        prefetch(words, max(guess - WINDOW // 2, start) * bits >> 6)
        prefetch(words, (guess + WINDOW // 2) * bits >> 6)


@inlined
def open_links(blocks: Any, fields: Any, offset: Any, searches: Any, work: Any) -> None:
    """Ask for the links of the children that were guessed."""
    for s in range(searches):
        block = min(max((at(work, PLACE + s) - offset) >> 6, 0), blocks.size - 1)
        begin = np.int64((at(blocks, block) & FIELDS_START) >> S3)
        prefetch(fields, begin)
        prefetch(fields, begin + 8)  # most blocks are in two cache lines


@inlined
def child_near(
    words: Any, bits: Any, mask: Any, start: Any, stop: Any, guess: Any, key: Any, total: Any
) -> Any:
    """As `find_child`, with all children near the guess compared at once."""
    window = max(min(guess - WINDOW // 2, stop - WINDOW), start)
    if window > total - WINDOW:
        return find_child(words, bits, start, stop, np.int64(key))
    equal, bit = ZERO, window * bits
    above = (bits_from(words, bit) & mask) > key
    for place in range(WINDOW):
        found = bits_from(words, bit) & mask
        equal |= np.uint64(found == key) << np.uint64(place)
        bit += bits
    equal &= (ONE << np.uint64(min(stop - window, WINDOW))) - ONE
    outside = ((window > start) & above) | ((window + WINDOW < stop) & (found < key))
    if (equal == ZERO) & outside:
        return find_child(words, bits, start, stop, np.int64(key))
    return window + np.int64(trailing_zeros(equal)) if equal != ZERO else np.int64(-1)


@inlined
def list_weight(s: Any, due: Any, work: Any, later: Any) -> Any:
    """Note where the weight of a context of an interpolated model is; how many are due."""
    kind = at(work, KIND + s)
    place = at(work, RANK + s) if kind == 3 else at(work, START + s)
    put(work, later + DUE + due, at(work, ITEM + s))
    put(work, later + RANKED + due, (place << 2) | kind)
    return due + 1


@inlined
def search(
    words: Any,
    bits: Any,
    mask: Any,
    links: Any,
    fields: Any,
    linked: Any,
    offset: Any,
    total: Any,
    searches: Any,
    due: Any,
    work: Any,
    later: Any,
    lists: Any,
    stride: Any,
    interpolated: Any,
) -> Any:
    """Find the words among the children; how many were found, and how many weights are due.

    The weight of a context that lacks the word is; in interpolated models, of each context: its
    place in ``weights`` or its first child, and how the directory codes its children.
    """
    found, aside = np.int64(0), due
    if interpolated:
        due = np.int64(0)
    for s in range(searches):
        i, start, stop = at(work, ITEM + s), at(work, START + s), at(work, STOP + s)
        key, guess = at(work, KEY + s), at(work, PLACE + s)
        if linked:
            span = at(work, SPAN + s)
            node = find_linked(links, fields, offset, start, stop, key, span, guess)
        else:
            node = child_near(words, bits, mask, start, stop, guess, np.uint64(key), total)
        if links.size > 0:
            put(lists, 2 * (i + stride), np.uint32(stop - start))
            put(lists, 2 * (i + stride) + 1, np.uint32(node - start))
        put(work, later + FOUND + found, i)
        put(work, later + NODE + found, node)
        found += np.int64(node >= 0)
        if interpolated:
            due = list_weight(s, due, work, later)
        else:
            put(work, later + DUE + due, i)
            put(work, later + RANKED + due, at(work, WEIGHT + s))
            due += np.int64(node < 0)
    if interpolated:
        for s in range(GROUP - aside, GROUP):
            due = list_weight(s, due, work, later)
    return found, due
