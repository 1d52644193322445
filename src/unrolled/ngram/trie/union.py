"""Unite the n-grams of several tries whose words have different ids, and find one's in another.

Children are sorted by their words' ids, so that a trie in other ids is built anew: an order at a
time, each context's children gathered from every trie, sorted and made unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.ngram.trie import editing_kernels as kernels
from unrolled.ngram.trie.layout import NONE, inverse_spreader, word_bits
from unrolled.ngram.trie.packing import pack_words
from unrolled.ngram.trie.shape import TrieShape
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import UNK, Vocabulary

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

MAX_NGRAMS = 2**32 - 1
CHUNK_CHILDREN = 1 << 20  # children sorted at once: a fraction of a second, 16 MB


@dataclass(frozen=True)
class Part:
    """One trie of a union.

    Attributes:
        trie: its n-grams.
        mapping: (V,) int32, the new id of each of its words, -1 for words to leave out.
        inverse: (U,) int32, its id of each new word, -1 for words that it lacks.
        substitute: the id by which it looks up words that it lacks, -1 for none. It never *has*
            an n-gram with such a word.
    """

    trie: TrieShape
    mapping: Array
    inverse: Array
    substitute: int = -1

    @classmethod
    def between(
        cls, trie: TrieShape, own: Vocabulary, new: Vocabulary, substitute: int = -1
    ) -> Part:
        """A trie in the words ``own``, for a union in the words ``new``."""
        return cls(trie, known_ids(own, new), known_ids(new, own), substitute)

    @property
    def first_nodes(self) -> Array:
        """Id by which each new word is looked up, (U,) int32: its node of order 1, or -1."""
        return np.where(self.inverse < 0, self.substitute, self.inverse).astype(np.int32)


@dataclass
class Union(TrieShape):
    """The united trie, and for each part its node of every n-gram, (G,) uint32, NONE for none."""

    nodes: list[Array]


def known_ids(words: Vocabulary, vocabulary: Vocabulary) -> Array:
    """Id in ``vocabulary`` of every word of ``words``, (len(words),) int32, -1 if it lacks it."""
    ids = vocabulary.ids(list(words))
    ids[1:][ids[1:] == UNK] = -1  # word 0 is <unk> in both
    return ids


def unite(parts: Sequence[Part], size: int, *, threads: int = 2, report: Report) -> Union:
    """All n-grams of all parts, in the ids of a vocabulary of ``size`` words.

    Raises:
        SettingError: there are more n-grams than nodes can be numbered.
    """
    bits = word_bits(size)
    words = [np.arange(size, dtype=np.int32)]
    first = []
    levels = [0, size]
    nodes = [[part.first_nodes.view(np.uint32)] for part in parts]
    exact = [part.inverse >= 0 for part in parts]
    for length in range(2, max(part.trie.levels.size for part in parts)):
        report(f"merging n-grams of order {length}")
        own = [np.where(has, at[-1], NONE) for has, at in zip(exact, nodes, strict=True)]
        fresh, counts = _children(parts, own, bits, threads)
        first.append((levels[-1] + np.cumsum(counts) - counts).astype(np.uint32))
        levels.append(levels[-1] + fresh.size)
        if levels[-1] > MAX_NGRAMS:
            raise SettingError(f"together there are more than {MAX_NGRAMS} n-grams; prune first")
        words.append(fresh)
        parents = np.repeat(np.arange(counts.size, dtype=np.uint32), counts)
        for number, part in enumerate(parts):
            nodes[number].append(descend(part, nodes[number][-1], parents, fresh, threads))
            exact[number] = exact[number][parents] & (part.inverse >= 0)[fresh]
    first.append(np.array([levels[-1]], np.uint32))
    return Union(
        np.array(levels, np.int64),
        pack_words(np.concatenate(words), bits, threads),
        bits,
        np.concatenate(first),
        [np.concatenate(pieces) for pieces in nodes],
    )


def _children(
    parts: Sequence[Part], nodes: list[Array], bits: int, threads: int
) -> tuple[Array, Array]:
    """Last words of the next order (G,) int32, and how many each of the contexts has (P,) int64."""
    if nodes[0].size == 0:  # no sentence is that long
        return np.empty(0, np.int32), np.empty(0, np.int64)
    sizes = np.zeros((len(parts), nodes[0].size), np.int64)
    for number, (part, own) in enumerate(zip(parts, nodes, strict=True)):
        inner = np.flatnonzero(own < part.trie.first.size - 1)
        at = own[inner].astype(np.int64)
        sizes[number, inner] = part.trie.first[at + 1].astype(np.int64) - part.trie.first[at]
    ends = np.cumsum(sizes.sum(axis=0))
    cuts = np.searchsorted(ends, np.arange(CHUNK_CHILDREN, int(ends[-1]), CHUNK_CHILDREN))
    borders = np.unique(np.concatenate([[0], cuts, [ends.size]]))

    def gather(start: int, stop: int) -> tuple[Array, Array]:
        keys = np.empty(int(sizes[:, start:stop].sum()), np.int64)
        filled = 0
        for part, own in zip(parts, nodes, strict=True):
            trie = part.trie
            filled += kernels.list_children(
                trie.first, trie.words, trie.bits, inverse_spreader(trie.bits), own,
                start, stop, part.mapping, bits, keys[filled:],
            )  # fmt: skip
        keys = keys[:filled]
        keys.sort()
        keys = keys[np.append(True, keys[1:] != keys[:-1])[: keys.size]]
        mask = (1 << bits) - 1
        fresh = ((keys & mask) * inverse_spreader(bits)) & mask
        return fresh.astype(np.int32), np.bincount(keys >> bits, minlength=stop - start)

    slices = zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)
    gathered = run_slices(gather, slices, threads)
    return (
        np.concatenate([words for words, _ in gathered]),
        np.concatenate([counts for _, counts in gathered]),
    )


def descend(part: Part, nodes: Array, parents: Array, words: Array, threads: int) -> Array:
    """A part's nodes of the n-grams that are its ``nodes[parents]`` (G,) followed by ``words``."""
    own = part.first_nodes[words]
    found = np.empty(words.size, np.uint32)
    trie = part.trie
    shared = (trie.first, trie.words, trie.bits, nodes, parents, own)
    run_slices(
        kernels.find_children,
        [(*shared, *cut, found) for cut in even_slices(words.size, 32)],
        threads,
    )
    return found


