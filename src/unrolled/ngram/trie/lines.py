"""The n-grams of a trie as lines of a text file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from unrolled.ngram.trie.shape import TrieShape
from unrolled.runtime.threads import run_ahead, usable_cores

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 2 << 20
BLOCK_NGRAMS = 1 << 15


def write_lines(
    file: BinaryIO,
    shape: TrieShape,
    length: int,
    format_lines: Callable[[Array, int, Array], tuple[int, int]],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a line for every n-gram of ``length`` words; threads make blocks of them.

    Args:
        format_lines: called with path, the nodes of the first 1 to ``length`` words of the next
            n-gram, the node to stop at, and a buffer; writes as many lines as fit, moves path on,
            and returns the bytes written and those that the next line needs, 0 at the end.
        progress: called with the number of n-grams of this order and the shorter ones written.
    """
    here = shape.level(length)

    def block(start: int) -> tuple[list[memoryview], int]:
        path, stop = shape.path_to(length, start), min(start + BLOCK_NGRAMS, here.stop)
        parts, size = [], BLOCK_BYTES
        while path[-1] < stop:
            out = np.empty(size, np.uint8)
            filled, room = format_lines(path, stop, out)
            size = max(size, room)
            if filled:
                parts.append(out[:filled].data)
        return parts, stop

    starts = range(here.start, here.stop, BLOCK_NGRAMS)
    for parts, written in run_ahead(block, starts, usable_cores()):
        for part in parts:
            file.write(part)
        if progress is not None:
            progress(written)
