"""The packed trie: an n-gram model as flat arrays that are queried, stored and memory-mapped as is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram import trie_kernels as kernels
from unrolled.ngram.packing import packed_size, word_bits
from unrolled.ngram.table import NgramTable

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PackedTrie:
    """Arrays of a model, laid out as `trie_kernels` describes.

    ``log_probs`` (G,) and ``backoffs`` (marked nodes,) are float32 natural logarithms.
    """

    levels: Array
    words: Array
    directory: Array
    ends: Array
    log_probs: Array
    backoffs: Array

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

    def arrays(self) -> dict[str, Array]:
        """What a model file stores, by name."""
        return {name: getattr(self, name) for name in _DTYPES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], where: str) -> PackedTrie:
        """Take stored arrays after checks that cost no pass over them.

        Raises:
            FormatError: a missing array, a wrong type, or sizes that contradict each other.
        """
        for name, dtype in _DTYPES.items():
            if name not in arrays:
                raise FormatError(f"the model lacks its array '{name}'", where=where)
            if arrays[name].ndim != 1 or arrays[name].dtype != dtype:
                raise FormatError(
                    f"array '{name}' is {arrays[name].dtype} with {arrays[name].ndim} axes, "
                    f"not {np.dtype(dtype)} with one",
                    where=where,
                )
        trie = cls(**{name: arrays[name] for name in _DTYPES})
        levels = trie.levels
        if levels.size < 2 or levels[0] != 0 or levels[1] < 1 or np.any(np.diff(levels) < 0):
            raise FormatError("the sizes of the orders do not ascend from 0", where=where)
        if levels[-1] >= 2**32:
            raise FormatError(f"{levels[-1]} n-grams are more than {2**32 - 1}", where=where)
        inner, total = int(levels[-2]), int(levels[-1])
        wanted = {
            "words": packed_size(total, trie.bits),
            "directory": _directory_size(inner),
            "log_probs": total,
        }
        for name, size in wanted.items():
            if arrays[name].size != size:
                raise FormatError(
                    f"array '{name}' has {arrays[name].size} elements, not {size}", where=where
                )
        if trie.ends.size > inner or trie.backoffs.size > inner:
            raise FormatError("more back-off weights or ends than contexts", where=where)
        return trie

    def children_counts(self) -> Array:
        """Number of children of every node of orders below the highest, int64."""
        counts = np.empty(int(self.levels[-2]), np.int64)
        kernels.read_directory(self.directory, self.ends, int(self.levels[-1]), 0, counts)
        return counts

    def unpack(self) -> NgramTable:
        """The same model as plain arrays.

        Raises:
            FormatError: the directory does not give every node one parent.
        """
        counts = self.children_counts()
        inner = counts.size
        starts = np.zeros(inner + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        first = starts + self.levels[1]
        if first[-1] != self.levels[-1] or np.any(first[self.levels[:-1]] != self.levels[1:]):
            raise FormatError("the model's directory contradicts its sizes: the file is damaged")
        backoffs = np.zeros(inner, np.float32)
        kernels.read_backoffs(self.directory, self.backoffs, backoffs)
        return NgramTable(
            np.array(self.levels), np.array(self.words), self.bits, first.astype(np.uint32),
            np.array(self.log_probs), backoffs,
        )  # fmt: skip


_DTYPES: dict[str, type] = {
    "levels": np.int64,
    "words": np.uint64,
    "directory": np.uint64,
    "ends": np.uint32,
    "log_probs": np.float32,
    "backoffs": np.float32,
}


def _directory_size(nodes: int) -> int:
    return 4 * (-(-nodes // kernels.BLOCK))


def pack(table: NgramTable) -> PackedTrie:
    """Pack plain arrays; ``table.first`` and ``table.backoffs`` may be dropped afterwards."""
    large, marked = kernels.count_large(table.first, table.backoffs)
    directory = np.zeros(_directory_size(table.inner), np.uint64)
    ends = np.zeros(large, np.uint32)
    backoffs = np.zeros(marked, np.float32)
    kernels.build_directory(table.first, table.backoffs, directory, ends, backoffs)
    return PackedTrie(table.levels, table.words, directory, ends, table.log_probs, backoffs)
