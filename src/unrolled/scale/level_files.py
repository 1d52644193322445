"""The columns of all n-grams of a text, in files: what each phase leaves for the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.scale.windows import NgramColumns
from unrolled.storage.columns import CHUNK, Column, CountColumn
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]


class LevelFiles:
    """Columns by length, see `NgramColumns`, and what the estimation of a length adds to them.

    Attributes:
        by_word: (order, V) int64: how many n-grams of each length each first word begins.
        totals: (order + 1, 2, 8) counts of counts.
    """

    def __init__(self, folder: Path, order: int, by_word: Array, totals: Array) -> None:
        self.folder, self.order = folder, order
        self.by_word, self.totals = by_word, totals

    def words(self, length: int) -> Column:
        """Last words."""
        return Column(self.folder / f"words-{length}", np.int32)

    def occurrences(self, length: int) -> CountColumn:
        """Counts as they occur."""
        return CountColumn(self.folder / f"occurrences-{length}")

    def adjusted(self, length: int) -> CountColumn:
        """Numbers of distinct words before; length below the order."""
        return CountColumn(self.folder / f"adjusted-{length}")

    def children(self, length: int) -> CountColumn:
        """Numbers of n-grams one word longer; length below the order."""
        return CountColumn(self.folder / f"children-{length}")

    def preceding(self, length: int) -> Column:
        """The distinct words before, end to end; length below the order."""
        return Column(self.folder / f"preceding-{length}", np.uint32)

    def descendants(self, length: int) -> CountColumn:
        """For each bigram, the n-grams of a length >= 3 that begin with it."""
        return CountColumn(self.folder / f"descendants-{length}")

    def log_probs(self, length: int) -> Column:
        """Made by estimation: log-probabilities of the n-grams that the model keeps."""
        return Column(self.folder / f"log_probs-{length}", np.float32)

    def backoffs(self, length: int) -> Column:
        """Made by estimation: log back-off weights of the contexts that the model keeps."""
        return Column(self.folder / f"backoffs-{length}", np.float32)

    def kept_words(self, length: int) -> Column:
        """Made by estimation with cut-offs: last words of the n-grams that the model keeps."""
        return Column(self.folder / f"kept_words-{length}", np.int32)

    def kept_children(self, length: int) -> CountColumn:
        """Made by estimation with cut-offs: numbers of n-grams kept after each context kept."""
        return CountColumn(self.folder / f"kept_children-{length}")

    def rooms(self, length: int) -> Column:
        """Made by estimation, for quantizing: what contexts of a length leave to other words."""
        return Column(self.folder / f"rooms-{length}", np.float64)

    def lower(self, length: int) -> Column:
        """Made by estimation, for quantizing: log-probabilities of the n-grams' suffixes."""
        return Column(self.folder / f"lower_log_probs-{length}", np.float32)

    def discounted(self, length: int) -> Column:
        """For quantizing interpolated models: log discounted probabilities."""
        return Column(self.folder / f"discounted-{length}", np.float32)

    def weights(self, length: int) -> Column:
        """For quantizing interpolated models: weights of the contexts that have one."""
        return Column(self.folder / f"weights-{length}", np.uint16)

    def frequencies(self, length: int) -> Column:
        """For quantizing: how frequent the contexts of a length are."""
        return Column(self.folder / f"frequencies-{length}", np.float32)

    def codes(self, length: int) -> Column:
        """Made by rounding: codes of the log-probabilities."""
        return Column(self.folder / f"codes-{length}", np.uint8)

    def rounded_backoffs(self, length: int) -> Column:
        """Made by rounding: log back-off weights of the contexts."""
        return Column(self.folder / f"rounded-{length}", np.float32)

    def links(self, length: int) -> Column:
        """For quantizing: place of each n-gram's suffix among the n-grams of its context."""
        return Column(self.folder / f"links-{length}", np.uint32)

    def children_chunks(self, length: int, *, pruned: bool) -> Iterator[Array]:
        """How many n-grams that the model keeps begin with each context, a chunk at a time."""
        if length == 1 and not pruned:
            for start in range(0, self.by_word.shape[1], CHUNK):
                yield self.by_word[1, start : start + CHUNK].astype(np.uint32)
            return
        column = self.kept_children(length) if pruned else self.children(length)
        with column.reader() as reader:
            for start in range(0, len(column), CHUNK):
                yield reader.read(min(CHUNK, len(column) - start))

    def received(self, length: int, part: int, kind: str) -> Path:
        """Rows that were sent to the n-grams of a length and a part."""
        return self.folder / f"{kind}-{length}-{part}"

    def sizes(self, length: int, words: tuple[int, int]) -> Array:
        """(words,) int64, how many n-grams of a length begin with each word of a range."""
        return self.by_word[length - 1, words[0] : words[1]]

    def size(self, length: int) -> int:
        """How many n-grams of a length there are."""
        return int(self.by_word[length - 1].sum())

    def starting(self, length: int, words: tuple[int, int]) -> tuple[int, int]:
        """The n-grams that begin with <s>, counted from the first of a range of first words."""
        if not words[0] <= BOS < words[1]:
            return 0, 0
        start = int(self.by_word[length - 1, words[0] : BOS].sum())
        return start, start + int(self.by_word[length - 1, BOS])


class LevelWriter:
    """Writes `NgramColumns` one after another."""

    def __init__(self, folder: Path, order: int, vocabulary_size: int) -> None:
        self._by_word = np.zeros((order, vocabulary_size), np.int64)
        self._by_word[0] = 1
        self.files = LevelFiles(folder, order, self._by_word, np.zeros((order + 1, 2, 8), np.int64))
        self._stack = ExitStack()
        files, lengths, inner = self.files, range(2, order + 1), range(2, order)
        opened = self._stack.enter_context
        self._writers: dict[str, list[Any]] = {
            "words": [opened(files.words(k).writer()) for k in lengths],
            "occurrences": [opened(files.occurrences(k).writer()) for k in lengths],
            "adjusted": [opened(files.adjusted(k).writer()) for k in inner],
            "children": [opened(files.children(k).writer()) for k in inner],
            "preceding": [opened(files.preceding(k).writer()) for k in inner],
            "descendants": [opened(files.descendants(k + 1).writer()) for k in inner],
        }

    def extend(self, pieces: Iterable[NgramColumns]) -> None:
        """Append the n-grams of the next first words."""
        for columns in pieces:
            self._append(columns)

    def _append(self, columns: NgramColumns) -> None:
        for name, writers in self._writers.items():
            for writer, column in zip(writers, getattr(columns, name), strict=True):
                writer.append(column)
        first = columns.first_word
        self._by_word[:, first : first + columns.by_word.shape[1]] += columns.by_word
        self.files.totals += columns.totals

    def __enter__(self) -> LevelWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)
