"""Complete the n-grams of count files, longest first, a range of first words at a time."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from unrolled.errors import UnrolledError
from unrolled.ngram.counts.count_reader import MOST, contradiction, too_many
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.budget import Budget
from unrolled.scale.count_rows import LevelRows, columns_of, distinct_rows
from unrolled.scale.count_sources import CountSource, Rows, RowsWriter
from unrolled.scale.level_files import LevelFiles, LevelWriter
from unrolled.scale.ranges import MAX_PARTS
from unrolled.scale.windows import partitions
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.vocabulary import BOS, Vocabulary

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

ROW_BYTES = 110  # of memory for each row of a range that is completed, measured: below 97


class Completion:
    """Completes the n-grams of several sources, longest first, a range of first words at a time."""

    def __init__(
        self,
        sources: list[CountSource],
        words: Vocabulary,
        folder: WorkFolder,
        budget: Budget,
        rows_at_once: int | None,
    ) -> None:
        self.sources, self.words, self.folder = sources, words, folder
        self.longest = max([1, *(length for one in sources for length in one.rows)])
        size = len(words)
        self.begun = np.zeros((len(sources), size), np.int64)  # by bigrams that begin with a word
        self.ended = np.zeros((len(sources), size), np.int64)
        if folder.has("completed 2"):
            stored = folder.arrays("completed 2")
            self.begun, self.ended = stored["begun"], stored["ended"]
        if not folder.has("ranges"):
            folder.finish("ranges", {"parts": self._ranges(size, budget, rows_at_once)})
        self.parts: list[Words] = [(low, high) for low, high in folder.values("ranges")["parts"]]
        self.part_of = np.repeat(
            np.arange(len(self.parts)), [high - low for low, high in self.parts]
        )

    def _ranges(self, size: int, budget: Budget, rows_at_once: int | None) -> list[Words]:
        """Ranges of first words whose n-grams are completed at once."""
        rows = self._rows_by_word(size)
        most = budget.room(
            f"{int(rows.max(initial=0))} n-grams of the count files that begin with one word",
            ROW_BYTES * int(rows.max(initial=0)),
        )
        at_once = max(rows_at_once or most // ROW_BYTES, int(rows.sum()) // MAX_PARTS + 1)
        return partitions(rows, at_once)

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
        return Rows(self.folder.path / f"{kind}-{length}-{part}", length + more)

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
        arrays = {"begun": self.begun, "ended": self.ended} if length == 2 else {}
        self.folder.finish(f"completed {length}", {}, arrays)
        for one in self.sources:
            if length in one.rows:
                one.rows[length].remove()

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
        with LevelWriter(self.folder.path, order, len(self.words)) as writer:
            for part, words in enumerate(self.parts if order > 1 else []):
                levels = []
                for length in range(2, order + 1):
                    rows, counts = self._rows("complete", length, part).read()
                    before = np.empty((0, length + 2), np.int32)
                    if length < order:
                        before, _ = self._rows("suffixes", length, part, 2).read()
                    levels.append(LevelRows(rows, counts, before))
                columns, most = columns_of(levels, words, weights, bits, BOS)
                self._check_sum(most)
                writer.extend([columns])
        return writer.files

    def remove(self) -> None:
        """Remove the files of completed n-grams."""
        for length in range(2, self.longest + 1):
            for part in range(len(self.parts)):
                self._rows("complete", length, part).remove()
                self._rows("suffixes", length, part, 2).remove()

    def _check_sum(self, most: int) -> None:
        if most > MOST:
            raise UnrolledError(f"an n-gram comes {most} times, and at most {MOST} can be kept")
