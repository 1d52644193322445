"""Count files within a budget of memory: lines to the columns of all n-grams, in files.

1. Each source is read once: its words, and its n-grams as rows of a file for each length.
2. From the longest n-grams on, each length is completed a range of first words at a time, in each
   source by itself: what the source lists, the contexts of its n-grams one word longer, and their
   suffixes, which lie in other ranges and were sent to this one.
3. The completed n-grams of a range, of all sources, become its columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import SettingError, UnrolledError
from unrolled.ngram.counts.count_files import checked_weights, no_such_order
from unrolled.ngram.counts.count_reader import MOST, contradiction, no_counts, read_rows, too_many
from unrolled.ngram.trie.layout import word_bits
from unrolled.ngram.trie.union import known_ids
from unrolled.scale.budget import Budget
from unrolled.scale.count_rows import LevelRows, columns_of, distinct_rows
from unrolled.scale.estimator import MAX_PARTS
from unrolled.scale.level_files import LevelFiles, LevelWriter
from unrolled.scale.windows import partitions
from unrolled.storage.columns import CHUNK, Column, ColumnWriter
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.sources import Sources
from unrolled.text.vocabulary import BOS, EOS, Vocabulary

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]
Words = tuple[int, int]

ROW_BYTES = 110  # of memory for each row of a range that is completed, measured: below 97


@dataclass(frozen=True)
class Rows:
    """N-grams with their counts, in two files.

    Args:
        width: numbers in a row.
    """

    path: Path
    width: int

    @property
    def grams(self) -> Column:
        """(N, width) int32."""
        return Column(self.path, np.int32, self.width)

    @property
    def counts(self) -> Column:
        """(N,) int64."""
        return Column(self.path.with_name(self.path.name + ".counts"), np.int64)

    def chunks(self) -> Iterator[tuple[Array, Array]]:
        """All of them, a chunk at a time."""
        with self.grams.reader() as grams, self.counts.reader() as counts:
            left = len(self.counts)
            while left:
                size = min(left, CHUNK)
                yield grams.read(size).reshape(size, self.width), counts.read(size)
                left -= size

    def read(self) -> tuple[Array, Array]:
        """All of them at once."""
        every = list(self.chunks())
        if not every:
            return np.empty((0, self.width), np.int32), np.empty(0, np.int64)
        return np.concatenate([a for a, _ in every]), np.concatenate([b for _, b in every])

    def remove(self) -> None:
        """Remove the files."""
        self.grams.remove()
        self.counts.remove()


class RowsWriter:
    """Appends to `Rows`."""

    def __init__(self, rows: Rows, stack: ExitStack) -> None:
        self._grams: ColumnWriter = stack.enter_context(rows.grams.writer())
        self._counts: ColumnWriter = stack.enter_context(rows.counts.writer())

    def append(self, grams: Array, counts: Array) -> None:
        """Append rows (N, width) and counts (N,)."""
        self._grams.append(grams)
        self._counts.append(counts)


@dataclass
class _Source:
    """A set of counts that has been read: n-grams in ids of its own, in files.

    Attributes:
        single: (V,) int64, counts of its words; listed: (V,) bool, those with a line of their own.
        ids: (V,) its words' ids in the vocabulary of the result.
        rows: by length from 2 on.
    """

    name: str
    words: Vocabulary
    single: Array
    listed: Array
    rows: dict[int, Rows]
    ids: Array = field(default_factory=lambda: np.empty(0, np.int32))


def read_counts_within(
    sources: Sources,
    folder: WorkFolder,
    budget: Budget,
    *,
    order: int | None = None,
    vocabulary: Vocabulary | None = None,
    weights: Any = None,
    rows_at_once: int | None = None,
    report: Report,
    progress: Callable[[int], None] | None = None,
) -> tuple[LevelFiles, Vocabulary, Array]:
    """Read count files as `read_counts` does, with n-grams in files.

    Args:
        folder: where the files go. budget: of memory.
        sources, order, vocabulary, weights, report, progress: as those of `read_counts`.
        rows_at_once: of a range of first words; by default as many as fit.

    Returns:
        The n-grams' columns, the vocabulary, and how often each word occurs (V,) int64.

    Raises:
        As `read_counts`; SettingError: too small a budget, or words without a line of their own.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    factors = checked_weights(weights, len(given))
    read = []
    for number, source in enumerate(given):
        report(f"reading counts from {os.fspath(source)}")
        read.append(_read(source, number, vocabulary, folder.path, progress))
        budget.check()
    words = _vocabulary(read, factors, vocabulary)
    for one in read:
        one.ids = known_ids(one.words, words)
    completion = _Completion(read, words, folder.path, budget, rows_at_once)
    longest = completion.longest
    if order is not None and not 1 <= order <= longest:
        raise no_such_order(order, longest)
    for length in range(longest, 1, -1):
        report(f"completing n-grams of order {length}")
        completion.complete(length)
    counts = completion.unigrams(factors)
    report("sorting n-grams")
    files = completion.columns(order or longest, factors)
    return files, words, counts


