"""N-gram models trained on a Spark cluster: the steps of this folder between Spark's exchanges.

1. Each part of the text counts its words; the driver merges them into the vocabulary.
2. Each part of the text sends its windows to the parts of the model (the first exchange), which
   count their n-grams.
3. For each order the driver makes the discounts from the sums of the parts, and each part of the
   model estimates its n-grams and sends their numbers to those one word longer (the second
   exchange). The driver writes what comes back to files, as columns of the model.

What a machine loses is made again by Spark from the text, and comes out the same: rows that arrive
are put in the order of their senders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import TextError
from unrolled.ngram.counts.counting import sort_by_word
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.leave_one_out import WholeHistories
from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.exchange import Sender
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.model_arrays import Source, trie_arrays
from unrolled.scale.parts import Part, PartEstimator, Unigrams
from unrolled.scale.spark_text import (
    CHUNK_BYTES,
    CountedWords,
    count_words,
    even_parts,
    merged_words,
    sent_windows,
)
from unrolled.scale.windows import count_windows
from unrolled.text.options import TextOptions, VocabularyLimits
from unrolled.text.vocabulary import BOS, UNK, Vocabulary

Array = np.ndarray[Any, Any]
Words = tuple[int, int]
Report = Callable[[str], None]
Rows = Iterable[tuple[int, tuple[tuple[int, int], Array]]]

PART_TOKENS = 4_000_000  # of the text, for each part of the model


@dataclass(frozen=True)
class ClusterText:
    """A text on a cluster: its parts in order, and what is known of it.

    Attributes:
        blocks: an RDD of `Block`, whose partitions are the parts.
        options: how it becomes tokens.
        words: the vocabulary if one was given, and its limits.
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
            yield counted_part(_in_order(rows, order + 1), ranges[index], bits, size)

        sent = text.blocks.mapPartitionsWithIndex(send)
        return _exchanged(sent, self.parts).mapPartitionsWithIndex(count).persist(_on_disk())

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


def estimated_on_cluster(
    counts: ClusterCounts, config: NgramConfig, report: Report
) -> tuple[dict[str, Source], Rules]:
    """The arrays of the model, and what the smoothing took from the counts."""
    files, pruned = counts.files, bool(config.prune) and counts.order > 1
    rules = Rules(config, counts.part_of.size)
    used, highest = counts.words.word_counts, counts.order == 1
    if rules.smoothing.continuation and not highest:
        used = counts.continuations
    singles = Unigrams.of(rules, used, highest)
    lower = sums = None
    for length in range(2, counts.order + 1):
        report(f"estimating order {length} on the cluster")
        if rules.leaves_one_out:
            rules.choose_delta(length, counts.whole_histories(length))
        estimator = PartEstimator(rules, length, files.totals[length], singles)
        results = _estimated(counts, estimator, lower, sums)
        own_sums = _write_results(counts, results, length, pruned)
        if own_sums:
            singles = replace(singles, sums=np.concatenate(own_sums))
        lower, sums = _sent(results, counts.parts, "lower"), _sent(results, counts.parts, "sums")
    arrays = trie_arrays(files, singles.log_probs, pruned=pruned, threads=1)
    return arrays, rules


