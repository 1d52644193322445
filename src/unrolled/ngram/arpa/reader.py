"""From the sections of an ARPA file to a model: vocabulary, special words, counts, duplicates."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import FormatError, UnrolledWarning
from unrolled.ngram.arpa.ngram_lines import RowReader, Rows, empty_rows, line_of
from unrolled.ngram.arpa.sections import ArpaSections, Piece, shown
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.assembly import assemble
from unrolled.ngram.trie.packed_trie import pack
from unrolled.runtime.threads import run_slices
from unrolled.text.vocabulary import (
    BOS,
    EOS,
    SPECIALS,
    UNK,
    Vocabulary,
    index_words,
    readonly,
)

Array = np.ndarray[Any, Any]

LN10 = math.log(10.0)
MISSING_UNK = np.float32(-100 * LN10)  # KenLM's choice
LOG_ZERO = np.float32(-99 * LN10)  # how ARPA files write log 0
SMOOTHING = "arpa"  # what a model's config says: how it was smoothed is not in the file


class ArpaReader:
    """One reading of one file; `unrolled.ngram.arpa.files.read_arpa` says what is taken."""

    def __init__(
        self, path: str, threads: int, progress: Callable[[int], None] | None = None
    ) -> None:
        self.path = path
        self.threads = threads
        self.text = ArpaSections(path, progress)
        self._ahead = self.text  # the pass that met the unigrams
        self._sections: dict[int, list[Rows]] = {}
        self._unigrams: Unigrams | None = None
        self._rooms: dict[int, tuple[Array, Array, Array]] = {}  # for all rows of an order
        self._starts: dict[int, list[int]] = {}  # of its pieces there, and the end

    def model(self) -> NgramModel:
        """Read the file.

        Raises:
            FormatError: it cannot be read or is broken.
        """
        self._read()
        words = self._words()
        for order in range(2, self.text.order + 1):
            self._check_count(order)
        longer = [self._joined(order) for order in range(2, self.text.order + 1)]
        try:
            table = assemble((words.log_probs, words.backoffs), longer, threads=self.threads)
        except FormatError as error:
            self._explain(error, [ids for ids, _, _ in longer])
            raise
        # Where weights do not fit, an n-gram that was added could get a probability above 1.
        np.minimum(table.log_probs, 0, out=table.log_probs)
        provenance = {"arpa": Path(self.path).name}
        config: dict[str, Any] = {"smoothing": SMOOTHING, "order": self.text.order}
        if self.text.options is not None:
            config["text"] = self.text.options
        return NgramModel(pack(table), words.vocabulary, config, provenance, self.path)

    def _read(self) -> None:
        """Parse all sections, a few pieces in parallel."""
        waiting: deque[tuple[int, Future[Rows]]] = deque()
        longer: RowReader | None = None
        with ThreadPoolExecutor(self.threads) as pool:
            for piece in self.text.pieces():
                if piece.order == 1 and longer is not None:
                    continue  # read ahead of its turn, below
                reader = longer
                if piece.order == 1:
                    reader = RowReader(self.path, self.text.order)
                elif reader is None:
                    self._take(waiting, 0)
                    if 1 not in self.text.headings:
                        self._read_ahead()
                    words = self._words()
                    reader = longer = RowReader(
                        self.path, self.text.order, words.vocabulary, words.other_unk
                    )
                room = self._room(piece) if piece.order > 1 else None
                waiting.append((piece.order, pool.submit(reader.read, piece, room)))
                self._take(waiting, self.threads)
            self._take(waiting, 0)

    def _room(self, piece: Piece) -> tuple[Array, Array, Array]:
        """Where the rows of a piece belong if there are as many as the header declares.

        That is believed as far as a file of this size may hold them, compressed ones too; what
        finds no room is copied later. The blank line after them counts.
        """
        order = piece.order
        if order not in self._rooms:
            most = Path(self.path).stat().st_size // order
            count = min(self.text.counts[order], most) + 1
            self._rooms[order] = empty_rows(count, order, order < self.text.order)
        starts = self._starts.setdefault(order, [0])
        starts.append(starts[-1] + piece.lines)
        ids, log_probs, backoffs = self._rooms[order]
        here = slice(starts[-2], starts[-1])
        return ids[here], log_probs[here], backoffs[here]

    def _take(self, waiting: deque[tuple[int, Future[Rows]]], most: int) -> None:
        """Collect results in order until at most ``most`` wait."""
        while len(waiting) > most:
            order, future = waiting.popleft()
            self._sections.setdefault(order, []).append(future.result())

    def _read_ahead(self) -> None:
        """Parse the unigrams, which a later section of the file holds."""
        text = ArpaSections(self.path)
        reader: RowReader | None = None
        for piece in text.pieces():
            if piece.order == 1:
                reader = reader or RowReader(self.path, text.order)
                self._sections.setdefault(1, []).append(reader.read(piece))
            elif reader is not None:
                break
        self._ahead = text

    def _words(self) -> Unigrams:
        """The unigrams, once all of them are read."""
        if self._unigrams is None:
            self._check_count(1)
            self._unigrams = Unigrams(self.path, self._sections.pop(1, []))
        return self._unigrams

    def _check_count(self, order: int) -> None:
        declared = self.text.counts[order]
        found = sum(rows.lines.count for rows in self._sections.get(order, []))
        if declared == found:
            return
        heading = (self._ahead if order == 1 else self.text).headings.get(order)
        has = "there is no section of them" if heading is None else f"their section has {found}"
        raise FormatError(
            f"the header declares {declared} {order}-grams and {has}",
            where=self.path if heading is None else self.text.place(heading),
        )

    def _joined(self, order: int) -> tuple[Array, Array, Array | None]:
        """Ids, log-probabilities and back-off weights of all n-grams of an order."""
        parts = self._sections.get(order, [])
        counts = [part.lines.count for part in parts]
        count, weighted = sum(counts), order < self.text.order
        ends = np.cumsum(counts).tolist()
        places = self._starts.get(order, [])[1 : len(parts)]
        if parts and places == ends[:-1] and all(part.in_place for part in parts):
            ids, log_probs, backoffs = (array[:count] for array in self._rooms.pop(order))
            self._sections[order] = [part.without_arrays() for part in parts]
            return ids, log_probs, backoffs if weighted else None
        self._rooms.pop(order, None)
        ids, log_probs, backoffs = empty_rows(count, order, weighted)

        def copy(part: Rows, end: int) -> None:
            here = slice(end - part.lines.count, end)
            ids[here], log_probs[here] = part.ids, part.log_probs
            if backoffs.size:
                backoffs[here] = part.backoffs

        run_slices(copy, zip(parts, ends, strict=True), self.threads)
        self._sections[order] = [part.without_arrays() for part in parts]
        return ids, log_probs, backoffs if weighted else None

    def _explain(self, error: FormatError, grams: list[Array]) -> None:
        """Raise `error` with the file, or with the lines of an n-gram that is given twice."""
        for ids in grams:
            order = np.lexsort(ids.T)  # stable: equal n-grams stay in the order of the file
            twice = np.all(ids[order[1:]] == ids[order[:-1]], axis=1)
            if np.any(twice):
                at = int(np.argmin(np.where(twice, order[1:], ids.shape[0])))
                lines = [rows.lines for rows in self._sections[ids.shape[1]]]
                text = " ".join(self._words().vocabulary.words(ids[order[at]]))
                raise FormatError(
                    f"the n-gram {shown(text.encode())} stands in line "
                    f"{line_of(lines, int(order[at]))} already",
                    where=self.text.place(line_of(lines, int(order[at + 1]))),
                )
        raise FormatError(error.what, where=self.path, hint=error.hint)


class Unigrams:
    """The vocabulary of a file, ``<unk>``, ``<s>``, ``</s>`` first, with what it has of each word.

    Attributes:
        vocabulary: V words.
        log_probs, backoffs: (V,) float32 natural logarithms.
        other_unk: whether the file writes ``<UNK>`` for ``<unk>``.
    """

    def __init__(self, path: str, parts: list[Rows]) -> None:
        self._path = path
        self._lines = [part.lines for part in parts]
        sizes = _joined([np.empty((0, 1), np.int32), *(part.ids for part in parts)])[:, 0]
        self._given = sizes.size
        if self._given == 0:
            raise FormatError("there are no unigrams", where=path)
        # The rows of the special words stand behind those of the file, for where it lacks them.
        specials = [word.encode() for word in SPECIALS]
        spelling = b"".join([*(part.spelling for part in parts), *specials])
        self._text = np.frombuffer(spelling, np.uint8)
        self._sizes = np.append(sizes, [len(word) for word in specials]).astype(np.int64)
        self._starts = np.cumsum(self._sizes) - self._sizes
        rows = [self._row(word) for word in specials]
        unk = rows[UNK] if rows[UNK] >= 0 else self._row(b"<UNK>")
        self.other_unk = unk >= 0 and rows[UNK] < 0
        rest = np.delete(np.arange(self._given), [row for row in (unk, *rows[1:]) if row >= 0])
        spelled = [row if row >= 0 else self._given + id for id, row in enumerate(rows)]
        valued = [unk if unk >= 0 else self._given, *spelled[1:]]
        self.vocabulary = self._vocabulary(np.append(spelled, rest))
        values = (np.append(valued, rest), parts)
        self.log_probs = self._log_probs(*values)
        self.backoffs = self._backoffs(*values)
        self._warn(valued)

    def _row(self, word: bytes) -> int:
        """First row of the file that is the word, or -1."""
        rows = np.flatnonzero(self._sizes[: self._given] == len(word))
        letters = self._text[self._starts[rows, None] + np.arange(len(word))]
        rows = rows[np.all(letters == np.frombuffer(word, np.uint8), axis=1)]
        return int(rows[0]) if rows.size else -1

    def _vocabulary(self, rows: Array) -> Vocabulary:
        """The words of rows, in that order."""
        sizes = self._sizes[rows]
        offsets = np.zeros(rows.size + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        if offsets[-1] >= 2**32:
            raise FormatError(f"the words have {offsets[-1]} bytes, too many", where=self._path)
        places = np.repeat(self._starts[rows] - offsets[:-1], sizes)
        places += np.arange(places.size)
        text, ends = readonly(self._text[places]), readonly(offsets.astype(np.uint32))
        slots = np.zeros(max(1 << (2 * rows.size - 1).bit_length(), 16), np.uint64)
        bad = index_words(text, ends, slots)
        if bad >= 0:
            self._twice(int(rows[bad]), text[ends[bad] : ends[bad + 1]].tobytes())
        return Vocabulary(text, ends, slots)

    def _twice(self, row: int, word: bytes) -> None:
        first, place = self._row(word), f"{self._path}:{line_of(self._lines, row)}"
        if first == row:
            raise FormatError(
                f"the words up to {shown(word)} collide in the hash table as only words made for "
                "it do",
                where=place,
            )
        before = line_of(self._lines, first)
        raise FormatError(f"the word {shown(word)} stands in line {before} already", where=place)

    def _log_probs(self, rows: Array, parts: list[Rows]) -> Array:
        missing = np.array([MISSING_UNK, -np.inf, 0], np.float32)
        values = np.concatenate([*(part.log_probs for part in parts), missing])[rows]
        if rows[EOS] >= self._given:
            values[EOS] = values[UNK]
        if values[BOS] <= LOG_ZERO:
            values[BOS] = -np.inf
        return values

    def _backoffs(self, rows: Array, parts: list[Rows]) -> Array:
        values = np.concatenate([*(part.backoffs for part in parts), np.zeros(3, np.float32)])
        if values.size < self._given + 3:  # the file has no order but 1
            values = np.zeros(self._given + 3, np.float32)
        return values[rows]

    def _warn(self, rows: list[int]) -> None:
        added = {
            UNK: "with a log10 probability of -100",
            BOS: "without a back-off weight",
            EOS: "as likely as <unk>",
        }
        for id, how in added.items():
            if rows[id] >= self._given:
                what = f"{self._path}: there is no {SPECIALS[id]}; it was added {how}"
                warnings.warn(UnrolledWarning(what), stacklevel=2)


def _joined(parts: list[Array]) -> Array:
    """Arrays end to end, the first one empty; a single other one is not copied."""
    return parts[1] if len(parts) == 2 else np.concatenate(parts)
