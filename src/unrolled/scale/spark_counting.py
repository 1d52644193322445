"""The words and the n-grams of a text, counted on a Spark cluster; see `spark_training`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import TextError
from unrolled.ngram.counts.counting import sort_by_word
from unrolled.ngram.estimation.leave_one_out import WholeHistories
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.spark_text import (
    CountedWords,
    count_words,
    even_parts,
    merged_words,
    sent_windows,
)
from unrolled.scale.windows import count_windows
from unrolled.text.options import TextOptions, VocabularyLimits
from unrolled.text.vocabulary import BOS, Vocabulary

Array = np.ndarray[Any, Any]
Words = tuple[int, int]
Rows = Iterable[tuple[int, tuple[tuple[int, int], Array]]]


@dataclass(frozen=True)
class ClusterText:
    """A text on a cluster: its parts in order, and what is known of it.

    Attributes:
        blocks: an RDD of `Block`, whose partitions are the parts.
        options: how it becomes tokens.
        vocabulary: the one that was given, if any. limits: of the one that is made.
    """

    blocks: Any
    options: TextOptions
    vocabulary: Vocabulary | None = None
    limits: VocabularyLimits = field(default_factory=VocabularyLimits)


@dataclass(frozen=True)
class ReadWords:
    """The vocabulary of a text and its counts; see `Corpus`."""

    vocabulary: Vocabulary
    word_counts: Array
    sentences: int
    tokens: int
    unknown_types: int


@dataclass(frozen=True)
class PartColumns:
    """The n-grams that begin with a range of first words, see `NgramColumns`, by length from 2."""

    words: Words
    last_words: list[Array]
    occurrences: list[Array]
    adjusted: list[Array]
    children: list[Array]
    preceding: list[Array]
    descendants: list[Array]
    by_word: Array
    totals: Array

    def size(self, length: int) -> int:
        """How many n-grams of a length there are."""
        return int(self.by_word[length - 1].sum())

    def starting(self, length: int) -> Words:
        """Those of a length that begin with <s>."""
        if not self.words[0] <= BOS < self.words[1]:
            return 0, 0
        sizes = self.by_word[length - 1]
        start = int(sizes[: BOS - self.words[0]].sum())
        return start, start + int(sizes[BOS - self.words[0]])


def read_words(text: ClusterText) -> ReadWords:
    """Count the words of a text on the cluster.

    Raises:
        TextError: an empty text, or one that cannot be read.
    """
    options, given = text.options, text.vocabulary
    shared = text.blocks.context.broadcast(given)

    def count(blocks: Iterable[Any]) -> Iterator[CountedWords]:
        yield count_words(blocks, options, shared.value)

    parts: list[CountedWords] = text.blocks.mapPartitions(count).collect()
    shared.unpersist()
    sentences = sum(part.sentences for part in parts)
    tokens = sum(part.ids for part in parts) - sentences
    if tokens == 0:
        raise TextError("the text is empty: there is nothing to count")
    if given is not None:
        counts = np.sum([part.counts for part in parts], axis=0)
        return ReadWords(given, counts, sentences, tokens, 0)
    own = merged_words(parts, text.limits)
    return ReadWords(own.vocabulary, own.counts, sentences, tokens, own.unknown_types)


class ClusterCounts:
    """The counted n-grams of a text, on the cluster.

    Args:
        folder: for the columns that come to this machine.
        parts: of the model.
    """

    def __init__(
        self, text: ClusterText, words: ReadWords, order: int, folder: Path, parts: int
    ) -> None:
        self.order, self.words = order, words
        part_of = even_parts(words.word_counts, parts)
        self.part_of = part_of
        self.parts = int(part_of.max()) + 1
        borders = np.searchsorted(part_of, np.arange(self.parts + 1)).tolist()
        self.ranges: list[Words] = list(pairwise(borders))
        self.files = LevelFiles(
            folder, order, np.zeros((order, part_of.size), np.int64),
            np.zeros((order + 1, 2, 8), np.int64),
        )  # fmt: skip
        self.files.by_word[0] = 1
        self.continuations = np.zeros(part_of.size, np.int64)
        if order > 1:
            self.columns = self._counted(text)

    def _counted(self, text: ClusterText) -> Any:
        """An RDD of `PartColumns`, one a part."""
        shared = text.blocks.context.broadcast((self.words.vocabulary, self.part_of))
        options, order, ranges = text.options, self.order, self.ranges
        size = self.part_of.size
        bits = word_bits(size)

        def send(index: int, blocks: Iterable[Any]) -> Rows:
            vocabulary, part_of = shared.value
            return sent_windows(index, blocks, vocabulary, options, order, part_of)

        def count(index: int, rows: Rows) -> Iterator[PartColumns]:
            yield counted_part(in_order(rows, order + 1), ranges[index], bits, size)

        sent = text.blocks.mapPartitionsWithIndex(send)
        return exchanged_rows(sent, self.parts).mapPartitionsWithIndex(count).persist(on_disk())

    def gather(self, pruned: bool) -> None:
        """Bring what the driver needs: sums, and the columns of the model that are counts."""

        def summed(columns: Iterable[PartColumns]) -> Iterator[Any]:
            for part in columns:
                ends = np.unique(part.last_words[0], return_counts=True)
                yield part.by_word, part.totals, ends

        if self.order == 1:
            return
        for (low, high), (by_word, totals, ends) in zip(
            self.ranges, self.columns.mapPartitions(summed).collect(), strict=True
        ):
            self.files.by_word[1:, low:high] = by_word[1:]
            self.files.totals[:] += totals
            self.continuations[ends[0]] += ends[1]
        self.continuations[BOS] = self.words.word_counts[BOS]
        if not pruned:
            self._write_counts()

    def whole_histories(self, length: int) -> WholeHistories:
        """The counts that leave-one-out chooses a delta of additive smoothing by."""
        highest = length == self.order

        def found(columns: Iterable[PartColumns]) -> Iterator[WholeHistories]:
            for part in columns:
                children = part.children[length - 3] if length > 2 else part.by_word[1]
                occurrences = part.occurrences[length - 2]
                if not highest:
                    children = children[slice(*part.starting(length - 1))]
                    occurrences = occurrences[slice(*part.starting(length))]
                yield WholeHistories.of(children, occurrences)

        return WholeHistories.merged(self.columns.mapPartitions(found).collect())

    def _write_counts(self) -> None:
        order = self.order

        def chosen(columns: Iterable[PartColumns]) -> Iterator[Any]:
            for part in columns:
                yield part.last_words, part.children

        with ExitStack() as stack:
            lengths = range(2, order + 1)
            words: list[Any] = [stack.enter_context(self.files.words(k).writer()) for k in lengths]
            children: list[Any] = [
                stack.enter_context(self.files.children(k).writer()) for k in lengths[:-1]
            ]
            for part in self.columns.mapPartitions(chosen).toLocalIterator():
                for writers, columns in zip((words, children), part, strict=True):
                    for writer, column in zip(writers, columns, strict=True):
                        writer.append(column)


def counted_part(windows: Array, words: Words, bits: int, vocabulary_size: int) -> PartColumns:
    """The columns of the windows (W, order + 1) that begin with a range of words, in any order."""
    low, high = words
    order = windows.shape[1] - 1
    positions, starts = sort_by_word(windows[:, 1] - low, high - low, 1)
    pieces = list(count_windows(windows[positions], starts, bits, vocabulary_size, 1))
    by_word = np.zeros((order, high - low), np.int64)
    totals = np.zeros((order + 1, 2, 8), np.int64)
    for piece in pieces:
        first = piece.first_word - low
        by_word[:, first : first + piece.by_word.shape[1]] += piece.by_word
        totals += piece.totals
    by_word[0] = 1

    def joined(name: str, kind: Any, count: int) -> list[Array]:
        parts = [getattr(piece, name) for piece in pieces]
        return [
            np.concatenate([np.empty(0, kind), *(part[place] for part in parts)])
            for place in range(count)
        ]

    below = ("adjusted", "children", "preceding", "descendants")
    return PartColumns(
        words=words,
        last_words=joined("words", np.int32, order - 1),
        occurrences=joined("occurrences", np.uint32, order - 1),
        by_word=by_word,
        totals=totals,
        **{name: joined(name, np.uint32, order - 2) for name in below},
    )


def exchanged_rows(rows: Any, parts: int) -> Any:
    """Rows (part, ...) in the partitions of their parts."""
    return rows.partitionBy(parts, int)


def in_order(rows: Rows, columns: int) -> Array:
    """The rows that a part received as one array, by their senders."""
    arrays = [array for _, (_, array) in sorted(rows, key=lambda row: row[1][0])]
    return np.concatenate(arrays) if arrays else np.empty((0, columns), np.int32)


def on_disk() -> Any:
    """How what is needed again stays with the executors."""
    from pyspark import StorageLevel

    return StorageLevel.DISK_ONLY