def locate(table: NgramTable, part: Part, *, threads: int = 2) -> Array:
    """A part's node of each n-gram of a table, (G,) uint32, NONE for none."""
    pieces = [part.first_nodes.view(np.uint32)]
    for length in range(2, table.order + 1):
        parents = table.parents(length) - table.level(length - 1).start
        words = table.last_words(length)
        pieces.append(descend(part, pieces[-1], parents.astype(np.uint32), words, threads))
    return np.concatenate(pieces)


def conditional_log_probs(
    table: NgramTable,
    suffixes: Array,
    own: NgramTable,
    inverse: Array,
    nodes: Array,
    *,
    threads: int = 2,
) -> Iterator[Array]:
    """What the model ``own`` gives each n-gram's last word after the others, an order at a time.

    Args:
        table, suffixes: the n-grams that are asked for.
        inverse: (U,) the model's id of each of their words, -1 for a word that it lacks, which it
            gives probability 0.
        nodes: the model's nodes, from `unite` or `locate`.

    Yields:
        (G_k,) float32 log-probabilities, for k = 1, 2, ...
    """
    lacking = inverse < 0
    shorter = np.where(lacking, -np.inf, own.log_probs[inverse]).astype(np.float32)
    yield shorter
    for length in range(2, table.order + 1):
        here, above = table.level(length), table.level(length - 1)
        result = np.empty(here.stop - here.start, np.float32)
        parents = (table.parents(length) - above.start).astype(np.uint32)
        shared = (nodes[above], suffixes[here], above.start, own.log_probs, own.backoffs, shorter)
        run_slices(
            kernels.back_off,
            [(nodes[here], parents, *cut, *shared, result) for cut in even_slices(result.size, 32)],
            threads,
        )
        if lacking.any():
            result[lacking[table.last_words(length)]] = -np.inf
        shorter = result
        yield result
