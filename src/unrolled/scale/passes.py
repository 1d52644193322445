"""Estimate a model from columns in files: one pass an order, one part of the words at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from unrolled.ngram.estimation.leave_one_out import WholeHistories
from unrolled.ngram.estimation.rules import Rules
from unrolled.runtime.threads import run_within
from unrolled.scale.exchange import Sender
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.parts import Estimated, Part, PartEstimator, Unigrams
from unrolled.storage.columns import Column, ColumnReader, ColumnWriter, CountReader
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]
Words = tuple[int, int]


def unigrams(files: LevelFiles, rules: Rules, word_counts: Array) -> Unigrams:
    """Order 1, from how often each word occurs, (V,)."""
    counts, highest = word_counts, files.order == 1
    if rules.smoothing.continuation and not highest:
        counts = np.zeros(word_counts.size, np.int64)
        for words in files.words(2).chunks():
            counts += np.bincount(words, minlength=counts.size)
        counts[BOS] = word_counts[BOS]
    return Unigrams.of(rules, counts, highest)


def whole_histories(files: LevelFiles, parts: list[Words], length: int) -> WholeHistories:
    """The counts that leave-one-out chooses a delta of additive smoothing by."""
    found = []
    with ExitStack() as stack:
        occurrences = stack.enter_context(files.occurrences(length).reader())
        if length > 2:
            contexts = stack.enter_context(files.children(length - 1).reader())
        for words in parts:
            counts = occurrences.read(int(files.sizes(length, words).sum()))
            children = files.sizes(2, words)
            if length > 2:
                children = contexts.read(int(files.sizes(length - 1, words).sum()))
            if length < files.order:
                counts = counts[slice(*files.starting(length, words))]
                children = children[slice(*files.starting(length - 1, words))]
            found.append(WholeHistories.of(children, counts))
            if length < files.order and words[1] > BOS:
                break  # all that begin with <s> are read
    return WholeHistories.merged(found)


def estimate_order(
    files: LevelFiles,
    parts: list[Words],
    estimator: PartEstimator,
    at_once: int,
    threads: int,
    progress: Callable[[int], None],
) -> Array | None:
    """Estimate all n-grams of one length, and send their numbers to the next.

    Args:
        at_once: how many n-grams may be in memory, or a single part.
        progress: called with the number of n-grams that were estimated since the last call.

    Returns:
        For Katz at length 2: what all words after each word sum to, (V,) float64.
    """
    sums = []
    with _Pass(files, parts, estimator) as stage:
        read = (stage.read(number) for number in range(len(parts)))
        sizes = [int(files.by_word[:, low:high].sum(axis=1).max()) for low, high in parts]
        for estimated in run_within(estimator.estimate, read, sizes, at_once, threads):
            stage.write(estimated)
            if estimated.sums is not None:
                sums.append(estimated.sums)
            progress(estimated.log_probs.size)
    return np.concatenate(sums) if sums else None


class _Pass:
    """The files that the pass of one order reads and writes."""

    def __init__(self, files: LevelFiles, parts: list[Words], estimator: PartEstimator) -> None:
        self._files, self._parts, self._length = files, parts, estimator.length
        self._part_of = np.repeat(
            np.arange(len(parts), dtype=np.uint16), [high - low for low, high in parts]
        )
        self._stack = ExitStack()
        self._readers: dict[str, CountReader | ColumnReader] = {}
        self._sent: list[ColumnWriter] = []
        self._sums_sent: list[ColumnWriter] = []
        length, katz, pruned = estimator.length, estimator.katz, bool(estimator.config.prune)
        opened, inner = self._stack.enter_context, length < files.order
        columns: dict[str, Any] = {
            "bigram_words": files.words(2),
            "occurrences": files.occurrences(length),
        }
        if inner:
            columns |= {"adjusted": files.adjusted(length), "preceding": files.preceding(length)}
            self._sent = self._sending("lower", length, 1)
        if length > 2:
            columns |= {
                "children": files.children(length - 1),
                "descendants": files.descendants(length),
            }
        if katz and length > 2 and inner:
            columns["context_adjusted"] = files.adjusted(length - 1)
            columns["context_preceding"] = files.preceding(length - 1)
            self._sums_sent = self._sending("sums", length - 1, 2)
        if katz and length > 3:
            columns["context_descendants"] = files.descendants(length - 1)
        if pruned:
            columns["last_words"] = files.words(length)
            if length > 2:
                columns["context_occurrences"] = files.occurrences(length - 1)
            self._kept_words = opened(files.kept_words(length).writer())
            self._kept_children = opened(files.kept_children(length - 1).writer())
        self._log_probs = opened(files.log_probs(length).writer())
        self._backoffs = opened(files.backoffs(length - 1).writer())
        for name, column in columns.items():
            self._readers[name] = opened(column.reader())

    def _sending(self, kind: str, length: int, columns: int) -> list[ColumnWriter]:
        received = (
            Column(self._files.received(length + 1, part, kind), np.uint32, 1 + columns)
            for part in range(len(self._parts))
        )
        return [self._stack.enter_context(column.writer()) for column in received]

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def read(self, number: int) -> Part:
        """A part; parts are read in their order."""
        words, length = self._parts[number], self._length
        sizes = self._files.by_word[:length, words[0] : words[1]]
        totals = sizes.sum(axis=1).tolist()
        count, contexts, bigrams = totals[length - 1], totals[length - 2], totals[1]
        given: dict[str, Any] = {"length": length, "words": words, "sizes": sizes}
        for name, size in (
            ("occurrences", count), ("adjusted", count), ("last_words", count),
            ("children", contexts), ("context_occurrences", contexts),
            ("bigram_words", bigrams), ("descendants", bigrams), ("context_descendants", bigrams),
        ):  # fmt: skip
            if name in self._readers:
                given[name] = self._readers[name].read(size)
        if length == 2:
            given["children"] = sizes[1].astype(np.uint32)
        else:
            given["received"] = self._received("lower", length, number, 1)
        if "context_descendants" in given:
            given["context_received"] = self._received("sums", length - 1, number, 2)
        if self._sent:
            given["sender"] = self._sender(length, words, given["adjusted"], "preceding")
        if self._sums_sent:
            adjusted = self._readers["context_adjusted"].read(contexts)
            given["context_sender"] = self._sender(length - 1, words, adjusted, "context_preceding")
        return Part(**given)

    def _received(self, kind: str, length: int, part: int, columns: int) -> Array:
        column = Column(self._files.received(length, part, kind), np.uint32, 1 + columns)
        with column.reader() as reader:
            return reader.read(len(column))

    def _sender(self, length: int, words: Words, adjusted: Array, preceding: str) -> Sender:
        starting = self._files.starting(length, words)
        count = int(adjusted.sum(dtype=np.int64))
        count -= int(adjusted[starting[0] : starting[1]].sum(dtype=np.int64))
        before = self._readers[preceding].read(count)
        return Sender(adjusted, starting, before, self._part_of, len(self._parts))

    def write(self, estimated: Estimated) -> None:
        """Write what a part gave; parts are written in their order."""
        self._log_probs.append(estimated.log_probs)
        self._backoffs.append(estimated.backoffs)
        if estimated.last_words is not None and estimated.children is not None:
            self._kept_words.append(estimated.last_words)
            self._kept_children.append(estimated.children)
        for writers, rows in (
            (self._sent, estimated.sent), (self._sums_sent, estimated.sums_sent)
        ):  # fmt: skip
            for writer, part in zip(writers, rows, strict=True):
                writer.append(part)


def remove_read(files: LevelFiles, length: int, parts: int, *, katz: bool, pruned: bool) -> None:
    """Remove the files that no pass after that of a length reads."""
    done = length - 1 if katz else length
    for part in range(parts):
        files.received(length, part, "lower").unlink(missing_ok=True)
        files.received(length - 1, part, "sums").unlink(missing_ok=True)
    if done >= 2:
        files.preceding(done).remove()
        files.adjusted(done).remove()
    if done > 2:
        files.descendants(done).remove()
    files.occurrences(length - 1 if pruned else length).remove()
    if pruned and length > 2:
        files.children(length - 1).remove()
        if length > 3:
            files.words(length - 1).remove()
