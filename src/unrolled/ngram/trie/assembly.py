"""Put n-grams that come in any order (ARPA files, count files, mixtures) into the trie's order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie import assembly_kernels as kernels
from unrolled.ngram.trie.layout import NONE, word_bits
from unrolled.ngram.trie.packing import pack_words
from unrolled.ngram.trie.shape import CHUNKS, TrieShape
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, run_slices

Array = np.ndarray[Any, Any]

SERIAL = 100_000  # rows that one thread indexes
MOST_ADDED = 100_000  # or as many as are given: one 100-gram alone has 4,850 shorter ones inside it


@dataclass
class Arrangement(TrieShape):
    """The numbering of a set of n-grams, and where each given n-gram went.

    Attributes:
        sources: for order k at k - 1, (G_k,) integers: the row of the given n-grams that node
            ``levels[k - 1] + i`` is, -1 for an n-gram that was added because a longer one needs it
            as context or suffix.
        places: for order k at k - 1, made for ``merge``: i of each row given or added.
    """

    sources: list[Array]
    places: list[Array]


def arrange(
    grams: list[Array], vocabulary_size: int, *, merge: bool = False, threads: int = 2
) -> Arrangement:
    """Number n-grams as a trie, adding the contexts and suffixes that are missing.

    Args:
        grams: for each order k from 2, (G_k, k) int32 word ids, oldest first, in any order.
            Order 1 is the whole vocabulary and is not given.
        vocabulary_size: V.
        merge: an n-gram may be given several times; its source is the first.

    Raises:
        FormatError: without ``merge``, an n-gram is given twice; or so many contexts and suffixes
            are missing that this is no model, and adding them could fill the memory.
    """
    given = [rows.shape[0] for rows in grams]
    # Counts of the highest order alone are complete, models are not.
    added, most = 0, max(sum(given) * (16 if merge else 1), MOST_ADDED)
    while True:
        shape, missing = _number(grams, vocabulary_size, given, merge=merge, threads=threads)
        if not missing:
            return shape
        for length, rows in missing.items():
            added += rows.shape[0]
            if added > most:
                raise FormatError(
                    f"n-grams lack so many contexts and suffixes, more than {most}, that parts of "
                    "the model must be missing"
                )
            grams[length - 2] = np.concatenate([grams[length - 2], rows])


def _number(
    grams: list[Array], vocabulary_size: int, given: list[int], *, merge: bool, threads: int
) -> tuple[Arrangement, dict[int, Array]]:
    """Number the n-grams; if an order lacks contexts or suffixes, return those that are missing."""
    bits = word_bits(vocabulary_size)
    words = [np.arange(vocabulary_size, dtype=np.int32)]
    # Its last entry is one past the children of all orders so far.
    first: list[Array] = [np.array([vocabulary_size], np.uint32)]
    levels = [0, vocabulary_size]
    sources: list[Array] = [np.arange(vocabulary_size)]
    landed: list[Array] = [np.arange(vocabulary_size)]
    table: _Table | None = None  # of the order above
    for length, rows in enumerate(grams, 2):
        rows = np.ascontiguousarray(rows)
        if table is None:
            parents = rows[:, 0].astype(np.uint32)
        else:
            parents, absent = table.find(rows)
            if absent.size:
                shape = _shape(levels, words, bits, first, sources, landed, threads)
                return shape, {length - 1: _distinct(absent)}
        placed = _Placed(parents, rows, bits, (levels[-2], levels[-1]), threads)
        places = placed.places
        if placed.equal and not merge:
            ids = rows[places[np.argmin(placed.fresh)]].tolist()
            raise FormatError(f"an n-gram of {length} words is given twice (word ids {ids})")
        if merge:
            landed.append(placed.nodes.astype(np.int64) - levels[-1])
        if placed.equal:
            places = places[placed.fresh]
        words.append(_last_words(rows, threads))
        if not placed.sorted:
            given_order, words[-1] = words[-1], np.empty(places.size, np.int32)
            _take(given_order, places, words[-1], threads)
        first[-1] = placed.starts[:-1] + np.uint32(levels[-1])
        if length <= len(grams):
            table = _Table(rows, placed.nodes, threads)
        levels.append(levels[-1] + places.size)
        first.append(np.array([levels[-1]], np.uint32))
        if rows.shape[0] > given[length - 2]:
            places = np.where(places < given[length - 2], places.astype(np.int64), -1)
        sources.append(places)
    return _shape(levels, words, bits, first, sources, landed, threads), {}


class _Table:
    """The n-grams of one order, to be found by their words.

    Args:
        rows: (N, k) int32 words. nodes: (N,) uint32.
    """

    def __init__(self, rows: Array, nodes: Array, threads: int) -> None:
        parts = threads if rows.shape[0] >= SERIAL else 1
        size = 1 << max(3 * rows.shape[0] // (2 * parts), 1).bit_length()
        self._threads, self._rows, self._nodes = threads, rows, nodes
        self._slots = np.zeros((parts, size), np.uint64)
        # No input can anticipate the factor, so that none makes many rows collide.
        self._factor = int(np.random.default_rng().integers(2**62)) | 1
        work = [(rows, self._factor, part, self._slots) for part in range(parts)]
        run_slices(kernels.index_rows, work, threads)

    def find(self, rows: Array) -> tuple[Array, Array]:
        """The node of the context of every row (N, k + 1); and contexts and suffixes not there."""
        contexts = np.empty(rows.shape[0], np.uint32)
        lost = self._find(rows, 0, contexts)
        if not lost + self._find(rows, 1, contexts[:0]):
            return contexts, np.empty((0, rows.shape[1] - 1), np.int32)
        suffixes = np.empty_like(contexts)
        self._find(rows, 1, suffixes)
        absent = [rows[contexts == NONE, :-1], rows[suffixes == NONE, 1:]]
        return contexts, np.concatenate(absent)

    def _find(self, rows: Array, offset: int, nodes: Array) -> int:
        shared = self._factor, self._slots, self._rows, self._nodes, nodes
        work = [(rows, offset, *cut, *shared) for cut in _cuts(rows)]
        return sum(run_slices(kernels.find_rows, work, self._threads))


class _Placed:
    """The rows of one order in the order of the trie; files are often sorted already.

    Attributes:
        starts: (P + 1,) uint32, how many children the parents before each have, equal ones
            counted once.
        places: (N,) uint32, the rows in their order.
        nodes: (N,) uint32, the node of each row.
        fresh: (N,) bool, whether each of ``places`` differs from the one before; equal: how many
            do not.
        sorted: whether the rows have the trie's order, and none comes twice.

    Args:
        parents: (N,) uint32, the node of each row's context.
        level: the first of the nodes that may be parents, and one past the last of them, which
            is the first of the rows.
    """

    def __init__(
        self, parents: Array, rows: Array, bits: int, level: tuple[int, int], threads: int
    ) -> None:
        (base, stop), size = level, parents.size
        self.starts = np.zeros(stop - base + 1, np.uint32)
        ranges = even_slices(stop - base, threads if size >= SERIAL else 1)
        counts = [(parents, base, *own, self.starts[1:]) for own in ranges]
        run_slices(kernels.count_children, counts, threads)
        np.cumsum(self.starts, out=self.starts)
        self.equal = 0
        self.sorted = all(
            run_slices(kernels.ascend, [(parents, rows, bits, *c) for c in _cuts(rows)], threads)
        )
        if self.sorted:
            self.places, self.fresh = np.arange(size, dtype=np.uint32), np.ones(size, bool)
            self.nodes = np.arange(stop, stop + size, dtype=np.uint32)
            return
        self.places, self.nodes = np.empty(size, np.uint32), np.empty(size, np.uint32)
        self.fresh = np.empty(size, bool)
        shares = np.linspace(0, size, threads + 1)[1:-1].astype(np.uint32)
        cuts = np.searchsorted(self.starts, shares)
        borders = np.unique(np.concatenate([[0], cuts, [stop - base]]))
        shared = self.places, self.nodes, self.fresh
        work = [
            (parents, base, rows, bits, self.starts, *own, *shared) for own in pairwise(borders)
        ]
        self.equal = sum(run_slices(kernels.arrange_rows, work, threads))
        if self.equal:
            again = parents[self.places[~self.fresh]].astype(np.int64) - base
            twice = np.bincount(again, minlength=stop - base)
            self.starts[1:] -= np.cumsum(twice).astype(np.uint32)
            ranks = np.cumsum(self.fresh, dtype=np.uint32) - np.uint32(1)
            self.nodes[self.places] = ranks + np.uint32(stop)


def _last_words(rows: Array, threads: int) -> Array:
    """The last column of rows, contiguous."""
    last = np.empty(rows.shape[0], rows.dtype)
    run_slices(
        lambda low, high: np.copyto(last[low:high], rows[low:high, -1]), _cuts(rows), threads
    )
    return last


def _take(values: Array, places: Array, out: Array, threads: int) -> None:
    """out[:] = values[places], of four bytes each, on all threads."""
    bits = np.asarray(values, out.dtype).view(np.int32), places, out.view(np.int32)
    run_slices(kernels.take, [(*bits, *cut) for cut in even_slices(places.size, CHUNKS)], threads)


def _distinct(rows: Array) -> Array:
    """Each row of (N, k) once, in any order.

    By hashes, ten times as fast as by rows. Of two rows with one hash one is lost, but the next
    round finds it missing again and draws other factors, which no input can anticipate.
    """
    factors = np.random.default_rng().integers(2**63, size=rows.shape[1], dtype=np.uint64)
    hashes = np.zeros(rows.shape[0], np.uint64)
    for column, factor in zip(rows.T, factors, strict=True):
        hashes += column.astype(np.uint64) * (factor | np.uint64(1))
    return rows[np.unique(hashes, return_index=True)[1]]


def _shape(
    levels: list[int],
    words: list[Array],
    bits: int,
    first: list[Array],
    sources: list[Array],
    places: list[Array],
    threads: int,
) -> Arrangement:
    packed = pack_words(np.concatenate(words), bits, threads)
    return Arrangement(
        np.array(levels, np.int64), packed, bits, np.concatenate(first), sources, places
    )


def _cuts(rows: Array) -> list[tuple[int, int]]:
    """Slices of rows for threads; few rows are not worth a thread."""
    return even_slices(rows.shape[0], min(CHUNKS, 1 + rows.shape[0] // 10_000))


def assemble(
    unigrams: tuple[Array, Array],
    longer: list[tuple[Array, Array, Array | None]],
    *,
    threads: int = 2,
) -> NgramTable:
    """A model's table from n-grams in any order.

    An n-gram that has to be added gets the probability that backing off gives it and the weight
    one, so that the distribution stays the same.

    Args:
        unigrams: (V,) log-probabilities and (V,) log back-off weights, by word id.
        longer: for each order k from 2: (G_k, k) int32 ids, (G_k,) log-probabilities, and
            (G_k,) log back-off weights or None.

    Raises:
        FormatError: an n-gram is given twice.
    """
    shape = arrange([rows for rows, _, _ in longer], unigrams[0].size, threads=threads)
    log_probs = np.zeros(int(shape.levels[-1]), np.float32)
    backoffs = np.zeros(shape.inner, np.float32)
    for length, (values, weights) in enumerate([unigrams, *((p, b) for _, p, b in longer)], 1):
        here, source = shape.level(length), shape.sources[length - 1]
        pairs = [(values, log_probs[here])]
        if weights is not None and length < shape.order:
            pairs.append((weights, backoffs[here]))
        for given, target in pairs:
            if source.size == given.size:
                _take(given, source, target, threads)
            else:
                known = source >= 0
                target[known] = given[source[known]]
    table = NgramTable(shape.levels, shape.words, shape.bits, shape.first, log_probs, backoffs)
    _fill_added(table, shape.sources)
    return table


def _fill_added(table: NgramTable, sources: list[Array]) -> None:
    """Backed-off probabilities for the n-grams that `arrange` added, shorter ones first."""
    if all(np.all(source >= 0) for source in sources):
        return
    suffixes = table.link_suffixes()
    for length in range(2, table.order + 1):
        added = np.flatnonzero(sources[length - 1] < 0)
        nodes = added + table.level(length).start
        parents = table.parents(length)[added]
        table.log_probs[nodes] = table.backoffs[parents] + table.log_probs[suffixes[nodes]]
