"""Count files as they are read: words and n-grams of each, as rows in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.ngram.counts.count_reader import no_counts, read_rows
from unrolled.scale.reading import stored_vocabulary
from unrolled.storage.columns import CHUNK, Column, ColumnWriter
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.vocabulary import EOS, Vocabulary

Array = np.ndarray[Any, Any]


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
class CountSource:
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


def finish_source(folder: WorkFolder, number: int, source: CountSource) -> None:
    """Record a source as read."""
    arrays = {**source.words.arrays(), "single": source.single, "listed": source.listed}
    folder.finish(f"source {number}", {"lengths": list(source.rows)}, arrays)


def stored_source(folder: WorkFolder, number: int, name: str) -> CountSource:
    """A source that has been read."""
    arrays = folder.arrays(f"source {number}")
    rows = {
        length: _given_rows(folder.path, number, length)
        for length in folder.values(f"source {number}")["lengths"]
    }
    words = stored_vocabulary(arrays)
    return CountSource(name, words, arrays["single"], arrays["listed"], rows)


def _given_rows(folder: Path, number: int, length: int) -> Rows:
    """The n-grams that a source lists."""
    return Rows(folder / f"given-{number}-{length}", length)


def read_source(
    source: Any,
    number: int,
    vocabulary: Vocabulary | None,
    folder: Path,
    progress: Callable[[int], None] | None,
) -> CountSource:
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
                rows[length] = _given_rows(folder, number, length)
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
    return CountSource(os.fspath(source), words, counts, listed, rows)


def common_vocabulary(
    sources: list[CountSource], weights: list[int], vocabulary: Vocabulary | None
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
