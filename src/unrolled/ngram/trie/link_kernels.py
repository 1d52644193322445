"""Kernels of n-grams whose last words are stored by the shorter n-grams that they end in.

If h w is an n-gram and h' is h without its first word, then h' w is one too: w is among the
children of h', in the same order. So of an n-gram of three words or more it is enough to know which
child of h' it ends in, a small number wherever h' has few children (Pibiri and Venturini 2019 remap
words likewise, by their last one or two words of context). These places are stored as integers, see
`integer_kernels`: ``link_blocks`` and ``link_fields``, from the first node of three words on.

Whoever looks h w up has looked h' w up before, so the place is known without further reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.integer_kernels import integer
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import kernel, no_refcount

Array = np.ndarray[Any, Any]

AHEAD = 32  # contexts whose suffixes' children are asked for early


@no_refcount
def find_linked(
    blocks: Any, fields: Any, offset: Any, start: Any, stop: Any, place: Any, span: Any, guess: Any
) -> Any:
    """Node in [start, stop) whose place among the ``span`` children of its suffix's context is
    ``place``, or -1; places ascend.

    ``offset`` is the first node of three words. ``guess`` lies in [start, stop) if that is not
    empty.
    """
    size, stride = stop - start, np.int64(0)
    if size == span:  # the context has all children that its suffix has
        return start + place if place < size else np.int64(-1)
    while stop - start > 4:
        found = integer(blocks, fields, guess - offset)
        if found == place:
            return guess
        step = (place - found) * size // span
        if stride != 0:
            step = stride if found < place else -stride
        stride = 4 + 2 * stride
        if found < place:
            start = guess + 1
            guess += max(step, 1)
        else:
            stop = guess
            guess += min(step, -1)
        if guess < start or guess >= stop:
            guess = (start + stop) >> 1
    for node in range(start, stop):
        found = integer(blocks, fields, node - offset)
        if found >= place:
            return node if found == place else np.int64(-1)
    return np.int64(-1)


@kernel
def link_places(first: Array, suffixes: Array, context: int, start: int, places: Array) -> None:
    """Places of nodes start, start + 1, ...; the first is a child of ``context``."""
    stop = start + places.size
    node: Any = start
    while node < stop:
        end = min(np.int64(first[context + 1]), stop)
        if context + AHEAD < suffixes.size:
            prefetch(first, np.int64(suffixes[context + AHEAD]))
        before = np.int64(first[suffixes[context]])
        while node < end:
            places[node - start] = np.int64(suffixes[node]) - before
            node += 1
        context += 1


@kernel
def follow_links(
    first: Array,
    start: int,
    stop: int,
    blocks: Array,
    fields: Array,
    offset: int,
    suffixes: Array,
) -> int:
    """Suffixes of the children of contexts ``start`` to ``stop``, whose own are known.

    Returns how many places are not there in a damaged file; their suffix is the context's.
    """
    missing = 0
    for context in range(start, stop):
        suffix = np.int64(suffixes[context])
        low, high = np.int64(first[suffix]), np.int64(first[suffix + 1])
        if context + AHEAD < stop:
            prefetch(first, np.int64(suffixes[context + AHEAD]))
        for node in range(np.int64(first[context]), np.int64(first[context + 1])):
            own = low + integer(blocks, fields, node - offset)
            if own < low or own >= high:
                missing += 1
                own = suffix
            suffixes[node] = own
    return missing