def _read(
    source: Any,
    number: int,
    vocabulary: Vocabulary | None,
    folder: Path,
    progress: Callable[[int], None] | None,
) -> _Source:
    from unrolled.text.word_table import WordTable

    table = WordTable() if vocabulary is None else None
    single: list[tuple[Array, Array]] = []
    rows: dict[int, Rows] = {}
    writers: dict[int, RowsWriter] = {}
    with ExitStack() as stack:
        for length, grams, counts in read_rows(source, vocabulary or table, progress):
            if length == 1:
                single.append((grams[:, 0], counts))
                continue
            if length not in rows:
                rows[length] = Rows(folder / f"given-{number}-{length}", length)
                writers[length] = RowsWriter(rows[length], stack)
            writers[length].append(grams, counts)
    if not rows and not single:
        raise no_counts(os.fspath(source))
    if table is not None:
        words = table.vocabulary(np.arange(table.words, dtype=np.int64))
    else:
        assert vocabulary is not None
        words = vocabulary
    ids = np.concatenate([np.empty(0, np.int32), *(own for own, _ in single)])
    values = np.concatenate([np.empty(0, np.int64), *(own for _, own in single)])
    counts, listed = np.zeros(len(words), np.int64), np.zeros(len(words), bool)
    np.add.at(counts, ids, values)
    listed[ids] = True
    if table is not None and not listed[EOS + 1 :].all():
        missing = words.words([EOS + 1 + int(np.argmin(listed[EOS + 1 :]))])[0]
        raise SettingError(
            f"the word '{missing}' has no line of its own, and such count files are read in "
            "memory only",
            where=os.fspath(source),
            hint="Give more --memory, or the words: --vocabulary",
        )
    return _Source(os.fspath(source), words, counts, listed, rows)


def _vocabulary(
    sources: list[_Source], weights: list[int], vocabulary: Vocabulary | None
) -> Vocabulary:
    """The words by descending count, as `read_counts` has them."""
    if vocabulary is not None:
        return vocabulary
    ranked, totals = [], []
    for one in sources:
        order = np.argsort(-one.single[EOS + 1 :], kind="stable") + EOS + 1
        order = np.concatenate([np.arange(EOS + 1), order])
        names = list(one.words)
        ranked.append(Vocabulary.from_words(names[id] for id in order.tolist()))
        totals.append(one.single[order])
    if len(sources) == 1 and weights[0] == 1:
        return ranked[0]
    return Vocabulary.united(
        ranked,
        [weight * own.astype(np.float64) for weight, own in zip(weights, totals, strict=True)],
    )


