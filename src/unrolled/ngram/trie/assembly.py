"""Put n-grams that come in any order (ARPA files, count files, mixtures) into the trie's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie import editing_kernels as kernels
from unrolled.ngram.trie.layout import NONE, word_bits
from unrolled.ngram.trie.packing import pack_words
from unrolled.ngram.trie.shape import CHUNKS, TrieShape
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, run_slices

Array = np.ndarray[Any, Any]

SERIAL = 100_000  # keys that one thread sorts
LOG_ZERO = np.float32(-np.inf)
MOST_ADDED = 100_000  # or as many as are given: one 100-gram alone has 4,850 shorter ones inside it


@dataclass
class Arrangement(TrieShape):
    """The numbering of a set of n-grams, and where each given n-gram went.

    Attributes:
        sources: for order k at k - 1, (G_k,) int64: the row of the given n-grams that node
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
    first = [np.array([vocabulary_size], np.uint32)]  # one past the children of all orders so far
    levels = [0, vocabulary_size]
    sources, landed = [np.arange(vocabulary_size)], [np.arange(vocabulary_size)]
    links = words[0].astype(np.uint32)  # suffix of each n-gram of the order above
    for length, rows in enumerate(grams, 2):
        packed = pack_words(np.concatenate(words), bits, threads)
        trie = (np.concatenate(first), packed, bits)
        parents, suffixes = _nodes(trie, rows, links, levels[-2], threads)
        absent = np.concatenate([rows[parents < 0, :-1], rows[suffixes == NONE, 1:]])
        if absent.size:
            shape = _shape(levels, words, bits, first, sources, landed)
            return shape, {length - 1: _distinct(absent)}
        places, keys = _ascending(parents, rows, bits, stable=merge, threads=threads)
        fresh = np.append(True, keys[1:] != keys[:-1])[: keys.size]
        if not merge and not fresh.all():
            ids = rows[places[np.argmin(fresh)]].tolist()
            raise FormatError(f"an n-gram of {length} words is given twice (word ids {ids})")
        if merge:
            landed.append(np.empty_like(places))
            landed[-1][places] = np.cumsum(fresh) - 1
            places = places[fresh]
        words.append(rows[places, -1])
        links = suffixes[places]
        above = (parents[places] if merge else parents) - levels[-2]
        children = np.bincount(above, minlength=levels[-1] - levels[-2])
        first[-1] = (levels[-1] + np.cumsum(children) - children).astype(np.uint32)
        levels.append(levels[-1] + places.size)
        first.append(np.array([levels[-1]], np.uint32))
        sources.append(np.where(places < given[length - 2], places, -1))
    return _shape(levels, words, bits, first, sources, landed), {}


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
) -> Arrangement:
    packed = pack_words(np.concatenate(words), bits)
    return Arrangement(
        np.array(levels, np.int64), packed, bits, np.concatenate(first), sources, places
    )


def _nodes(
    trie: tuple[Array, Array, int], rows: Array, links: Array, start: int, threads: int
) -> tuple[Array, Array]:
    """Context and suffix of every row (N, k) in the trie built so far, -1 and NONE for none.

    The suffix is a child of the suffix of the context; ``links`` (nodes,) has that of every n-gram
    of the order above, whose first node is ``start``.
    """
    parents = _contexts(trie, rows, threads)
    last = np.ascontiguousarray(rows[:, -1])
    if rows.shape[1] == 2:
        return parents, last.astype(np.uint32)
    suffixes = np.empty(rows.shape[0], np.uint32)
    above = np.maximum(parents - start, 0).astype(np.uint32)
    shared = (*trie, links, above, last)
    run_slices(kernels.find_children, [(*shared, *cut, suffixes) for cut in _cuts(rows)], threads)
    lost = np.flatnonzero(parents < 0)
    if lost.size:
        spare = np.zeros((lost.size, 1), np.int32)
        found = _contexts(trie, np.concatenate([rows[lost, 1:], spare], axis=1), threads)
        suffixes[lost] = np.where(found < 0, NONE, found)
    return parents, suffixes


def _contexts(trie: tuple[Array, Array, int], rows: Array, threads: int) -> Array:
    """Node of all but the last word of every row (N, k), -1 where there is none."""
    rows, nodes = np.ascontiguousarray(rows), np.empty(rows.shape[0], np.int64)
    run_slices(kernels.find_nodes, [(*trie, rows, *cut, nodes) for cut in _cuts(rows)], threads)
    return nodes


def _cuts(rows: Array) -> list[tuple[int, int]]:
    """Slices of rows for threads; few rows are not worth a thread."""
    return even_slices(rows.shape[0], min(CHUNKS, 1 + rows.shape[0] // 10_000))


def _ascending(
    parents: Array, rows: Array, bits: int, *, stable: bool, threads: int
) -> tuple[Array, Array]:
    """The order of rows in the trie and their keys in it; files are often sorted already."""
    words, keys = np.ascontiguousarray(rows[:, -1]), np.empty(parents.size, np.int64)
    cuts = _cuts(rows)
    shared = (parents, words, bits)
    sorted_slices = run_slices(kernels.child_keys, [(*shared, *c, keys) for c in cuts], threads)
    if all(sorted_slices) and all(keys[low] > keys[low - 1] for low, _ in cuts[1:]):
        return np.arange(keys.size), keys
    places = np.argsort(keys, kind="stable") if stable else _sorted(keys, threads)
    return places, keys[places]


def _sorted(keys: Array, threads: int) -> Array:
    """The order of keys; each thread sorts those in a range."""
    if threads == 1 or keys.size < SERIAL:
        return np.argsort(keys)
    samples = np.sort(keys[:: keys.size // 10_000])
    borders = samples[:: samples.size // (2 * threads) + 1][1:]

    def sort(number: int) -> Array:
        inside = np.ones(keys.size, bool)
        if number > 0:
            inside &= keys >= borders[number - 1]
        if number < borders.size:
            inside &= keys < borders[number]
        part = np.flatnonzero(inside)
        result: Array = part[np.argsort(keys[part])]
        return result

    parts = run_slices(sort, [(number,) for number in range(borders.size + 1)], threads)
    return np.concatenate(parts)


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
    log_probs, backoffs = np.zeros((2, int(shape.levels[-1])), np.float32)
    for length, (values, weights) in enumerate([unigrams, *((p, b) for _, p, b in longer)], 1):
        here = shape.level(length)
        source = shape.sources[length - 1]
        known = source >= 0
        log_probs[here][known] = values[source[known]]
        if weights is not None:
            backoffs[here][known] = weights[source[known]]
    table = NgramTable(
        shape.levels, shape.words, shape.bits, shape.first, log_probs, backoffs[: shape.inner]
    )
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
