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
from unrolled.scale.parts import Estimated, Part, Step, Unigrams, starting_ngrams
from unrolled.scale.ranges import Ranges
from unrolled.storage.columns import (
    Column,
    ColumnReader,
    ColumnWriter,
    CountColumn,
    CountReader,
)
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
    ranges: Ranges,
    step: Step,
    at_once: int,
    threads: int,
    progress: Callable[[int], None],
) -> Array | None:
    """Estimate, or round, all n-grams of one length, and send their numbers to the next.

    Args:
        at_once: how many n-grams may be in memory, or a single part.
        progress: called with the number of n-grams that are done since the last call.

    Returns:
        `Estimated.sums` of all words.
    """
    sums = []
    with _Pass(files, ranges, step) as stage:
        read = (stage.read(number) for number in range(len(stage.parts)))
        sizes = [part.largest(step.length) for part in stage.parts]
        for estimated in run_within(step.estimate, read, sizes, at_once, threads):
            stage.write(estimated)
            if estimated.sums is not None:
                sums.append(estimated.sums)
            progress(next(iter(estimated.columns.values())).size)
    return np.concatenate(sums) if sums else None


class _Pass:
    """The files that the pass of one order reads and writes."""

    def __init__(self, files: LevelFiles, ranges: Ranges, step: Step) -> None:
        self._files, self._step, self._length = files, step, step.length
        self.parts = ranges.of_length(files, step.length)
        self._routes = ranges.routes(files.by_word.shape[1])
        self._stack = ExitStack()
        self._sent: list[ColumnWriter] = []
        self._sums_sent: list[ColumnWriter] = []
        length, opened = step.length, self._stack.enter_context
        if length < files.order:
            self._sent = self._sending("lower", length, step.width)
            if step.sends_sums and length > 2:
                self._sums_sent = self._sending("sums", length - 1, 2)
        outputs: dict[str, Any] = dict(step.outputs(files))
        self._writers = {name: opened(column.writer()) for name, column in outputs.items()}
        columns: dict[str, Any] = dict(self._columns())
        self._readers: dict[str, CountReader | ColumnReader] = {
            name: opened(column.reader()) for name, column in columns.items()
        }

    def _columns(self) -> dict[str, Column | CountColumn]:
        """The columns that are read."""
        files, step, length = self._files, self._step, self._length
        columns: dict[str, Column | CountColumn] = {"bigram_words": files.words(2)}
        inner, pruned = length < files.order, bool(step.config.prune)
        if inner:
            columns |= {"adjusted": files.adjusted(length), "preceding": files.preceding(length)}
        if length > 2:
            columns |= {
                "children": files.children(length - 1),
                "descendants": files.descendants(length),
            }
        if step.sends_sums and length > 2 and inner:
            columns["context_adjusted"] = files.adjusted(length - 1)
            columns["context_preceding"] = files.preceding(length - 1)
        if step.sends_sums and length > 3:
            columns["context_descendants"] = files.descendants(length - 1)
        if pruned or not step.rounds:
            columns["occurrences"] = files.occurrences(length)
        if pruned and length > 2:
            columns["context_occurrences"] = files.occurrences(length - 1)
        if step.rounds:
            columns |= {
                "log_probs": files.log_probs(length),
                "backoffs": files.backoffs(length - 1),
            }
        elif pruned:
            columns["last_words"] = files.words(length)
        return columns

    def _sending(self, kind: str, length: int, columns: int) -> list[ColumnWriter]:
        received = (
            Column(self._files.received(length + 1, part, kind), np.uint32, 1 + columns)
            for part in range(self._routes.parts)
        )
        return [self._stack.enter_context(column.writer()) for column in received]

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def read(self, number: int) -> Part:
        """A part; parts are read in their order."""
        words, length = self.parts[number].words, self._length
        sizes = self.parts[number].sizes[:length]
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
            given["received"] = self._received("lower", length, number, self._step.width)
        if "context_descendants" in given:
            given["context_received"] = self._received("sums", length - 1, number, 2)
        if self._step.rounds:
            given |= self._estimated(given, count, contexts)
        if self._sent:
            given["sender"] = self._sender(length, number, given["adjusted"], "preceding")
        if self._sums_sent:
            adjusted = self._readers["context_adjusted"].read(contexts)
            given["context_sender"] = self._sender(
                length - 1, number, adjusted, "context_preceding"
            )
        return Part(**given)

    def _estimated(self, given: dict[str, Any], count: int, contexts: int) -> dict[str, Array]:
        """The log-probabilities and back-off weights that the cut-offs left."""
        config, length = self._step.config, self._length
        if "occurrences" in given:
            count = int((given["occurrences"] > config.cutoff(length)).sum())
        if "context_occurrences" in given:
            kept = given["context_occurrences"] > config.cutoff(length - 1)
            contexts = int(kept.sum())
        return {
            "log_probs": self._readers["log_probs"].read(count),
            "backoffs": self._readers["backoffs"].read(contexts),
        }

    def _received(self, kind: str, length: int, part: int, columns: int) -> Array:
        column = Column(self._files.received(length, part, kind), np.uint32, 1 + columns)
        with column.reader() as reader:
            return reader.read(len(column))

    def _sender(self, length: int, number: int, adjusted: Array, preceding: str) -> Sender:
        words, sizes = self.parts[number].words, self.parts[number].sizes[length - 1]
        starting = starting_ngrams(words, sizes)
        count = int(adjusted.sum(dtype=np.int64))
        count -= int(adjusted[starting[0] : starting[1]].sum(dtype=np.int64))
        before = self._readers[preceding].read(count)
        return Sender(adjusted, starting, before, words[0], sizes, self._routes)

    def write(self, estimated: Estimated) -> None:
        """Write what a part gave; parts are written in their order."""
        for name, writer in self._writers.items():
            writer.append(estimated.columns[name])
        for writers, rows in (
            (self._sent, estimated.sent), (self._sums_sent, estimated.sums_sent)
        ):  # fmt: skip
            for writer, part in zip(writers, rows, strict=True):
                writer.append(part)


def remove_read(files: LevelFiles, step: Step, parts: int, *, rounded_later: bool = False) -> None:
    """Remove the files that no later pass reads.

    Args:
        step: that has been finished. parts: how many there are.
        rounded_later: the same n-grams are to be rounded, which reads their counts again.
    """
    length, pruned = step.length, bool(step.config.prune)
    for part in range(parts):
        files.received(length, part, "lower").unlink(missing_ok=True)
        files.received(length - 1, part, "sums").unlink(missing_ok=True)
    if step.rounds:
        files.log_probs(length).remove()
        files.backoffs(length - 1).remove()
    elif rounded_later:
        if not pruned:
            files.occurrences(length).remove()
        return
    done = length - 1 if step.sends_sums else length
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
