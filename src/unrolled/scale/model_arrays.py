"""The arrays of a packed trie from columns in files, chunk by chunk, as `write_model` takes it.

They are the bytes that `pack` makes in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Any

import numpy as np

from unrolled.ngram.trie import trie_kernels as kernels
from unrolled.ngram.trie.backoffs import BackoffBook
from unrolled.ngram.trie.layout import BLOCK, word_bits
from unrolled.ngram.trie.packing import pack_fields, pack_words
from unrolled.runtime.threads import one_ahead
from unrolled.scale.level_files import LevelFiles
from unrolled.storage.columns import CHUNK, Column

Array = np.ndarray[Any, Any]
Source = Array | Iterable[Array]


def trie_arrays(
    files: LevelFiles, unigrams: Array, *, pruned: bool, threads: int
) -> dict[str, Source]:
    """The arrays of a model by name, made as they are read, in their order.

    Args:
        files: columns that estimation has completed.
        unigrams: (V,) float32 log-probabilities of order 1.
        pruned: whether there were cut-offs.
    """
    order, size = files.order, unigrams.size
    lengths = range(2, order + 1)
    columns = [files.kept_words(k) if pruned else files.words(k) for k in lengths]
    levels = np.cumsum([0, size, *(len(column) for column in columns)], dtype=np.int64)
    all_words = chain([np.arange(size, dtype=np.int32)], _end_to_end(columns))
    ends = Column(files.folder / "ends", np.uint32)
    backoffs = Column(files.folder / "weights", np.float32)
    return {
        "levels": levels,
        "words": one_ahead(_packed(all_words, word_bits(size), threads)),
        "directory": one_ahead(_directory(files, pruned, ends, backoffs)),
        "ends": _never_empty(ends),
        "unigrams": unigrams,
        "log_probs": one_ahead(
            _or_empty(_end_to_end([files.log_probs(k) for k in lengths]), np.float32)
        ),
        **_backoffs(backoffs, threads),
    }


def _backoffs(weights: Column, threads: int) -> dict[str, Source]:
    """The arrays of the back-off weights, which are in a column once the directory is made."""
    books: list[Array] = []
    return {
        "backoffs": _coded(weights, books, threads),
        "backoff_book": _or_empty(books, np.float32),
    }


def _coded(weights: Column, books: list[Array], threads: int) -> Iterator[Array]:
    """Weights as `store_backoffs` stores them; their book is put in a list on the way."""
    book = BackoffBook(weights.chunks())
    books.append(book.values)
    if book.values.size:
        codes = (book.codes(chunk) for chunk in weights.chunks())
        yield from _packed(codes, book.bits, threads, pack_fields)
    else:
        yield from _never_empty(weights)


def _end_to_end(columns: Iterable[Column]) -> Iterator[Array]:
    for column in columns:
        yield from column.chunks()


def _or_empty(chunks: Iterable[Array], dtype: Any) -> Iterator[Array]:
    """Chunks, or an empty one if there is none."""
    yield np.empty(0, dtype)
    yield from chunks


def _never_empty(column: Column) -> Iterator[Array]:
    yield from _or_empty(column.chunks(), column.dtype)


def _regrouped(chunks: Iterable[tuple[Array, ...]], multiple: int) -> Iterator[tuple[Array, ...]]:
    """The same rows in chunks whose sizes, but the last one's, are a multiple."""
    held: tuple[Array, ...] = ()
    for chunk in chunks:
        if held:
            chunk = tuple(np.concatenate(pair) for pair in zip(held, chunk, strict=True))
        whole = chunk[0].size - chunk[0].size % multiple
        if whole:
            yield tuple(column[:whole] for column in chunk)
        held = tuple(column[whole:] for column in chunk)
    if held and held[0].size:
        yield held


def _packed(
    numbers: Iterable[Array], bits: int, threads: int, pack: Callable[..., Array] = pack_words
) -> Iterator[Array]:
    """Words, or other numbers, as bit fields; one spare element at the end."""
    spare = np.zeros(1, np.uint64)
    for (chunk,) in _regrouped(((own,) for own in numbers), 64):
        packed = pack(chunk, bits, threads=threads)
        yield packed[:-1]
        spare = packed[-1:]
    yield spare


def _directory(files: LevelFiles, pruned: bool, ends: Column, backoffs: Column) -> Iterator[Array]:
    """The directory; ``ends`` and ``backoffs`` are written on the way."""
    first, large, marked = files.by_word.shape[1], 0, 0
    yield np.empty(0, np.uint64)
    with ends.writer() as ends_writer, backoffs.writer() as backoffs_writer:
        for children, weights in _regrouped(_contexts(files, pruned), BLOCK):
            firsts = np.empty(children.size + 1, np.uint32)
            firsts[0] = first
            firsts[1:] = first + np.cumsum(children, dtype=np.int64)
            more_large, more_marked = kernels.count_large(firsts, weights)
            directory = np.zeros(4 * -(-children.size // BLOCK), np.uint64)
            own_ends, kept = np.zeros(more_large, np.uint32), np.zeros(more_marked, np.float32)
            kernels.build_directory(firsts, weights, directory, own_ends, kept)
            directory[2::4] += np.uint64(large << 32)
            directory[3::4] += np.uint64(marked)
            ends_writer.append(own_ends)
            backoffs_writer.append(kept)
            yield directory
            first, large, marked = int(firsts[-1]), large + more_large, marked + more_marked


def _contexts(files: LevelFiles, pruned: bool) -> Iterator[tuple[Array, Array]]:
    """Children and back-off weight of every node of orders below the highest."""
    for length in range(1, files.order):
        backoffs = files.backoffs(length)
        with ExitStack() as stack:
            weights = stack.enter_context(backoffs.reader())
            left = len(backoffs)
            if length == 1 and not pruned:
                yield files.by_word[1].astype(np.uint32), weights.read(left)
                continue
            column = files.kept_children(length) if pruned else files.children(length)
            children = stack.enter_context(column.reader())
            while left:
                count = min(left, CHUNK)
                yield children.read(count), weights.read(count)
                left -= count
