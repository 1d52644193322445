"""Columns in files as tries of some first words each, to be written as lines of a text file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import word_bits
from unrolled.ngram.trie.packing import pack_words
from unrolled.ngram.trie.shape import TrieShape
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.ranges import whole_ranges
from unrolled.storage.columns import Column

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

NODE_BYTES = 40  # of memory for each n-gram of a part, of one length


@dataclass(frozen=True)
class OutputPart:
    """First words whose n-grams are written at once, or a single one's in pieces of second words.

    Attributes:
        words: the range of first words.
        pieces: of about as many second words each.
    """

    words: Words
    pieces: int = 1


def parts_within(files: LevelFiles, room: int) -> list[OutputPart]:
    """Ranges of first words whose tries fit into so many bytes each."""
    most = max(room // (NODE_BYTES * files.order), 1)
    parts = []
    for low, high in whole_ranges(files, most):
        largest = int(files.by_word[:, low:high].sum(axis=1).max())
        parts.append(OutputPart((low, high), -(-largest // most) if high == low + 1 else 1))
    return parts


def part_shapes(
    files: LevelFiles, length: int, parts: list[OutputPart], *, pruned: bool = False
) -> Iterator[tuple[Words, TrieShape]]:
    """The n-grams of one length, a part at a time.

    Args:
        files: columns of counting, and with cut-offs (``pruned``) those that estimation made.
    """
    bits = word_bits(files.by_word.shape[1])
    with ExitStack() as stack:
        opened, lengths = stack.enter_context, range(2, length + 1)
        words = [
            opened((files.kept_words(k) if pruned else files.words(k)).reader()) for k in lengths
        ]
        children = [
            opened((files.kept_children(k) if pruned else files.children(k)).reader())
            for k in range(1 if pruned else 2, length)
        ]
        for part in parts:
            low, high = part.words
            for firsts in _children_of_words(files, children, part, length, pruned):
                sizes, counts = [high - low], [firsts] if length > 1 else []
                last = [np.arange(low, high, dtype=np.int32)]
                readers = iter(children[1:] if pruned else children)
                for place, reader in enumerate(words):
                    if place > 0:
                        counts.append(next(readers).read(sizes[-1]))
                    sizes.append(int(counts[-1].sum(dtype=np.int64)))
                    last.append(reader.read(sizes[-1]))
                ends = np.cumsum(np.concatenate([[high - low], *counts]), dtype=np.int64)
                yield (
                    (low, high),
                    TrieShape(
                        np.cumsum([0, *sizes], dtype=np.int64),
                        pack_words(np.concatenate(last), bits),
                        bits,
                        ends.astype(np.uint32),
                    ),
                )


def _children_of_words(
    files: LevelFiles, children: list[Any], part: OutputPart, length: int, pruned: bool
) -> Iterator[Array]:
    """How many bigrams each first word of a part begins, in each of its pieces."""
    low, high = part.words
    if length == 1:
        yield np.empty(0, np.int64)
        return
    counts = children[0].read(high - low) if pruned else files.by_word[1, low:high]
    if part.pieces == 1:
        yield counts
        return
    for start, stop in even_slices(int(counts[0]), part.pieces):
        yield np.array([stop - start])


def part_tables(
    files: LevelFiles,
    length: int,
    parts: list[OutputPart],
    unigrams: Array,
    *,
    pruned: bool,
    books: Array | None = None,
) -> Iterator[NgramTable]:
    """The estimated n-grams of one length; numbers of shorter ones are left out.

    Args:
        unigrams: (V,) float32 log-probabilities of order 1.
        books: (order - 1, 256) what the codes of rounded numbers stand for.
    """
    inner = length < files.order
    weights_of = files.backoffs if books is None else files.rounded_backoffs
    numbers_of = files.log_probs if books is None else files.codes
    with ExitStack() as stack:
        log_probs: Any = None
        if length > 1:
            log_probs = stack.enter_context(numbers_of(length).reader())
        backoffs: Any = stack.enter_context(weights_of(length).reader()) if inner else None
        for (low, high), shape in part_shapes(files, length, parts, pruned=pruned):
            size, total = shape.size(length), int(shape.levels[-1])
            values, weights = np.zeros((2, total), np.float32)
            numbers = log_probs.read(size) if length > 1 else unigrams[low:high]
            if length > 1 and books is not None:
                numbers = books[length - 2][numbers]
            values[total - size :] = numbers
            if inner:
                weights[total - size :] = backoffs.read(size)
            yield NgramTable(
                shape.levels, shape.words, shape.bits, shape.first, values,
                weights if inner else weights[:0],
            )  # fmt: skip


def table_sizes(files: LevelFiles, *, pruned: bool) -> list[int]:
    """How many n-grams of each length the model has."""
    columns: list[Column] = [
        files.kept_words(length) if pruned else files.words(length)
        for length in range(2, files.order + 1)
    ]
    return [files.by_word.shape[1], *(len(column) for column in columns)]
