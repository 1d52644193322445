"""The packed trie: an n-gram model as flat arrays, queried, stored and mapped as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie.layout import (
    BACKOFF_BITS,
    BLOCK,
    CODES,
    MAX_ORDER,
    packed_size,
    word_bits,
)
from unrolled.ngram.trie.table import NgramTable
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]


# Stored arrays: name -> (dtype, axes). The books exist in quantized models only.
_PLAIN = {
    "levels": (np.int64, 1),
    "words": (np.uint64, 1),
    "directory": (np.uint64, 1),
    "ends": (np.uint32, 1),
    "unigrams": (np.float32, 1),
    "log_probs": (np.float32, 1),
    "backoffs": (np.float32, 1),
}
_QUANTIZED = _PLAIN | {
    "log_probs": (np.uint8, 1),
    "backoffs": (np.uint64, 1),
    "log_prob_book": (np.float32, 2),
    "backoff_book": (np.float32, 1),
}
MOST = 500.0  # largest log back-off weight that is accepted; e^500 still has a square


@dataclass(frozen=True)
class PackedTrie:
    """Arrays of a model, laid out as `trie_kernels` describes; logarithms are natural."""

    levels: Array
    words: Array
    directory: Array
    ends: Array
    unigrams: Array
    log_probs: Array
    backoffs: Array
    log_prob_book: Array = field(default_factory=lambda: np.empty((0, CODES), np.float32))
    backoff_book: Array = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def order(self) -> int:
        """Longest n-gram."""
        return int(self.levels.size) - 1

    @property
    def vocabulary_size(self) -> int:
        """V: the nodes of order 1."""
        return int(self.levels[1])

    @property
    def bits(self) -> int:
        """Bits of a word's field."""
        return word_bits(self.vocabulary_size)

    @property
    def quantized(self) -> bool:
        """Whether probabilities are 8-bit codes."""
        return bool(self.log_probs.dtype == np.uint8)

    @property
    def backoff_count(self) -> int:
        """Nodes with a back-off weight of their own."""
        if not self.quantized:
            return int(self.backoffs.size)
        planes = self.directory.reshape(-1, 4)[:, :2]
        return int(np.bitwise_count(planes[:, 0] | planes[:, 1]).sum(dtype=np.int64))

    def query_arrays(self) -> tuple[Any, ...]:
        """The arguments by which every query kernel takes a model, in their order.

        All are read-only, as those of a mapped file are, and what a model lacks is there but
        empty, so that each kernel is compiled once; ``ends`` alone always has an element, to be
        read where none is needed.
        """
        floats, codes = np.empty(0, np.float32), np.empty(0, np.uint8)
        log_probs, backoffs = (floats, self.log_probs), (floats, self.backoffs)
        if not self.quantized:
            log_probs, backoffs = (self.log_probs, codes), (self.backoffs, np.empty(0, np.uint64))
        arrays = (
            *(self.levels, self.words, self.directory),
            *(self.ends if self.ends.size else np.zeros(1, np.uint32), self.unigrams),
            *(*log_probs, self.log_prob_book, *backoffs, self.backoff_book),
        )
        return (*(readonly(array) for array in arrays), self.bits)

    def arrays(self) -> dict[str, Array]:
        """What a model file stores, by name."""
        return {name: getattr(self, name) for name in (_QUANTIZED if self.quantized else _PLAIN)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], where: str) -> PackedTrie:
        """Take stored arrays after checks that cost no pass over them.

        Raises:
            FormatError: a missing array, a wrong type, or sizes that contradict each other.
        """
        wanted = _QUANTIZED if "log_prob_book" in arrays else _PLAIN
        for name, (dtype, axes) in wanted.items():
            if name not in arrays:
                raise FormatError(f"the model lacks its array '{name}'", where=where)
            if arrays[name].ndim != axes or arrays[name].dtype != dtype:
                raise FormatError(
                    f"array '{name}' is {arrays[name].dtype} with {arrays[name].ndim} axes, "
                    f"not {np.dtype(dtype)} with {axes}",
                    where=where,
                )
        trie = cls(**{name: arrays[name] for name in wanted})
        trie._check_sizes(where)
        return trie

    def _check_sizes(self, where: str) -> None:
        levels = self.levels
        if not 2 <= levels.size <= MAX_ORDER + 1:
            raise FormatError(f"the order {levels.size - 1} is not 1 to {MAX_ORDER}", where=where)
        if levels[0] != 0 or levels[1] < 3 or np.any(levels[1:] < levels[:-1]):
            raise FormatError("the sizes of the orders do not ascend from 0", where=where)
        inner, total = int(levels[-2]), int(levels[-1])
        if total >= 2**32:
            raise FormatError(f"{total} n-grams are more than {2**32 - 1}", where=where)
        shapes: dict[str, tuple[int, ...]] = {
            "words": (packed_size(total, self.bits),),
            "directory": (_directory_size(inner),),
            "unigrams": (self.vocabulary_size,),
            "log_probs": (total - self.vocabulary_size,),
        }
        most = inner
        if self.quantized:
            shapes["log_prob_book"] = (self.order - 1, CODES)
            shapes["backoff_book"] = (1 << BACKOFF_BITS,)
            most = packed_size(inner, BACKOFF_BITS)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise FormatError(
                    f"array '{name}' has the shape {getattr(self, name).shape}, not {shape}",
                    where=where,
                )
        if self.ends.size > inner or self.backoffs.size > most:
            raise FormatError("there are more back-off weights or ends than contexts", where=where)

    def children_counts(self) -> Array:
        """Number of children of every node of orders below the highest, int64."""
        from unrolled.ngram.trie import trie_kernels as kernels

        counts = np.empty(int(self.levels[-2]), np.int64)
        directory, ends = readonly(self.directory), readonly(self.ends)
        kernels.read_directory(directory, ends, int(self.levels[-1]), 0, counts)
        return counts

    def unpack(self) -> NgramTable:
        """The same model as plain arrays.

        Raises:
            FormatError: the directory does not give every node one parent, some word is not in
                the vocabulary, or some number is no logarithm of a probability.
        """
        from unrolled.ngram.trie import trie_kernels as kernels

        counts = self.children_counts()
        first = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts, out=first[1:])
        first += self.levels[1]
        if np.any(first[self.levels[:-1]] != self.levels[1:]):
            raise FormatError("the model's directory contradicts its sizes: the file is damaged")
        backoffs = np.zeros(counts.size, np.float32)
        kept, codes, book = self.query_arrays()[8:11]
        kernels.read_backoffs(readonly(self.directory), kept, codes, book, backoffs)
        table = NgramTable(
            levels=np.array(self.levels),
            words=readonly(self.words),
            bits=self.bits,
            first=first.astype(np.uint32),
            log_probs=np.concatenate([self.unigrams, *self._longer_log_probs()]),
            backoffs=backoffs,
        )
        _check_contents(table)
        return table

    def _longer_log_probs(self) -> list[Array]:
        """Log-probabilities of orders 2 and up, decoded, an order an array."""
        borders = self.levels[1:] - self.levels[1]
        parts = [self.log_probs[low:high] for low, high in pairwise(borders)]
        if self.quantized:
            return [book[codes] for book, codes in zip(self.log_prob_book, parts, strict=True)]
        return parts


