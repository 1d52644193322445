"""The n-grams of a trie as lines of a text file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from unrolled.ngram.trie.shape import TrieShape
from unrolled.runtime.threads import one_ahead

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 4 << 20


def write_lines(
    file: BinaryIO,
    shape: TrieShape,
    length: int,
    format_lines: Callable[[Array, Array], tuple[int, int]],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a line for every n-gram of ``length`` words; a block is made while one is written.

    Args:
        format_lines: called with path, the nodes of the first 1 to ``length`` words of the next
            n-gram, and a buffer; writes as many lines as fit, moves path on, and returns the bytes
            written and those that the next line needs, 0 at the end.
        progress: called with the number of n-grams of this order and the shorter ones written.
    """
    for lines, written in one_ahead(_blocks(shape, length, format_lines)):
        file.write(lines)
        if progress is not None:
            progress(written)


def _blocks(
    shape: TrieShape, length: int, format_lines: Callable[[Array, Array], tuple[int, int]]
) -> Iterator[tuple[memoryview, int]]:
    path, stop, size = shape.first_path(length), shape.level(length).stop, BLOCK_BYTES
    while path[-1] < stop:
        out = np.empty(size, np.uint8)  # a new one, as the last may still be being written
        filled, room = format_lines(path, out)
        size = max(size, room)
        if filled:
            yield out[:filled].data, int(path[-1])
