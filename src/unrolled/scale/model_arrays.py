"""The arrays of a packed trie from columns in files, chunk by chunk, as `write_model` takes it.

They are the bytes that `pack` makes in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from unrolled.ngram.trie import trie_kernels as kernels
from unrolled.ngram.trie.backoffs import BackoffBook, large_ones
from unrolled.ngram.trie.integers import CHUNK as STORED
from unrolled.ngram.trie.integers import SPARE, move, stored_chunk
from unrolled.ngram.trie.layout import BLOCK, CODES, word_bits
from unrolled.ngram.trie.packing import pack_fields, packed_chunks, regrouped
from unrolled.runtime.threads import one_ahead
from unrolled.scale.interpolated import InterpolatedBooks
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.rounding import Books
from unrolled.storage.columns import Column

Array = np.ndarray[Any, Any]
Source = Array | Iterable[Array]
AnyBooks = Books | InterpolatedBooks


def trie_arrays(
    files: LevelFiles, unigrams: Array, *, pruned: bool, threads: int, books: AnyBooks | None = None
) -> dict[str, Source]:
    """The arrays of a model by name, made as they are read, in their order.

    Args:
        files: columns that estimation has completed.
        unigrams: (V,) float32 log-probabilities of order 1.
        pruned: whether there were cut-offs.
        books: what the numbers were rounded to, if they were.
    """
    order, size = files.order, unigrams.size
    lengths = range(2, order + 1)
    columns = [files.kept_words(k) if pruned else files.words(k) for k in lengths]
    levels = np.cumsum([0, size, *(len(column) for column in columns)], dtype=np.int64)
    stored = columns if books is None else columns[:1]  # the others are links
    all_words = chain([np.arange(size, dtype=np.int32)], _end_to_end(stored))
    ends = Column(files.folder / "ends", np.uint32)
    weights = Column(files.folder / "weights", np.float32), Column(files.folder / "apart", np.bool_)
    interpolated = isinstance(books, InterpolatedBooks)
    own_weights = files.backoffs if books is None else files.rounded_backoffs
    contexts = _contexts(files, pruned, None if interpolated else own_weights)
    return {
        "levels": levels,
        "words": one_ahead(packed_chunks(all_words, word_bits(size), threads=threads)),
        "directory": one_ahead(_directory(size, contexts, ends, *weights)),
        "ends": _never_empty(ends),
        "unigrams": unigrams,
        **({} if books is None else _links(files, levels)),
        **_numbers(files, books, weights, threads),
    }


def _numbers(
    files: LevelFiles, books: AnyBooks | None, weights: tuple[Column, Column], threads: int
) -> dict[str, Source]:
    """The arrays of log-probabilities and back-off weights."""
    if not isinstance(books, InterpolatedBooks):
        return {**_log_probs(files, books), **_backoffs(weights, threads)}
    own_weights = _end_to_end([files.weights(k) for k in range(1, files.order)])
    return {
        "codes": _codes(files, books.bits.tolist(), threads),
        "code_bits": books.bits,
        "log_prob_book": books.values,
        "weights": _or_empty(own_weights, np.uint16),
    }


def _codes(files: LevelFiles, bits: list[int], threads: int) -> Iterator[Array]:
    """Codes as bit fields, each length from a new element on; one spare element at the end."""
    for length, width in enumerate(bits, 2):
        codes = ((own,) for own in files.codes(length).chunks())
        for (chunk,) in regrouped(codes, 64):
            yield pack_fields(chunk, width, threads=threads)[:-1]
    yield np.zeros(1, np.uint64)


def _log_probs(files: LevelFiles, books: Books | None) -> dict[str, Source]:
    """The arrays of the log-probabilities."""
    lengths = range(2, files.order + 1)
    if books is None:
        numbers = _end_to_end([files.log_probs(k) for k in lengths])
        return {"log_probs": one_ahead(_or_empty(numbers, np.float32))}
    codes = _end_to_end([files.codes(k) for k in lengths])
    values = np.array([book for book, _ in books.log_probs], np.float32).reshape(-1, CODES)
    return {"log_probs": one_ahead(_or_empty(codes, np.uint8)), "log_prob_book": values}


def _links(files: LevelFiles, levels: Array) -> dict[str, Source]:
    """The arrays of the links, if there are n-grams of three words or more."""
    if levels[-1] == levels[min(2, files.order)]:
        return {}
    fields = Column(files.folder / "link_fields", np.uint64)
    return {"link_blocks": _link_blocks(files, fields), "link_fields": _never_empty(fields)}


def _link_blocks(files: LevelFiles, fields: Column) -> Iterator[Array]:
    """Links as `store_integers` stores them, by blocks; their bits are written on the way."""
    places, before = _end_to_end([files.links(k) for k in range(3, files.order + 1)]), 0
    with fields.writer() as writer:
        for (chunk,) in regrouped(((own.astype(np.int64),) for own in places), STORED):
            for start in range(0, chunk.size, STORED):
                blocks, own = stored_chunk(chunk[start : start + STORED])
                move(blocks, before)
                before += own.size
                writer.append(own)
                yield blocks
        writer.append(SPARE)


def _backoffs(weights: tuple[Column, Column], threads: int) -> dict[str, Source]:
    """The arrays of the back-off weights, which are in columns once the directory is made."""
    books: list[BackoffBook] = []
    return {
        "backoffs": _coded(weights, books, threads),
        "backoff_book": (book.values for book in books),
        "large_backoffs": _or_empty(_large(weights, books), np.float32),
    }


def _coded(
    weights: tuple[Column, Column], books: list[BackoffBook], threads: int
) -> Iterator[Array]:
    """Weights as `store_backoffs` stores them; their book is put in a list on the way."""
    book = BackoffBook(_in_step(*weights), threads=threads)
    books.append(book)
    if book.values.size:
        codes = (book.codes(chunk, book.coded(apart)) for chunk, apart in _in_step(*weights))
        yield from packed_chunks(codes, book.bits, pack_fields, threads=threads)
    else:
        yield from _never_empty(weights[0])


def _large(weights: tuple[Column, Column], books: list[BackoffBook]) -> Iterator[Array]:
    if books[0].apart:
        for chunk, apart in _in_step(*weights):
            yield chunk[apart]


def _in_step(weights: Column, apart: Column) -> Iterator[tuple[Array, Array]]:
    with apart.reader() as reader:
        for chunk in weights.chunks():
            yield chunk, reader.read(chunk.size)


def _end_to_end(columns: Iterable[Column]) -> Iterator[Array]:
    for column in columns:
        yield from column.chunks()


def _or_empty(chunks: Iterable[Array], dtype: Any) -> Iterator[Array]:
    """Chunks, or an empty one if there is none."""
    yield np.empty(0, dtype)
    yield from chunks


def _never_empty(column: Column) -> Iterator[Array]:
    yield from _or_empty(column.chunks(), column.dtype)


def _directory(
    first: int,
    contexts: Iterator[tuple[Array, Array]],
    ends: Column,
    backoffs: Column,
    apart: Column,
) -> Iterator[Array]:
    """The directory; ``ends``, ``backoffs`` and ``apart`` are written on the way.

    Args:
        first: node of the first context's first n-gram. contexts: see `_contexts`.
    """
    large, marked = 0, 0
    yield np.empty(0, np.uint64)
    with ends.writer() as to_ends, backoffs.writer() as to_backoffs, apart.writer() as to_apart:
        for children, weights in regrouped(contexts, BLOCK):
            firsts = np.empty(children.size + 1, np.uint32)
            firsts[0] = first
            firsts[1:] = first + np.cumsum(children, dtype=np.int64)
            more_large, more_marked = kernels.count_large(firsts, weights)
            directory = np.zeros(4 * -(-children.size // BLOCK), np.uint64)
            own_ends, kept = np.zeros(more_large, np.uint32), np.zeros(more_marked, np.float32)
            kernels.build_directory(firsts, weights, directory, own_ends, kept)
            directory[2::4] += np.uint64(large << 32)
            directory[3::4] += np.uint64(marked)
            to_ends.append(own_ends)
            to_backoffs.append(kept)
            to_apart.append(large_ones(directory, more_marked))
            yield directory
            first, large, marked = int(firsts[-1]), large + more_large, marked + more_marked


def _contexts(
    files: LevelFiles, pruned: bool, weights: Callable[[int], Column] | None
) -> Iterator[tuple[Array, Array]]:
    """Children and back-off weight of every node of orders below the highest; 0 for None."""
    for length in range(1, files.order):
        if weights is None:
            for children in files.children_chunks(length, pruned=pruned):
                yield children, np.zeros(children.size, np.float32)
            continue
        with weights(length).reader() as reader:
            for children in files.children_chunks(length, pruned=pruned):
                yield children, reader.read(children.size)
