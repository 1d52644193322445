"""Read one set of counts: words, n-grams in any order, and shorter n-grams that are missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.counts.counting import NgramCounts
from unrolled.ngram.trie.assembly import Arrangement, arrange
from unrolled.ngram.trie.layout import MAX_ORDER
from unrolled.ngram.trie.shape import TrieShape
from unrolled.text.options import TextOptions
from unrolled.text.tokens import read_blocks
from unrolled.text.vocabulary import BOS, EOS, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.blocks import Block
    from unrolled.text.word_table import WordTable

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

MOST = 2**32 - 1  # a count is a uint32


@dataclass
class CountReader:
    """The n-grams of one source of count files.

    Attributes:
        source: what they come from, for messages.
        vocabulary: the words; ``listed`` (V,) bool those with a line of their own.
        grams: for order k (G, k) int32 ids, oldest word first. counts: (G,) int64.
        fixed: the vocabulary was given, and its order stays.
    """

    source: str
    vocabulary: Vocabulary
    listed: Array
    grams: dict[int, Array] = field(default_factory=dict)
    counts: dict[int, Array] = field(default_factory=dict)
    fixed: bool = False

    @classmethod
    def read(
        cls,
        source: str | os.PathLike[str],
        vocabulary: Vocabulary | None,
        progress: Callable[[int], None] | None,
    ) -> CountReader:
        """Read one source.

        Raises:
            FormatError: a line is broken, or there is none.
        """
        from unrolled.text.word_table import WordTable

        table = None if vocabulary is not None else WordTable()
        pieces: dict[int, list[tuple[Array, Array]]] = {1: []}
        for length, found, values in read_rows(
            source, vocabulary if table is None else table, progress
        ):
            pieces.setdefault(length, []).append((found, values))
        shown = os.fspath(source)
        if not any(pieces.values()):
            raise no_counts(shown)
        grams, totals = {}, {}
        for length in range(1, max(pieces) + 1):
            own = pieces.pop(length, [])
            grams[length] = np.concatenate([np.empty((0, length), np.int32), *(g for g, _ in own)])
            totals[length] = np.concatenate([np.empty(0, np.int64), *(c for _, c in own)])
        if table is not None:
            words = table.vocabulary(np.arange(table.words, dtype=np.int64))
        else:
            assert vocabulary is not None
            words = vocabulary
        listed = np.zeros(len(words), bool)
        listed[grams[1][:, 0]] = True
        return cls(shown, words, listed, grams, totals, vocabulary is not None)

    def assembled(self, say: Report) -> tuple[NgramCounts, Vocabulary]:
        """The counts as a trie, words by descending count, with what was missing."""
        say("sorting n-grams")
        if self.fixed:
            shape, totals = self._completed()
        elif self.listed[EOS + 1 :].all():
            single = np.bincount(self.grams[1][:, 0], self.counts[1], len(self.vocabulary))
            self._renumber(single)
            shape, totals = self._completed()
        else:  # some words' counts follow from longer n-grams only
            shape, totals = self._completed()
            self._renumber(totals[0])
            shape, totals = self._completed()
        return stored_counts(shape, [total.astype(np.uint32) for total in totals]), self.vocabulary

    def _renumber(self, single: Array) -> None:
        """Give words their ids by descending count (V,), equal ones by first appearance."""
        order = np.argsort(-single[EOS + 1 :], kind="stable") + EOS + 1
        order = np.concatenate([np.arange(EOS + 1), order])
        ranks = np.empty(order.size, np.int32)
        ranks[order] = np.arange(order.size, dtype=np.int32)
        self.grams = {length: ranks[rows] for length, rows in self.grams.items()}
        self.listed = self.listed[order]
        names = list(self.vocabulary)
        self.vocabulary = Vocabulary.from_words(names[id] for id in order.tolist())

    def _completed(self) -> tuple[Arrangement, list[Array]]:
        """All n-grams with their contexts and suffixes, and the counts of each order, int64."""
        order = max(self.grams)
        given = [self.grams[length] for length in range(2, order + 1)]
        shape = arrange(given, len(self.vocabulary), merge=True)
        size = len(self.vocabulary)
        totals = [np.bincount(self.grams[1][:, 0], self.counts[1], size).astype(np.int64)]
        known = [self.listed]
        for length in range(2, order + 1):
            places = shape.places[length - 1][: self.counts[length].size]
            sums = np.bincount(places, self.counts[length], shape.size(length))
            totals.append(sums.astype(np.int64))
            known.append(shape.sources[length - 1] >= 0)
        shape.sources, shape.places = [], []
        suffixes = shape.link_suffixes()
        for length in range(order - 1, 0, -1):
            least = _least(shape, suffixes, length, totals[length])
            wrong = known[length - 1] & (totals[length - 1] < least)
            if wrong.any():
                self._contradiction(shape, length, int(np.argmax(wrong)), totals, least)
            totals[length - 1] = np.where(known[length - 1], totals[length - 1], least)
        for length, total in enumerate(totals, 1):
            if total.size and total.max() > MOST:
                self._too_many(shape, length, int(total.argmax()), int(total.max()))
        return shape, totals

    def _contradiction(
        self, shape: TrieShape, length: int, place: int, totals: list[Array], least: Array
    ) -> None:
        text = self._words(shape, length, place)
        raise contradiction(text, totals[length - 1][place], least[place], self.source)

    def _too_many(self, shape: TrieShape, length: int, place: int, count: int) -> None:
        raise too_many(self._words(shape, length, place), count, self.source)

    def _words(self, shape: TrieShape, length: int, place: int) -> str:
        return " ".join(self.vocabulary.words(shape.ngrams(length)[place]))


def read_rows(
    source: str | os.PathLike[str],
    words: WordTable | Vocabulary | None,
    progress: Callable[[int], None] | None,
) -> Iterator[tuple[int, Array, Array]]:
    """The n-grams of a source, some of one length at a time.

    Args:
        words: gives the words their ids; a table takes in new ones.
        progress: called with the bytes of the files read since the last call.

    Yields:
        Length k, n-grams (G, k) int32, oldest word first, and their counts (G,) int64.

    Raises:
        FormatError: a line is broken.
    """
    for block in read_blocks(source, TextOptions(specials="keep"), progress=progress):
        data, counts, lengths = split_counts(block)
        if isinstance(words, Vocabulary):
            ids = words.encode_block(data, specials="keep").ids
        else:
            assert words is not None
            ids = words.count(data, "keep").copy()
        yield from _by_length(block, ids, counts, lengths)


def no_counts(source: str) -> FormatError:
    """The error for a source without a line."""
    return FormatError("there are no counts", where=source)


def contradiction(text: str, count: int, least: int, source: str) -> FormatError:
    """The error for an n-gram that comes less often than the longer ones that hold it."""
    return FormatError(
        f"the n-gram '{text}' comes {count} times, but longer ones that hold it come {least} times",
        where=place_of(source, text),
        hint="Give counts of occurrences, not adjusted ones",
    )


def too_many(text: str, count: int, source: str) -> FormatError:
    """The error for a count that has no room."""
    return FormatError(
        f"the n-gram '{text}' comes {count} times, and at most {MOST} can be kept",
        where=place_of(source, text),
    )


def place_of(source: str, text: str) -> str:
    """The line of an n-gram, found by reading the source again; or just the source."""
    wanted = text.encode().split()
    if source == "-":
        return "<stdin>"
    for block in read_blocks(source, TextOptions(specials="keep")):
        for number, line in enumerate(block.data.split(b"\n")):
            if line.split()[:-1] == wanted:
                return block.place(number)
    return source


def stored_counts(shape: TrieShape, values: list[Array]) -> NgramCounts:
    """Counts that are held as arrays, one of uint32 an order, for the n-grams of a trie."""

    def occurrences(length: int, words: tuple[int, int] | None, _out: Array | None) -> Array:
        if length > len(values):
            return np.empty(0, np.uint32)
        if words is None:
            return values[length - 1]
        low, high = shape.starting(length, words)
        start = shape.level(length).start
        return values[length - 1][low - start : high - start]

    return NgramCounts(
        shape.levels, shape.words, shape.bits, shape.first, shape.link_suffixes(), occurrences
    )


def split_counts(block: Block) -> tuple[bytes, Array, Array]:
    """A block without its counts, and each line's count and number of words.

    Raises:
        FormatError: a line is not words and a count.
    """
    from unrolled.ngram.counts.count_file_kernels import take_counts

    data = bytearray(block.data)
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    counts, lengths = np.empty(lines, np.int64), np.empty(lines, np.int32)
    read = take_counts(np.frombuffer(data, np.uint8), counts, lengths)
    if read < lines:
        line = block.data.split(b"\n", read + 1)[read]
        raise _broken(line.decode(errors="replace"), block.place(read))
    if lines and lengths.max() > MAX_ORDER:
        raise FormatError(
            f"an n-gram has {lengths.max()} words, allowed are {MAX_ORDER}",
            where=block.place(int(lengths.argmax())),
        )
    return bytes(data), counts, lengths


def _broken(line: str, where: str) -> FormatError:
    fields = line.split() or [""]
    shown = ascii(line.strip()[:60])
    if fields[-1].isascii() and fields[-1].isdigit():
        if len(fields) == 1:
            return FormatError(f"{shown} has no words before its count", where=where)
        return FormatError(f"the count of {shown} is too large", where=where)
    return FormatError(
        f"{shown} does not end in a count, a whole number of 0 or more",
        where=where,
        hint="A line is words, a tab and a count",
    )


def _by_length(
    block: Block, ids: Array, counts: Array, lengths: Array
) -> list[tuple[int, Array, Array]]:
    """For each length in a block its n-grams (G, k) int32 and their counts (G,) int64.

    Raises:
        FormatError: <s> or </s> stands inside an n-gram.
    """
    starts = np.cumsum(lengths + 2, dtype=np.int64) - lengths - 1  # past each line's mark
    result = []
    for length in np.flatnonzero(np.bincount(lengths)).tolist():
        if length == 0:
            continue
        lines = np.flatnonzero((lengths == length) & ((counts > 0) | (length == 1)))
        rows = ids[starts[lines, None] + np.arange(length)]
        inside = (rows[:, 1:] == BOS).any(axis=1) | (rows[:, :-1] == EOS).any(axis=1)
        if inside.any():
            line = int(lines[np.argmax(inside)])
            raise FormatError(
                "<s> may only begin an n-gram, and </s> only end one", where=block.place(line)
            )
        result.append((length, rows, counts[lines]))
    return result


def _least(shape: TrieShape, suffixes: Array, length: int, longer: Array) -> Array:
    """How often each n-gram of an order comes at least, as context or suffix of ``longer`` ones."""
    here, above = shape.level(length), shape.level(length + 1)
    sums = np.concatenate([[0], np.cumsum(longer)])
    borders = shape.first[here.start : here.stop + 1].astype(np.int64) - above.start
    begun = sums[borders[1:]] - sums[borders[:-1]]
    ended = np.bincount(suffixes[above] - here.start, longer, here.stop - here.start)
    least: Array = np.maximum(begun, ended.astype(np.int64))
    return least
