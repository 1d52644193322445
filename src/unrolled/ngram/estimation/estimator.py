"""From counts to an n-gram model: one pass an order, lowest first, for every smoothing method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from unrolled.ngram.counts.counting import NgramCounts
from unrolled.ngram.estimation import estimation_kernels as kernels
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.leave_one_out import WholeHistories
from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.shape import CHUNKS
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, return_memory, run_slices
from unrolled.text.vocabulary import BOS, UNK

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")


@dataclass
class Estimate:
    """A model's table, and the record of what made it, see `Rules.record`."""

    table: NgramTable
    record: dict[str, Any] = field(default_factory=dict)


def estimate(
    counts: NgramCounts,
    config: NgramConfig,
    *,
    threads: int = 2,
    report: Callable[[str], None] | None = None,
) -> Estimate:
    """Estimate the model that ``config`` asks for; uses up ``counts``.

    Raises:
        TextError: with ``strict``, when a discount has no closed form; names order and count.
    """
    return _Estimator(counts, config, threads, report or (lambda stage: None)).run()


class _Estimator:
    """The passes over the orders, with what they share."""

    def __init__(
        self,
        counts: NgramCounts,
        config: NgramConfig,
        threads: int,
        report: Callable[[str], None],
    ) -> None:
        self.counts = counts
        self.config = config
        self.threads = threads
        self.report = report
        self.rules = Rules(config, counts.vocabulary_size)
        self.smoothing = self.rules.smoothing
        self.suffixes = counts.suffixes
        if config.smoothing == "katz":  # its back-off weights need suffixes and probabilities
            self.probabilities = np.zeros(self.suffixes.size, np.float32)
        else:
            self.probabilities = self.suffixes.view(np.float32)
        # A context's weight is written by the next order, so that its count can stand there before.
        self.backoffs = np.empty(int(counts.levels[-2]), np.float32)
        self.used = self.occurrences = np.empty(0, np.uint32)

    def run(self) -> Estimate:
        counts = self.counts
        keep = self._keep()
        for length in range(1, counts.order + 1):
            self.report(f"estimating order {length}")
            return_memory()
            if 1 < length < counts.order:
                self._make_counts(length)
            if length == 1:
                self.probabilities[: counts.vocabulary_size] = self.rules.unigrams(self._counted(1))
            elif self.config.smoothing == "katz":
                self._katz(length)
            elif self.config.smoothing == "stupid-backoff":
                self._relative(length)
            else:
                self._interpolate(length, self.config.cutoff(length))
            if self.config.smoothing == "additive" and length < counts.order:
                self._flatten(length)
        self.occurrences = self.used
        counts.release()
        return Estimate(self._table(keep), self.rules.record())

    def _counted(self, length: int, out: Array | None = None) -> Array:
        """The counts that probabilities are made of."""
        if self.smoothing.continuation:
            return self.counts.adjusted_counts(length, out=out)
        return self.counts.counts(length, out=out)

    def _make_counts(self, length: int) -> None:
        """``used``, counts of an order below the highest, and ``occurrences``, for the cut-off."""
        self.occurrences = self.used  # free those of the order before
        room = self.backoffs[self.counts.level(length)].view(np.uint32)
        self.occurrences = self.used = self._counted(length, room)
        if self.config.cutoff(length):
            self.occurrences = self.counts.counts(length)

    def _each(self, length: int, task: Callable[..., Result]) -> list[Result]:
        """``task(start, stop, base, used, occurrences)`` for all contexts of an order's n-grams.

        ``base`` is the node that the counts begin with. Those of the highest order, where used are
        always occurrences, are made for a slice at a time: they would be the peak of memory.
        """
        counts, base = self.counts, self.counts.level(length).start
        if length < counts.order:
            work = [
                (*cut, base, self.used, self.occurrences) for cut in counts.context_slices(length)
            ]
            return run_slices(task, work, self.threads)

        def made(low: int, high: int) -> Result:
            words = low, high
            used = counts.counts(length, words=words)
            base = counts.starting(length, words)[0]
            return task(*counts.starting(length - 1, words), base, used, used)

        return run_slices(made, counts.shares(CHUNKS), self.threads)

    def _keep(self) -> Array:
        """Which nodes survive the cut-offs, (G,) bool."""
        keep = np.ones(self.suffixes.size if self.config.prune else 0, bool)
        if self.config.prune:
            for length in range(2, self.counts.order + 1):
                occurrences = self.counts.counts(length)
                keep[self.counts.level(length)] = occurrences > self.config.cutoff(length)
        return keep

    def _count_of_counts(self, length: int) -> Array:
        """How many n-grams of ``length`` words >= 2 have the count 0, 1, ... 7; (8,) int64."""
        first = self.counts.first

        def counted(start: int, stop: int, base: int, used: Array, _occurrences: Array) -> Array:
            totals = np.zeros(8, np.int64)
            here = slice(int(first[start]) - base, int(first[stop]) - base)
            kernels.count_of_counts(used[here], totals)
            return totals

        return sum(self._each(length, counted), np.zeros(8, np.int64))

    def _whole_histories(self, length: int) -> WholeHistories:
        """The counts that leave-one-out chooses a delta by."""
        counts = self.counts

        def found(
            start: int, stop: int, base: int, used: Array, _occurrences: Array
        ) -> WholeHistories:
            borders = counts.first[start : stop + 1].astype(np.int64) - base
            return WholeHistories.of(np.diff(borders), used[borders[0] : borders[-1]])

        if length == counts.order:
            return WholeHistories.merged(self._each(length, found))
        used = counts.counts(length, words=(BOS, BOS + 1))
        return found(*counts.starting(length - 1), counts.starting(length)[0], used, used)

    def _interpolate(self, length: int, cutoff: int) -> None:
        if self.rules.leaves_one_out:
            self.rules.choose_delta(length, self._whole_histories(length))
        weights = self.rules.interpolation(length, self._count_of_counts(length))

        def task(start: int, stop: int, base: int, used: Array, occurrences: Array) -> None:
            kernels.interpolate(
                self.counts.first, start, stop, used, occurrences, cutoff, base, *weights,
                self.suffixes, self.probabilities, self.backoffs,
            )  # fmt: skip

        self._each(length, task)

    def _katz(self, length: int) -> None:
        """Discounted probabilities; their back-off weights come last, from the logarithms."""
        ratios = self.rules.katz(length, self._count_of_counts(length))
        cutoff = self.config.cutoff(length)

        def task(start: int, stop: int, base: int, used: Array, occurrences: Array) -> None:
            kernels.discount_ratios(
                self.counts.first, start, stop, used, occurrences, cutoff, base, ratios,
                self.probabilities,
            )  # fmt: skip

        self._each(length, task)
        self.backoffs[self.counts.level(length - 1)] = 1

    def _relative(self, length: int) -> None:
        """Stupid back-off: plain relative frequencies, one factor for every step back."""
        self._interpolate(length, cutoff=0)  # what is cut off gives nothing to others
        above = self.counts.level(length - 1)
        self.backoffs[above] = self.config.backoff

    def _flatten(self, length: int) -> None:
        """Additive smoothing backs off to the uniform distribution at once (Lidstone's rule).

        So every order below the highest becomes uniform, its contexts with weight 1, except
        after <s>, where a shorter context is all the history there is.
        """
        impossible = self.probabilities[UNK] == 0
        self._set_except_starting(self.probabilities, length, 1 / self.rules.uniform_size)
        if length == 1 and impossible:
            self.probabilities[UNK] = 0  # the vocabulary is closed
        if length > 1:
            self._set_except_starting(self.backoffs, length - 1, 1.0)

    def _set_except_starting(self, values: Array, length: int, value: float) -> None:
        here = self.counts.level(length)
        low, high = self.counts.starting(length)
        values[here.start : low] = value
        values[high : here.stop] = value

    def _table(self, keep: Array) -> NgramTable:
        """Take logarithms in place; the table of the n-grams that ``keep`` marks."""
        with np.errstate(divide="ignore"):
            for values in (self.probabilities, self.backoffs):
                cuts = even_slices(values.size, CHUNKS)
                run_slices(_take_log, [(values[low:high],) for low, high in cuts], self.threads)
        table = NgramTable(
            self.counts.levels,
            self.counts.words,
            self.counts.bits,
            self.counts.first,
            self.probabilities,
            self.backoffs,
        )
        table = table.select(keep) if keep.size else table
        if self.config.smoothing == "katz":
            suffixes = table.link_suffixes() if keep.size else self.suffixes
            table.renew_backoffs(suffixes, None, self.rules.predicted, threads=self.threads)
        return table


def _take_log(values: Array) -> None:
    with np.errstate(divide="ignore"):
        np.log(values, out=values)
