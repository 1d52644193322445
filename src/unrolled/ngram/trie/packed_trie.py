"""The packed trie: an n-gram model as flat arrays, queried, stored and mapped as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.trie.backoffs import store_backoffs
from unrolled.ngram.trie.integers import store_integers
from unrolled.ngram.trie.layout import BLOCK, CODES, MAX_ORDER, packed_size, word_bits
from unrolled.ngram.trie.packing import pack_words, unpack_words
from unrolled.ngram.trie.shape import CHUNKS
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]


# Stored arrays: name -> (dtype, axes). Each of the last three groups has two forms.
_SHAPE = {
    "levels": (np.int64, 1),
    "words": (np.uint64, 1),
    "directory": (np.uint64, 1),
    "ends": (np.uint32, 1),
    "unigrams": (np.float32, 1),
}
_LINKS = {"link_blocks": (np.uint64, 1), "link_fields": (np.uint64, 1)}
_PLAIN = {"log_probs": (np.float32, 1)}
_QUANTIZED = {"log_probs": (np.uint8, 1), "log_prob_book": (np.float32, 2)}
_WEIGHTS = {"backoffs": (np.float32, 1)}
_CODED_WEIGHTS = {"backoffs": (np.uint64, 1), "backoff_book": (np.float32, 1)}
_LARGE_WEIGHTS = {"large_backoffs": (np.float32, 1)}
_INTERPOLATED = {
    "codes": (np.uint64, 1),
    "code_bits": (np.int64, 1),
    "log_prob_book": (np.float32, 2),
    "weights": (np.uint16, 1),
}
THREADS = 2
_NONE = np.empty(0)
MOST = 500.0  # largest log back-off weight that is accepted; e^500 still has a square


@dataclass(frozen=True)
class PackedTrie:
    """Arrays of a model, laid out as `trie_kernels` describes; logarithms are natural."""

    levels: Array
    words: Array
    directory: Array
    ends: Array
    unigrams: Array
    log_probs: Array = field(default_factory=lambda: np.empty(0, np.float32))
    log_prob_book: Array = field(default_factory=lambda: np.empty((0, CODES), np.float32))
    backoffs: Array = field(default_factory=lambda: np.empty(0, np.float32))
    backoff_book: Array = field(default_factory=lambda: np.empty(0, np.float32))
    large_backoffs: Array = field(default_factory=lambda: np.empty(0, np.float32))
    link_blocks: Array = field(default_factory=lambda: np.empty(0, np.uint64))
    link_fields: Array = field(default_factory=lambda: np.empty(0, np.uint64))
    codes: Array = field(default_factory=lambda: np.empty(0, np.uint64))
    code_bits: Array = field(default_factory=lambda: np.empty(0, np.int64))
    weights: Array = field(default_factory=lambda: np.empty(0, np.uint16))

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
        return self.interpolated or bool(self.log_probs.dtype == np.uint8)

    @property
    def linked(self) -> bool:
        """Whether last words are stored as `link_kernels` describes."""
        return bool(self.link_blocks.size)

    @property
    def interpolated(self) -> bool:
        """Whether the model stores what `interpolation_kernels` describes."""
        return bool(self.codes.size)

    @property
    def backoff_count(self) -> int:
        """Nodes with a back-off weight of their own."""
        planes = self.directory.reshape(-1, 4)[:, :2]
        return int(np.bitwise_count(planes[:, 0] | planes[:, 1]).sum(dtype=np.int64))

    def query_arrays(self) -> tuple[Any, ...]:
        """The arguments by which every query kernel takes a model, in their order.

        All are read-only, as those of a mapped file are, and what a model lacks is there but
        empty, so that each kernel is compiled once; ``ends`` alone always has an element, to be
        read where none is needed.
        """
        log_probs = self.log_probs, np.empty(0, np.uint8)
        if self.log_probs.dtype == np.uint8:
            log_probs = np.empty(0, np.float32), self.log_probs
        arrays = (
            *(self.levels, self.words, self.directory),
            *(self.ends if self.ends.size else np.zeros(1, np.uint32), self.unigrams),
            *(*log_probs, self.log_prob_book),
            *self.backoff_arrays(),
        )
        return (*(readonly(array) for array in arrays), self.bits)

    def backoff_arrays(self) -> tuple[Array, Array, Array]:
        """Back-off weights as they are, as codes, and the book of these; empty if lacking."""
        coded = self.backoffs.dtype == np.uint64
        plain = self.large_backoffs if coded else self.backoffs
        codes = self.backoffs if coded else np.empty(0, np.uint64)
        return readonly(plain), readonly(codes), readonly(self.backoff_book)

    @cached_property
    def linear(self) -> tuple[Array, Array]:
        """Unigrams and the book as query kernels take them: of interpolated models, no logarithms.

        The book always has a row and 256 columns at least.
        """
        if not self.interpolated:
            return readonly(self.unigrams), readonly(self.log_prob_book)
        with np.errstate(all="ignore"):  # of damaged models
            unigrams, book = np.exp(self.unigrams), np.exp(self.log_prob_book)
        return readonly(unigrams), readonly(book)

    def scoring_arrays(self) -> tuple[Any, ...]:
        """What `query_arrays` gives, with `linear` numbers, the links, and `interpolation`."""
        arrays = list(self.query_arrays())
        arrays[4], arrays[7] = self.linear
        return *arrays, *self.links(), *self.interpolation()

    def interpolation(self) -> tuple[Array, Array, Array]:
        """The codes, where they are as `interpolation_kernels` says, and the weights."""
        places = np.zeros((self.order, 2), np.int64)
        if self.interpolated:
            borders = self.levels[1:] - self.levels[1]
            starts = _field_starts(np.diff(borders), self.code_bits)[:-1]
            places[:-1, 0] = starts - borders[:-1] * self.code_bits
            places[:-1, 1] = self.code_bits
        return readonly(self.codes), readonly(places.reshape(-1)), readonly(self.weights)

    def links(self) -> tuple[Array, Array]:
        """The links, for the kernels that take a model with them; empty if words are stored."""
        return readonly(self.link_blocks), readonly(self.link_fields)

    def arrays(self) -> dict[str, Array]:
        """What a model file stores, by name."""
        names = [
            *_SHAPE,
            *(_LINKS if self.linked else ()),
            *(() if self.interpolated else _QUANTIZED if self.quantized else _PLAIN),
            *(_INTERPOLATED if self.interpolated else _CODED_WEIGHTS | _LARGE_WEIGHTS),
        ]
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], where: str) -> PackedTrie:
        """Take stored arrays after checks that cost no pass over them.

        Raises:
            FormatError: a missing array, a wrong type, or sizes that contradict each other.
        """
        wanted: dict[str, Any] = _SHAPE | (_QUANTIZED if "log_prob_book" in arrays else _PLAIN)
        coded = arrays.get("backoffs", _NONE).dtype == np.uint64
        wanted |= _CODED_WEIGHTS if coded else _WEIGHTS
        wanted |= _LARGE_WEIGHTS if coded and "large_backoffs" in arrays else {}
        if "codes" in arrays:
            wanted = _SHAPE | _INTERPOLATED
        wanted |= _LINKS if _LINKS.keys() & arrays.keys() else {}
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
        }
        if self.interpolated:
            shapes["code_bits"] = (self.order - 1,)
        else:
            shapes["log_probs"] = (total - self.vocabulary_size,)
        if self.quantized:
            shapes["log_prob_book"] = (self.order - 1, CODES)
        if self.linked:
            stored = int(levels[min(2, self.order)])
            shapes["words"] = (packed_size(stored, self.bits),)
            shapes["link_blocks"] = (_blocks_size(total - stored),)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise FormatError(
                    f"array '{name}' has the shape {getattr(self, name).shape}, not {shape}",
                    where=where,
                )
        if self.interpolated:
            self._check_codes(where)
        most = packed_size(inner, 16) if self.backoffs.dtype == np.uint64 else inner
        if self.ends.size > inner or self.backoffs.size > most:
            raise FormatError("there are more back-off weights or ends than contexts", where=where)
        if self.large_backoffs.size not in (0, self.ends.size):
            raise FormatError(
                f"there are {self.large_backoffs.size} large back-off weights for "
                f"{self.ends.size} ends",
                where=where,
            )

    def _check_codes(self, where: str) -> None:
        if np.any((self.code_bits < 1) | (self.code_bits > 8)):
            raise FormatError(f"codes of {self.code_bits} bits are not of 1 to 8", where=where)
        size = int(_field_starts(np.diff(self.levels[1:]), self.code_bits)[-1]) // 64 + 1
        if self.codes.size != size:
            raise FormatError(
                f"array 'codes' has the shape {self.codes.shape}, not {(size,)}", where=where
            )
        if self.weights.size != self.ends.size:
            raise FormatError(
                f"there are {self.weights.size} weights for {self.ends.size} ends", where=where
            )

    def children_counts(self) -> Array:
        """Number of children of every node of orders below the highest, int64."""
        from unrolled.ngram.trie import trie_kernels as kernels

        counts = np.empty(int(self.levels[-2]), np.int64)
        directory, ends = readonly(self.directory), readonly(self.ends)
        run_slices(
            lambda start, stop: kernels.read_directory(
                directory, ends, int(self.levels[-1]), start, counts[start:stop]
            ),
            even_slices(counts.size, CHUNKS),
            THREADS,
        )
        return counts

    def unpack(self) -> NgramTable:
        """The same model as plain arrays.

        Raises:
            FormatError: the directory does not give every node one parent, some word is not in
                the vocabulary, or some number is no logarithm of a probability.
        """
        from unrolled.ngram.trie import trie_kernels as kernels

        first = self._first()
        backoffs = np.zeros(first.size - 1, np.float32)
        if self.interpolated:
            return self._expanded(first, backoffs)
        shared = readonly(self.directory), *self.backoff_arrays()
        run_slices(
            lambda start, stop: kernels.read_backoffs(*shared, start, backoffs[start:stop]),
            even_slices(backoffs.size, CHUNKS),
            THREADS,
        )
        table = NgramTable(
            levels=np.array(self.levels),
            words=self._linked_words(first)[0] if self.linked else readonly(self.words),
            bits=self.bits,
            first=first,
            log_probs=np.concatenate([self.unigrams, *self._longer_log_probs()]),
            backoffs=backoffs,
        )
        _check_contents(table)
        return table

    @cached_property
    def with_words(self) -> PackedTrie:
        """The same model with words and probabilities stored: itself, or a copy, made once.

        Raises:
            FormatError: a damaged model.
        """
        if self.interpolated:
            return pack(self.unpack())
        if not self.linked:
            return self
        none = np.empty(0, np.uint64)
        words = self._linked_words(self._first())[0]
        return replace(self, words=words, link_blocks=none, link_fields=none)

    def _first(self) -> Array:
        """First child of each context, (contexts + 1,) uint32.

        Raises:
            FormatError: not every node has one parent.
        """
        counts = self.children_counts()
        first = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts, out=first[1:])
        first += self.levels[1]
        if np.any(first[self.levels[:-1]] != self.levels[1:]):
            raise FormatError("the model's directory contradicts its sizes: the file is damaged")
        return first.astype(np.uint32)

    def _expanded(self, first: Array, backoffs: Array) -> NgramTable:
        """As `unpack`, of an interpolated model, whose numbers follow from those of one order less.

        Raises:
            FormatError: as of `unpack`.
        """
        from unrolled.ngram.trie import interpolation_kernels as kernels

        suffixes = np.empty(0, np.uint32)
        if self.linked:
            words, suffixes = self._linked_words(first)
        else:
            words = readonly(self.words)
        log_probs = np.empty(int(self.levels[-1]), np.float32)
        log_probs[: self.vocabulary_size] = self.unigrams
        table = NgramTable(np.array(self.levels), words, self.bits, first, log_probs, backoffs)
        if not self.linked:
            suffixes = table.link_suffixes()
        codes, places, weights = self.interpolation()
        shared = readonly(self.directory), readonly(suffixes), codes, places, self.linear[1]
        for length in range(2, self.order + 1):
            run_slices(
                kernels.expand,
                [
                    (first, *cut, *shared, length - 2, weights, log_probs, backoffs)
                    for cut in table.context_slices(length)
                ],
                THREADS,
            )
        _check_contents(table)
        return table

    def _linked_words(self, first: Array) -> tuple[Array, Array]:
        """Last words of all nodes, packed, from the links; and the suffixes, for order 1 none.

        Raises:
            FormatError: a link to no n-gram, or a word that is not in the vocabulary.
        """
        from unrolled.ngram.trie import link_kernels as kernels

        levels, size = self.levels.tolist(), self.vocabulary_size
        words = [np.arange(size, dtype=np.int32)]
        words.append(unpack_words(readonly(self.words), self.bits, size, levels[2]))
        if np.any(words[1] >= size):
            raise FormatError("words of order 2 are out of place: the file is damaged")
        suffixes = np.zeros(levels[-1], np.uint32)
        suffixes[size : levels[2]] = words[1]
        blocks, fields = self.links()
        for length in range(3, self.order + 1):
            start, stop = levels[length - 2 : length]
            cuts = [(start + low, start + high) for low, high in even_slices(stop - start, CHUNKS)]
            missing = run_slices(
                kernels.follow_links,
                [(first, *cut, blocks, fields, levels[2], suffixes) for cut in cuts],
                THREADS,
            )
            if sum(missing):
                raise FormatError(f"{sum(missing)} links lead to no n-gram: the file is damaged")
            here = suffixes[stop : levels[length]]
            words.append(words[-1][here - np.uint32(levels[length - 2])])
        return pack_words(np.concatenate(words), self.bits, THREADS), suffixes

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


def _field_starts(counts: Array, bits: Array) -> Array:
    """The bit at which the fields of each order begin, and that after the last, int64."""
    sizes = -(-counts.astype(np.int64) * bits // 64) * 64
    result: Array = np.cumsum([0, *sizes])
    return result


def _blocks_size(count: int) -> int:
    """Elements of ``blocks`` of so many integers."""
    return -(-count // BLOCK)


def pack(
    table: NgramTable,
    *,
    suffixes: Array | None = None,
    consume: bool = False,
    threads: int = THREADS,
) -> PackedTrie:
    """Pack plain arrays; the result shares their log-probabilities, and their words.

    Args:
        suffixes: (G,) uint32 as `TrieShape.link_suffixes` gives them: then words are stored as
            links, in less than half the room, and queries take a little longer.
        consume: write over ``table.backoffs`` what is kept of it, to save memory.
    """
    from unrolled.ngram.trie import trie_kernels as kernels

    large, marked = kernels.count_large(table.first, table.backoffs)
    directory = np.zeros(_directory_size(table.inner), np.uint64)
    ends = np.zeros(large, np.uint32)
    backoffs = table.backoffs if consume else np.zeros(marked, np.float32)
    kernels.build_directory(table.first, table.backoffs, directory, ends, backoffs)
    size = int(table.levels[1])
    arrays = {"words": table.words} if suffixes is None else _links(table, suffixes, threads)
    arrays |= store_backoffs(backoffs[:marked], directory, threads=threads)
    return PackedTrie(
        levels=table.levels,
        directory=directory,
        ends=ends,
        unigrams=table.log_probs[:size],
        log_probs=table.log_probs[size:],
        **arrays,
    )


def _links(table: NgramTable, suffixes: Array, threads: int) -> dict[str, Array]:
    """The arrays of a model whose last words are links."""
    from unrolled.ngram.trie import link_kernels as kernels

    stored = int(table.levels[min(2, table.order)])
    first, linked = readonly(table.first), readonly(suffixes)

    def places(start: int, stop: int) -> Array:
        result = np.empty(stop - start, np.int64)
        start += stored
        context = int(np.searchsorted(first, np.uint32(start), side="right")) - 1
        kernels.link_places(first, linked, context, start, result)
        return result

    blocks, fields = store_integers(int(table.levels[-1]) - stored, places, threads=threads)
    words = unpack_words(table.words, table.bits, 0, stored)
    packed = pack_words(words, table.bits, threads)
    return {"words": packed, "link_blocks": blocks, "link_fields": fields}


def links_size(table: NgramTable, suffixes: Array) -> int:
    """Bytes of the last words of a model that stores them as links."""
    return sum(array.nbytes for array in _links(table, suffixes, THREADS).values())