def _check_contents(table: NgramTable) -> None:
    """Refuse a table on which no kernel could work."""
    size = int(table.levels[1])
    for length in range(1, table.order + 1):
        words = table.last_words(length)
        if np.any(words >= size) or (length == 1 and np.any(words != np.arange(size))):
            raise FormatError(f"words of order {length} are out of place: the file is damaged")
    if not np.all(table.log_probs <= 0.01):  # or NaN; rounding may put log 1 above 0
        raise FormatError("there are log-probabilities above 0 or NaN: the file is damaged")
    if not np.all(table.backoffs <= MOST):
        raise FormatError("there are back-off weights above e^500: the file is damaged")


def _directory_size(nodes: int) -> int:
    return 4 * (-(-nodes // BLOCK))


def pack(table: NgramTable, *, consume: bool = False) -> PackedTrie:
    """Pack plain arrays; the result shares their words and log-probabilities.

    Args:
        consume: write the weights that are kept over ``table.backoffs``, to save their memory.
    """
    from unrolled.ngram.trie import trie_kernels as kernels

    large, marked = kernels.count_large(table.first, table.backoffs)
    directory = np.zeros(_directory_size(table.inner), np.uint64)
    ends = np.zeros(large, np.uint32)
    backoffs = table.backoffs if consume else np.zeros(marked, np.float32)
    kernels.build_directory(table.first, table.backoffs, directory, ends, backoffs)
    size = int(table.levels[1])
    return PackedTrie(
        levels=table.levels,
        words=table.words,
        directory=directory,
        ends=ends,
        unigrams=table.log_probs[:size],
        log_probs=table.log_probs[size:],
        backoffs=backoffs[:marked],
    )