class _Completion:
    """Completes the n-grams of several sources, longest first, a range of first words at a time."""

    def __init__(
        self,
        sources: list[_Source],
        words: Vocabulary,
        folder: Path,
        budget: Budget,
        rows_at_once: int | None,
    ) -> None:
        self.sources, self.words, self.folder = sources, words, folder
        self.longest = max([1, *(length for one in sources for length in one.rows)])
        size = len(words)
        self.begun = np.zeros((len(sources), size), np.int64)  # by bigrams that begin with a word
        self.ended = np.zeros((len(sources), size), np.int64)
        rows = self._rows_by_word(size)
        most = budget.room(
            f"{int(rows.max(initial=0))} n-grams of the count files that begin with one word",
            ROW_BYTES * int(rows.max(initial=0)),
        )
        at_once = max(rows_at_once or most // ROW_BYTES, int(rows.sum()) // MAX_PARTS + 1)
        self.parts = partitions(rows, at_once)
        self.part_of = np.repeat(
            np.arange(len(self.parts)), [high - low for low, high in self.parts]
        )

    def _rows_by_word(self, size: int) -> Array:
        """How many rows are handled with each first word, (V,)."""
        found = np.zeros(size, np.int64)
        for one in self.sources:
            for rows in one.rows.values():
                for grams, _ in rows.chunks():
                    for column in (0, 1):
                        found += np.bincount(one.ids[grams[:, column]], minlength=size)
        return found

    def _rows(self, kind: str, length: int, part: int, more: int = 1) -> Rows:
        return Rows(self.folder / f"{kind}-{length}-{part}", length + more)

    def _writers(self, kind: str, length: int, stack: ExitStack, more: int = 1) -> list[RowsWriter]:
        return [
            RowsWriter(self._rows(kind, length, part, more), stack)
            for part in range(len(self.parts))
        ]

    def _spread(self, writers: list[RowsWriter], parts: Array, rows: Array, counts: Array) -> None:
        """Append each row to the writer of its part."""
        order = np.argsort(parts, kind="stable")
        borders = np.searchsorted(parts[order], np.arange(len(writers) + 1))
        for part in np.flatnonzero(np.diff(borders)).tolist():
            chosen = order[borders[part] : borders[part + 1]]
            writers[part].append(rows[chosen], counts[chosen])

    def _distribute(self, length: int) -> None:
        """Send the n-grams that the sources list to the parts of their first words."""
        with ExitStack() as stack:
            writers = self._writers("listed", length, stack)
            for number, one in enumerate(self.sources):
                if length not in one.rows:
                    continue
                for grams, counts in one.rows[length].chunks():
                    rows = np.empty((counts.size, length + 1), np.int32)
                    rows[:, 0] = number
                    rows[:, 1:] = one.ids[grams]
                    self._spread(writers, self.part_of[rows[:, 1]], rows, counts)
                one.rows[length].remove()

    def complete(self, length: int) -> None:
        """Complete the n-grams of a length; those one word longer are complete.

        Raises:
            FormatError: counts that contradict each other or are too large.
        """
        self._distribute(length)
        with ExitStack() as stack:
            suffixes = self._writers("suffixes", length - 1, stack, 2) if length > 2 else []
            for part in range(len(self.parts)):
                rows, counts = self._completed(length, part)
                with ExitStack() as own:
                    RowsWriter(self._rows("complete", length, part), own).append(rows, counts)
                if length > 2:
                    sent = np.concatenate([rows[:, :1], rows[:, 2:], rows[:, 1:2]], axis=1)
                    self._spread(suffixes, self.part_of[rows[:, 2]], sent, counts)
                else:
                    np.add.at(self.begun, (rows[:, 0], rows[:, 1]), counts)
                    np.add.at(self.ended, (rows[:, 0], rows[:, 2]), counts)

    def _completed(self, length: int, part: int) -> tuple[Array, Array]:
        """Distinct rows (source, words) of a length and their counts."""
        listed = self._rows("listed", length, part)
        kinds = [listed.read()]
        listed.remove()
        if length < self.longest:
            longer, counts = self._rows("complete", length + 1, part).read()
            kinds.append((longer[:, :-1], counts))
            sent, counts = self._rows("suffixes", length, part, 2).read()
            kinds.append((sent[:, :-1], counts))
        rows, places = distinct_rows(np.concatenate([grams for grams, _ in kinds]))
        sums = np.zeros((3, rows.shape[0]), np.int64)
        known, start = np.zeros(rows.shape[0], bool), 0
        for number, (_, counts) in enumerate(kinds):
            here = places[start : start + counts.size]
            np.add.at(sums[number], here, counts)
            if number == 0:
                known[here] = True
            start += counts.size
        least = np.maximum(sums[1], sums[2])
        self._check(rows, sums[0], least, known)
        return rows, np.where(known, sums[0], least)

    def _check(self, rows: Array, counts: Array, least: Array, known: Array) -> None:
        wrong = known & (counts < least)
        if wrong.any():
            place = int(np.argmax(wrong))
            text, source = self._shown(rows[place])
            raise contradiction(text, int(counts[place]), int(least[place]), source)
        all_counts = np.where(known, counts, least)
        if all_counts.max(initial=0) > MOST:
            text, source = self._shown(rows[int(all_counts.argmax())])
            raise too_many(text, int(all_counts.max()), source)

    def _shown(self, row: Array) -> tuple[str, str]:
        """An n-gram as text and the source of its counts."""
        return " ".join(self.words.words(row[1:])), self.sources[int(row[0])].name

    def unigrams(self, weights: list[int]) -> Array:
        """How often each word occurs, (V,) int64.

        Raises:
            As `complete`.
        """
        total = np.zeros(len(self.words), np.int64)
        for number, (one, weight) in enumerate(zip(self.sources, weights, strict=True)):
            counts, listed = np.zeros((2, total.size), np.int64)
            counts[one.ids] = one.single
            listed[one.ids] = one.listed
            least = np.maximum(self.begun[number], self.ended[number])
            rows = np.empty((total.size, 2), np.int32)
            rows[:, 0], rows[:, 1] = number, np.arange(total.size)
            self._check(rows, counts, least, listed > 0)
            total += weight * np.where(listed > 0, counts, least)
        self._check_sum(int(total.max()))
        return total

    def columns(self, order: int, weights: list[int]) -> LevelFiles:
        """The columns of all n-grams up to an order.

        Raises:
            UnrolledError: a sum of counts that is too large.
        """
        bits = word_bits(len(self.words))
        with LevelWriter(self.folder, order, len(self.words)) as writer:
            for part, words in enumerate(self.parts if order > 1 else []):
                levels = []
                for length in range(2, order + 1):
                    rows, counts = self._rows("complete", length, part).read()
                    self._rows("complete", length, part).remove()
                    before = np.empty((0, length + 2), np.int32)
                    if length < order:
                        before, _ = self._rows("suffixes", length, part, 2).read()
                        self._rows("suffixes", length, part, 2).remove()
                    levels.append(LevelRows(rows, counts, before))
                columns, most = columns_of(levels, words, weights, bits, BOS)
                self._check_sum(most)
                writer.extend([columns])
        return writer.files

    def _check_sum(self, most: int) -> None:
        if most > MOST:
            raise UnrolledError(f"an n-gram comes {most} times, and at most {MOST} can be kept")
