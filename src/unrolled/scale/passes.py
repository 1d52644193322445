"""Estimate a model from columns in files: one pass an order, one part of the words at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.table import ROUNDING
from unrolled.runtime.threads import run_ahead
from unrolled.scale.estimation import (
    LevelCounts,
    discounted,
    interpolated,
    logarithms,
    renewed,
)
from unrolled.scale.exchange import arranged, sent_rows
from unrolled.scale.level_files import LevelFiles
from unrolled.storage.columns import Column, ColumnWriter
from unrolled.text.vocabulary import BOS, UNK

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

SENT = 1 << 19  # rows that are sorted at once to be sent


class Passes:
    """Estimation in files: call `unigrams`, then `order` for 2, 3 and so on.

    Attributes:
        files: the columns. rules: of the smoothing method.
        parts: ranges of first words, each small enough to be held in memory.
        unigram_probabilities: (V,) float32 probabilities of order 1, not logarithms.
    """

    def __init__(self, files: LevelFiles, rules: Rules, parts: list[Words], threads: int) -> None:
        self.files, self.rules, self.parts, self.threads = files, rules, parts, threads
        self.part_of = np.empty(files.by_word.shape[1], np.uint16)
        for number, (low, high) in enumerate(parts):
            self.part_of[low:high] = number
        self.unigram_probabilities = np.empty(0, np.float32)
        self.unigram_sums = np.empty(0)
        self._method = rules.config.smoothing

    @property
    def _order(self) -> int:
        return self.files.order

    # -- unigrams --------------------------------------------------------------------------------

    def unigrams(self, word_counts: Array) -> None:
        """Probabilities of order 1.

        Args:
            word_counts: (V,) how often each word occurs.
        """
        counts = word_counts
        if self.rules.smoothing.continuation and self._order > 1:
            counts = np.zeros(word_counts.size, np.int64)
            for words in self.files.words(2).chunks():
                counts += np.bincount(words, minlength=counts.size)
            counts[BOS] = word_counts[BOS]
        probabilities = self.rules.unigrams(counts).astype(np.float32)
        if self._method == "additive" and self._order > 1:
            impossible = probabilities[UNK] == 0
            self._flatten(probabilities, (BOS, BOS + 1), 1 / self.rules.uniform_size)
            if impossible:
                probabilities[UNK] = 0  # the vocabulary is closed
        self.unigram_probabilities = probabilities

    def unigram_log_probs(self) -> Array:
        """Log-probabilities of order 1, (V,) float32."""
        return logarithms(self.unigram_probabilities.copy(), self.threads)

    # -- higher orders ---------------------------------------------------------------------------

    def order(self, length: int) -> None:
        """Probabilities of an order from 2, and the back-off weights of its contexts."""
        own = self.rules.smoothing.continuation and length < self._order
        totals = self.files.totals[length, 0 if own else 1]
        katz = self._method == "katz"
        taken: Any = self.rules.katz if katz else self.rules.interpolation
        numbers = taken(length, totals)
        with _Pass(self, length, own) as stage:
            for words in self.parts:
                if katz:
                    self._katz(stage, words, numbers)
                else:
                    self._interpolate(stage, words, numbers)
        if katz and length == 2:
            self.unigram_sums = np.concatenate(stage.sums)
        self._remove_read(length)

    def _interpolate(self, stage: _Pass, words: Words, weights: tuple[Array, float, float]) -> None:
        length = stage.length
        lower = self._lower(stage, words)
        counts = stage.read(words)
        starting = self.files.starting(length, words)
        if self._method == "stupid-backoff":  # what is cut off gives nothing to others
            plain = LevelCounts(counts.first, counts.used, counts.occurrences, 0)
            backoffs = interpolated(plain, lower, weights, self.threads)
            backoffs[:] = self.rules.config.backoff
        else:
            backoffs = interpolated(counts, lower, weights, self.threads)
        if self._method == "additive" and length < self._order:
            self._flatten(lower, starting, 1 / self.rules.uniform_size)
            self._flatten(backoffs, self.files.starting(length - 1, words), 1.0)
        if length < self._order:
            stage.send("lower", length, starting, lower)
        logarithms(lower, self.threads)
        logarithms(backoffs, self.threads)
        stage.write(counts, lower, backoffs)

    def _katz(self, stage: _Pass, words: Words, ratios: Array) -> None:
        length = stage.length
        lower, whole = self._lower(stage, words), self._whole(stage, words)
        counts = stage.read(words)
        log_probs = logarithms(discounted(counts, ratios, self.threads), self.threads)
        keep = counts.occurrences > counts.cutoff if counts.cutoff else np.ones(lower.size, bool)
        log_probs, backoffs, sums = renewed(
            counts.first, log_probs, lower, keep, whole, self.rules.predicted, self.threads
        )
        if length < self._order:
            stage.send("lower", length, self.files.starting(length, words), log_probs)
        if length == 2:
            stage.sums.append(sums)
        elif length < self._order:
            stage.send("sums", length - 1, self.files.starting(length - 1, words), sums)
        stage.write(counts, log_probs, backoffs)

    def _flatten(self, values: Array, starting: Words, value: float) -> None:
        """Additive smoothing backs off to the uniform distribution at once, but for <s>."""
        values[: starting[0]] = value
        values[starting[1] :] = value

    def _lower(self, stage: _Pass, words: Words) -> Array:
        """The lower-order number of each n-gram, (N,) float32."""
        bigram_words = stage.read_bigrams(words)
        if stage.length > 2:
            rows = stage.received("lower", stage.length, words, 1)
            return rows.view(np.float32).reshape(-1)
        unigram = self.unigram_probabilities
        if self._method == "katz":
            unigram = self.unigram_log_probs()
        return unigram[bigram_words]

    def _whole(self, stage: _Pass, words: Words) -> Array:
        """What all words after the suffix of each context sum to, (contexts,) float64."""
        if stage.length == 2:
            logs = self.unigram_log_probs()
            total = float(np.exp(logs, dtype=np.float64).sum())
            return np.full(words[1] - words[0], total if abs(total - 1) <= ROUNDING else 1.0)
        if stage.length == 3:
            return self.unigram_sums[stage.bigram_words]
        rows = stage.received("sums", stage.length - 1, words, 2)
        return rows.view(np.float64).reshape(-1)

    def _remove_read(self, length: int) -> None:
        """Remove the files that nothing reads after the pass of an order."""
        for part in range(len(self.parts)):
            self.files.received(length, part, "lower").unlink(missing_ok=True)
            self.files.received(length - 1, part, "sums").unlink(missing_ok=True)


class _Pass:
    """The files that the pass of one order reads and writes."""

    def __init__(self, passes: Passes, length: int, own: bool) -> None:
        self.passes, self.files, self.length = passes, passes.files, length
        self.sums: list[Array] = []
        self.bigram_words = np.empty(0, np.int32)
        self._own = own
        self._stack = ExitStack()
        files, order = self.files, self.files.order
        self._cutoffs = [passes.rules.config.cutoff(k) for k in range(order + 1)]
        self._prune = bool(passes.rules.config.prune)
        opened = self._stack.enter_context
        self._occurrences = opened(files.occurrences(length).reader())
        self._bigrams = opened(files.words(2).reader())
        if length > 2:
            self._children = opened(files.children(length - 1).reader())
            self._descendants = opened(files.descendants(length).reader())
        if length > 3 and passes.rules.config.smoothing == "katz":
            self._context_descendants = opened(files.descendants(length - 1).reader())
        self._lists: dict[int, tuple[Any, Any]] = {}
        self._sent: dict[str, list[ColumnWriter]] = {}
        if length < order:
            self._open_sent("lower", length, 1)
            if passes.rules.config.smoothing == "katz" and length > 2:
                self._open_sent("sums", length - 1, 2)
        self._adjusted = np.empty(0, np.uint32)
        self._log_probs = opened(files.log_probs(length).writer())
        self._backoffs = opened(files.backoffs(length - 1).writer())
        if self._prune:
            self._words = opened(files.words(length).reader())
            self._kept_words = opened(files.kept_words(length).writer())
            self._kept_children = opened(files.kept_children(length - 1).writer())
            if length > 2:
                self._context_occurrences = opened(files.occurrences(length - 1).reader())

    def _open_sent(self, kind: str, length: int, columns: int) -> None:
        """Open what is sent from a length to the next."""
        opened, files = self._stack.enter_context, self.files
        self._lists[length] = (
            opened(files.adjusted(length).reader()), opened(files.preceding(length).reader())
        )  # fmt: skip
        self._sent[kind] = [
            opened(Column(files.received(length + 1, part, kind), np.uint32, 1 + columns).writer())
            for part in range(len(self.passes.parts))
        ]

    def __enter__(self) -> _Pass:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def read_bigrams(self, words: Words) -> Array:
        """Second words of the bigrams of a part."""
        self.bigram_words = self._bigrams.read(int(self.files.sizes(2, words).sum()))
        return self.bigram_words

    def read(self, words: Words) -> LevelCounts:
        """The counts of a part's n-grams of the length."""
        sizes = self.files.sizes(self.length, words)
        occurrences = used = self._occurrences.read(int(sizes.sum()))
        if self.length < self.files.order:
            self._adjusted = self._lists[self.length][0].read(occurrences.size)
            used = self._adjusted if self._own else occurrences
        if self.length == 2:
            children = sizes
        else:
            children = self._children.read(int(self.files.sizes(self.length - 1, words).sum()))
        return LevelCounts.of(children, used, occurrences, self._cutoffs[self.length])

    def received(self, kind: str, length: int, words: Words, columns: int) -> Array:
        """What was sent to a part's n-grams of a length, in their order."""
        part = int(self.passes.part_of[words[0]])
        column = Column(self.files.received(length, part, kind), np.uint32, 1 + columns)
        with column.reader() as reader:
            rows = reader.read(len(column))
        column.remove()
        source = self._descendants if length == self.length else self._context_descendants
        starts, bigrams = (_starts(self.files.sizes(k, words)) for k in (length, 2))
        descendants = source.read(self.bigram_words.size)
        return arranged(rows, words[0], starts, (self.bigram_words, descendants, bigrams))

    def send(self, kind: str, length: int, starting: Words, values: Array) -> None:
        """Send each n-gram's number to the n-grams one word longer that end in it."""
        adjusted, preceding = self._lists[length]
        sizes = self._adjusted if length == self.length else adjusted.read(values.size)
        bits = values.view(np.uint32).reshape(-1, values.itemsize // 4)
        part_of = self.passes.part_of

        def pieces() -> Iterator[tuple[Array, Words, Array, Array]]:
            for low, high in _even_rows(sizes, starting):
                own = min(max(starting[0] - low, 0), high - low), max(starting[1] - low, 0)
                count = int(sizes[low:high].sum(dtype=np.int64))
                count -= int(sizes[low:high][own[0] : own[1]].sum(dtype=np.int64))
                yield sizes[low:high], own, preceding.read(count), bits[low:high]

        work = run_ahead(lambda piece: sent_rows(*piece, part_of), pieces(), self.passes.threads)
        for rows in work:
            for writer, part in zip(self._sent[kind], rows, strict=True):
                writer.append(part)

    def write(self, counts: LevelCounts, log_probs: Array, backoffs: Array) -> None:
        """Write the numbers of a part that the model keeps."""
        if not self._prune:
            self._log_probs.append(log_probs)
            self._backoffs.append(backoffs)
            return
        keep = counts.occurrences > counts.cutoff
        before = np.zeros(keep.size + 1, np.uint32)
        np.cumsum(keep, out=before[1:])
        children = before[counts.first[1:]] - before[counts.first[:-1]]
        if self.length > 2:
            occurrences = self._context_occurrences.read(counts.contexts)
            contexts = occurrences > self._cutoffs[self.length - 1]
            children, backoffs = children[contexts], backoffs[contexts]
        self._kept_words.append(self._words.read(keep.size)[keep])
        self._kept_children.append(children)
        self._log_probs.append(log_probs[keep])
        self._backoffs.append(backoffs)


def _starts(sizes: Array) -> Array:
    return np.concatenate([[0], np.cumsum(sizes)])


def _even_rows(sizes: Array, starting: Words) -> list[Words]:
    """Ranges of n-grams that send about SENT rows each."""
    if sizes.size == 0:
        return []
    ends = np.cumsum(sizes, dtype=np.int64)
    cuts = np.searchsorted(ends, np.arange(SENT, int(ends[-1]), SENT)) + 1
    borders = np.unique(np.concatenate([[0], cuts, [sizes.size]]))
    return list(pairwise(borders.tolist()))
