"""Integers in as few bits as they need: wrappers that own sizes and threads; `integer_kernels`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unrolled.runtime.threads import run_slices
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]

CHUNK = 1 << 18  # integers stored at once; each chunk's bits begin a new element
SPARE = np.zeros(4, np.uint64)  # that are read with the last integers


def store_integers(
    count: int, values_of: Callable[[int, int], Array], *, threads: int = 1
) -> tuple[Array, Array]:
    """Store integers 0 to ``count``; ``values_of(start, stop)`` gives a range as int64.

    Returns:
        ``blocks`` and ``fields`` as `integer_kernels` describes them, read-only.
    """

    def store(start: int) -> tuple[Array, Array]:
        return stored_chunk(values_of(start, min(start + CHUNK, count)))

    pieces = run_slices(store, [(start,) for start in range(0, count, CHUNK)], threads)
    sizes = np.cumsum([0, *(fields.size for _, fields in pieces)])
    for (blocks, _), before in zip(pieces, sizes[:-1].tolist(), strict=True):
        move(blocks, before)
    empty = np.empty(0, np.uint64)
    blocks = np.concatenate([empty, *(blocks for blocks, _ in pieces)])
    fields = np.concatenate([*(fields for _, fields in pieces), SPARE])
    return readonly(blocks), readonly(fields)


def stored_chunk(values: Array) -> tuple[Array, Array]:
    """Blocks and fields of a chunk (N,) int64, whose bits are counted from its own begin on."""
    from unrolled.ngram.trie import integer_kernels as kernels

    blocks = np.zeros(-(-values.size // kernels.BLOCK), np.uint64)
    fields = np.zeros(blocks.size * kernels.MOST_BLOCK + 2, np.uint64)
    return blocks, fields[: kernels.store_integers(values, blocks, fields)].copy()


def move(blocks: Array, elements: int) -> None:
    """Count a chunk's bits from an array's begin on in which so many elements come before it."""
    blocks += np.uint64(8 * elements)
