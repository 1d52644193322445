"""The n-gram lines of an ARPA file: pieces of a section to arrays, odd and broken lines too."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.ngram.arpa.sections import Piece, shown
from unrolled.text.hashing import RECENT
from unrolled.text.vocabulary import Vocabulary, readonly

Array = np.ndarray[Any, Any]

ROUNDING = 1e-5  # log10; what rounding may lift a log-probability above 0
_TOKEN = re.compile(rb"[^\t\n\r ]+")
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|[+-]?nan", re.I)
_OTHER_UNK = re.compile(rb"(?<=[\t ])<UNK>(?=[\t\r\n ])")


@dataclass(frozen=True)
class Lines:
    """The lines of ``count`` n-grams: from ``first`` on without a gap, or else as ``numbers``."""

    count: int
    first: int
    numbers: Array | None = None


def line_of(parts: list[Lines], row: int) -> int:
    """The line of a row counted through all parts."""
    for part in parts:
        if row < part.count:
            return part.first + row if part.numbers is None else int(part.numbers[row])
        row -= part.count
    raise IndexError(row)


@dataclass
class Rows:
    """N-grams of one order.

    Attributes:
        ids: (R, k) int32 words, oldest first; of unigrams (R, 1) the bytes of each word.
        log_probs: (R,) float32 natural logarithms. backoffs: (R,) too, or (0,) at the top order.
        lines: where they stand in the file.
        spelling: the words of unigrams, back to back.
        in_place: whether the arrays are the beginning of those that the reader was given.
    """

    ids: Array
    log_probs: Array
    backoffs: Array
    lines: Lines
    spelling: bytes = b""
    in_place: bool = False

    def without_arrays(self) -> Rows:
        """Only the lines."""
        nothing = np.empty(0, np.float32)
        return Rows(np.empty((0, self.ids.shape[1]), np.int32), nothing, nothing, self.lines)


def empty_rows(count: int, columns: int, weighted: bool) -> tuple[Array, Array, Array]:
    """Arrays for ids, log-probabilities, and weights if there are any."""
    log_probs, backoffs = (
        np.empty(count, np.float32),
        np.empty(count if weighted else 0, np.float32),
    )
    return np.empty((count, columns), np.int32), log_probs, backoffs


class RowReader:
    """Reads pieces of one file; threads may share it.

    Args:
        path: what errors call the file.
        order: its highest order.
        vocabulary: the words that longer n-grams may have; not needed for unigrams.
        other_unk: whether <UNK> stands for <unk>.
    """

    def __init__(
        self, path: str, order: int, vocabulary: Vocabulary | None = None, other_unk: bool = False
    ) -> None:
        self.path = path
        self.order = order
        self._other_unk = other_unk
        self._vocabulary = vocabulary
        nothing = np.zeros(0, np.uint64)
        arrays = {} if vocabulary is None else vocabulary.arrays()
        self._table = tuple(
            readonly(arrays.get(name, nothing.astype(dtype)))
            for name, dtype in (("text", np.uint8), ("offsets", np.uint32), ("slots", np.uint64))
        )

    def read(self, piece: Piece, room: tuple[Array, Array, Array] | None = None) -> Rows:
        """The n-grams of a piece.

        Args:
            room: arrays for them, ids, log-probabilities and weights, used if they are enough.

        Raises:
            FormatError: a line is not an n-gram of the section's order.
        """
        from unrolled.ngram.arpa.arpa_kernels import parse_lines

        data = piece.data
        if piece.order > 1 and self._other_unk and b"<UNK>" in data:
            data = _OTHER_UNK.sub(b"<unk>", data)
        # A line takes two bytes a word, and two more; so blank lines allocate nothing.
        most = min(piece.lines, len(data) // (2 * piece.order + 2))
        columns = 2 if piece.order == 1 else piece.order
        in_place = room is not None and room[1].size >= most
        if room is not None and in_place:
            ids, log_probs, backoffs = (array[:most] for array in room)
        else:
            ids, log_probs, backoffs = empty_rows(most, columns, piece.order < self.order)
        table = self._table if piece.order > 1 else tuple(part[:0] for part in self._table)
        recent = np.zeros(2 * RECENT, np.uint64)
        block = np.frombuffer(data, np.uint8)
        state = np.zeros(4, np.int64)
        kernel: Callable[..., None] = parse_lines
        while True:
            kernel(block, state, *table, recent, ids, log_probs, backoffs)
            if state[0] >= len(data):
                break
            self._odd_line(piece, data, state, (ids, log_probs, backoffs))
        rows = self._rows(piece, data, state, (ids, log_probs, backoffs))
        rows.in_place = in_place and rows.log_probs.base is not None
        return rows

    def _rows(
        self, piece: Piece, data: bytes, state: Array, arrays: tuple[Array, Array, Array]
    ) -> Rows:
        count = int(state[2])
        ids, log_probs, backoffs = (array[:count] for array in arrays)
        numbers = None
        if state[3] != count:  # blank lines between n-grams
            held = [n for n, text in enumerate(data.split(b"\n")) if text.strip(b"\t\r ")]
            numbers = np.array(held, np.int64) + piece.first_line
        rows = Rows(ids, log_probs, backoffs, Lines(count, piece.first_line, numbers))
        if piece.order == 1:
            rows.ids, rows.spelling = _spelled(data, ids)
            self._check_utf8(rows)
        if 2 * count < arrays[0].shape[0]:  # do not keep what turned out too large
            rows.ids, rows.log_probs, rows.backoffs = (
                rows.ids.copy(), rows.log_probs.copy(), rows.backoffs.copy(),
            )  # fmt: skip
        return rows

    def _check_utf8(self, rows: Rows) -> None:
        """Refuse words that are not text; here, as longer n-grams have only words from here."""
        try:
            rows.spelling.decode()
        except UnicodeDecodeError as error:
            self._not_utf8(rows, error.start)
        starts = np.cumsum(rows.ids[:, 0], dtype=np.int64) - rows.ids[:, 0]
        # A character cut in two by a word's end is valid in the whole, and in neither word.
        inside = np.frombuffer(rows.spelling, np.uint8)[starts] & 0xC0 == 0x80
        if np.any(inside):
            self._not_utf8(rows, int(starts[np.argmax(inside)]))

    def _not_utf8(self, rows: Rows, at: int) -> None:
        row = int(np.searchsorted(np.cumsum(rows.ids[:, 0], dtype=np.int64), at, side="right"))
        raise FormatError(
            "the word is not UTF-8",
            where=f"{self.path}:{line_of([rows.lines], row)}",
            hint="Convert the file, for example: iconv -f LATIN1 -t UTF-8",
        )

    # -- lines that the kernel does not take ---------------------------------------------------

    def _odd_line(
        self, piece: Piece, data: bytes, state: Array, arrays: tuple[Array, Array, Array]
    ) -> None:
        """Take the line at which the kernel stopped, or say what is wrong with it."""
        begin, row = int(state[0]), int(state[2])
        end = data.index(b"\n", begin)
        ids, log_probs, backoffs = arrays
        try:
            log_prob, words, weight = self._parsed(data[begin:end], piece.order)
            found = self._ids(words)
        except FormatError as error:
            place = f"{self.path}:{piece.first_line + int(state[1])}"
            raise FormatError(error.what, where=place, hint=error.hint) from None
        if piece.order == 1:
            found = [begin + words[0].start(), begin + words[0].end()]
        ids[row] = found
        log_probs[row] = log_prob
        if backoffs.size:
            backoffs[row] = weight
        state += (end + 1 - begin, 1, 1, 0)
        state[3] = state[1]

    def _parsed(self, line: bytes, order: int) -> tuple[float, list[re.Match[bytes]], float]:
        """Log-probability, words, and back-off weight of a line; natural logarithms."""
        tokens = list(_TOKEN.finditer(line))
        if b"\0" in line:
            raise FormatError("the line holds a NUL byte: the file is damaged")
        words = tokens[1 : order + 1]
        log_prob = _log_prob(tokens[0][0])
        if len(words) < order:
            raise FormatError(
                f"a {order}-gram needs a number and {_words(order)}, and this line has "
                f"{_words(len(words))}"
            )
        if len(tokens) > order + 2:
            raise FormatError(
                f"{len(tokens) - 1} words and numbers stand after the log-probability of this "
                f"{order}-gram, allowed are {order + 1}"
            )
        weight = _weight(tokens[order + 1][0], order) if len(tokens) == order + 2 else 0.0
        if order == self.order and weight != 0:
            raise FormatError(
                f"a back-off weight of {shown(tokens[order + 1][0])} stands at the highest order, "
                f"{order}, where none is used"
            )
        return log_prob, words, weight

    def _ids(self, words: list[re.Match[bytes]]) -> list[int]:
        if self._vocabulary is None:
            return []
        found = []
        for word in words:
            text = word[0].decode(errors="replace")
            if text not in self._vocabulary or text.encode() != word[0]:
                raise FormatError(f"the word {shown(word[0])} is not among the unigrams")
            found.append(self._vocabulary.id(text))
        return found


def _number(token: bytes, what: str) -> float:
    if not _NUMBER.fullmatch(token):
        raise FormatError(f"{shown(token)} is not a number, and {what} must stand there")
    value = float(token)
    if math.isnan(value):
        raise FormatError(f"{what} is not a number (NaN)")
    return value


def _log_prob(token: bytes) -> float:
    value = _number(token, "a log-probability")
    if value > ROUNDING:
        raise FormatError(f"the log-probability {shown(token)} is above 0")
    return _natural(min(value, 0.0))


def _weight(token: bytes, order: int) -> float:
    from unrolled.ngram.arpa.arpa_kernels import MOST_BACKOFF

    value = _number(token, f"after {_words(order)} a back-off weight")
    if value > MOST_BACKOFF:
        raise FormatError(
            f"the back-off weight {shown(token)} is above {MOST_BACKOFF:g}, which no model needs"
        )
    return _natural(value)


def _natural(value: float) -> float:
    """As `arpa_kernels.natural`; below what float32 holds it is log zero."""
    with np.errstate(over="ignore"):
        return float(np.float32(value * math.log(10.0) + 0.0))


def _words(count: int) -> str:
    return "1 word" if count == 1 else f"{count or 'no'} words"


def _spelled(data: bytes, spans: Array) -> tuple[Array, bytes]:
    """Sizes (R, 1) of the words at spans of the data, and the words back to back."""
    sizes = spans[:, 1] - spans[:, 0]
    ends = np.cumsum(sizes, dtype=np.int64)
    places = np.repeat(spans[:, 0] - (ends - sizes), sizes)
    places += np.arange(places.size)
    return sizes[:, None], np.frombuffer(data, np.uint8)[places].tobytes()