def _estimated(counts: ClusterCounts, estimator: PartEstimator, lower: Any, sums: Any) -> Any:
    """An RDD of what each part gives: ("result", ...), and ("lower" or "sums", rows)."""
    context = counts.columns.context
    shared = context.broadcast((estimator, counts.part_of, counts.parts))
    nothing = context.parallelize([None] * counts.parts, counts.parts)
    katz = estimator.katz and estimator.length > 3
    received = nothing if lower is None else lower.glom()
    more = sums.glom() if katz else nothing

    def estimate(pairs: Iterable[Any]) -> Iterator[Any]:
        for (columns, rows), other_rows in pairs:
            estimator, part_of, parts = shared.value
            part = _part(columns, estimator, rows, other_rows, (part_of, parts))
            made = estimator.estimate(part)
            kept = made.log_probs, made.backoffs, made.last_words, made.children
            yield "result", kept, made.sums
            for kind, sent in (("lower", made.sent), ("sums", made.sums_sent)):
                for target, all_rows in enumerate(sent):
                    size = max(CHUNK_BYTES // (4 * all_rows.shape[1]), 1)
                    for number, start in enumerate(range(0, len(all_rows), size)):
                        key = columns.words[0], number
                        yield kind, target, (key, all_rows[start : start + size])

    results = counts.columns.zip(received).zip(more).mapPartitions(estimate)
    return results.persist(_on_disk())


def _part(
    columns: PartColumns, estimator: PartEstimator, rows: Any, sums: Any, targets: tuple[Array, int]
) -> Part:
    """What `PartEstimator.estimate` takes."""
    length, order = estimator.length, estimator.config.order
    here, inner = length - 2, length < order
    given: dict[str, Any] = {"children": columns.by_word[1].astype(np.uint32)}
    if length > 2:
        given["children"] = columns.children[here - 1]
        given["descendants"] = columns.descendants[here - 1]
        given["received"] = _in_order(rows, 2).view(np.uint32)
    if inner:
        given["adjusted"] = columns.adjusted[here]
        given["sender"] = _sender(columns, length, targets)
    if estimator.katz and length > 2 and inner:
        given["context_sender"] = _sender(columns, length - 1, targets)
    if estimator.katz and length > 3:
        given["context_descendants"] = columns.descendants[here - 2]
        given["context_received"] = _in_order(sums, 3).view(np.uint32)
    if estimator.config.prune:
        given["last_words"] = columns.last_words[here]
        if length > 2:
            given["context_occurrences"] = columns.occurrences[here - 1]
    return Part(
        length, columns.words, columns.by_word[:length], occurrences=columns.occurrences[here],
        bigram_words=columns.last_words[0], **given,
    )  # fmt: skip


def _sender(columns: PartColumns, length: int, targets: tuple[Array, int]) -> Sender:
    place = length - 2
    starting = columns.starting(length)
    return Sender(columns.adjusted[place], starting, columns.preceding[place], *targets)


def _write_results(counts: ClusterCounts, results: Any, length: int, pruned: bool) -> list[Array]:
    """Append what the parts gave to the files; for Katz at length 2, what follows each word."""
    files, sums = counts.files, []
    results.foreachPartition(_exhaust)  # all parts side by side; below they come one by one
    with ExitStack() as stack:
        columns: list[Any] = [files.log_probs(length), files.backoffs(length - 1)]
        if pruned:
            columns += [files.kept_words(length), files.kept_children(length - 1)]
        writers = [stack.enter_context(column.writer()) for column in columns]
        kept = results.filter(lambda item: item[0] == "result")
        for _, arrays, own_sums in kept.toLocalIterator():
            for writer, array in zip(writers, arrays, strict=False):
                writer.append(array)
            if own_sums is not None:
                sums.append(own_sums)
    return sums


def _exhaust(items: Iterable[Any]) -> None:
    for _ in items:
        pass


def _sent(results: Any, parts: int, kind: str) -> Any:
    return _exchanged(
        results.filter(lambda item: item[0] == kind).map(lambda item: item[1:]), parts
    )


def _exchanged(rows: Any, parts: int) -> Any:
    """Rows (part, ...) in the partitions of their parts."""
    return rows.partitionBy(parts, int)


def _in_order(rows: Rows, columns: int) -> Array:
    """The rows that a part received as one array, by their senders."""
    arrays = [array for _, (_, array) in sorted(rows, key=lambda row: row[1][0])]
    return np.concatenate(arrays) if arrays else np.empty((0, columns), np.int32)


def _on_disk() -> Any:
    from pyspark import StorageLevel

    return StorageLevel.DISK_ONLY


def cluster_record(words: ReadWords, rules: Rules) -> dict[str, Any]:
    """What a model file keeps of its text and its estimation."""
    text = {
        "tokens": words.tokens,
        "sentences": words.sentences,
        "unknown": int(words.word_counts[UNK]),
        "unknown_types": words.unknown_types,
    }
    return {"text": text, **rules.record()}


def stored_settings(config: NgramConfig, options: TextOptions) -> dict[str, Any]:
    """The settings of a model file."""
    return {**asdict(config), "text": options.stored()}
