r"""Word vectors from files of word2vec (text and binary) and GloVe, for the words of a model.

A text file has a line for each word, ``word x1 ... xE`` (GloVe: Pennington et al. 2014). Those of
word2vec begin with a line ``words E``; in its binary files the E numbers are little-endian float32
after a word and a space (Mikolov et al. 2013). What a file is, is seen from its beginning; it may
be compressed (``.gz .bz2 .xz .zst``).

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder) / "vectors.txt"
...     _ = path.write_text("the 0.5 -0.5\ncat 1 2\n")
...     read = read_word_vectors(path, ["The", "cat", "zebra"])
>>> read.vectors[:2].tolist(), read.found.tolist()
([[0.5, -0.5], [1.0, 2.0]], [True, True, False])
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import TextError
from unrolled.storage.file_kinds import HEAD_BYTES, TEXT, recognise
from unrolled.text.compressed import DAMAGE, damaged, open_reader
from unrolled.text.number_kernels import read_row

Array = np.ndarray[Any, Any]

READ_BYTES = 1 << 20
MOST_NUMBERS = 100_000  # of one vector; more is a sign that the file is something else
LONGEST_WORD = 1 << 16  # bytes
LONGEST_LINE = LONGEST_WORD + 32 * MOST_NUMBERS  # bytes
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_CONTROLS = bytes(n for n in range(32) if n not in b"\t\n\r")


@dataclass(frozen=True)
class WordVectors:
    """vectors (V, E) float32, and for which of the V words they come from the file (V,) bool."""

    vectors: Array
    found: Array

    @property
    def width(self) -> int:
        """E."""
        return int(self.vectors.shape[1])

    def line(self) -> str:
        """How many words have vectors.

        >>> WordVectors(np.zeros((4, 2)), np.array([True, False, True, True])).line()
        '3 of 4 words have vectors of 2 numbers'
        """
        count = np.count_nonzero(self.found)
        return f"{count} of {self.found.size} words have vectors of {self.width} numbers"


def read_word_vectors(
    path: str | os.PathLike[str], words: Iterable[str], *, seed: int = 1
) -> WordVectors:
    """The vectors of words.

    A word gets the vector of just that word or, where the file has none, of its lower-case form.
    If the file has a word twice, the first one counts. Words without a vector get random ones from
    a normal distribution about 0 whose spread is that of the vectors found.

    Args:
        path: the file. words: V words, such as a `Vocabulary`; the order is that of the rows.
        seed: of the random vectors.

    Raises:
        TextError: the file cannot be read or is broken, with its place.
    """
    forms = [
        (word.encode(errors="replace"), word.lower().encode(errors="replace")) for word in words
    ]
    wanted = {form for both in forms for form in both}
    known: dict[bytes, Array] = {}
    with _Input(path) as source:
        records, parse = _records(source)
        for word, data in records:
            if word in wanted and word not in known:
                known[word] = parse(source, data)
    rows = [known.get(word, known.get(lower)) for word, lower in forms]
    found = np.array([row is not None for row in rows], bool)
    given = np.array([row for row in rows if row is not None], np.float32)
    spread = float(np.sqrt(np.mean(given.astype(np.float64) ** 2))) if given.size else 0.1
    random = np.random.default_rng(seed)
    vectors = random.normal(0, spread, (found.size, source.width)).astype(np.float32)
    vectors[found] = given.reshape(-1, source.width)
    return WordVectors(vectors, found)


def read_vectors(
    path: str | os.PathLike[str], most: int | None = None, wanted: Collection[str] = ()
) -> tuple[list[str], Array]:
    """The first words of a file, and others wherever they stand, with vectors (V, E) float32.

    A word that comes twice comes once; one that is not UTF-8 or holds white space is left out.

    Args:
        most: how many of the first words; None for all. wanted: words to take in any case.

    Raises:
        TextError: the file cannot be read or is broken, with its place, or has none of the words.
    """
    words: dict[str, Array] = {}
    asked = {word.encode(errors="replace") for word in wanted}
    left = -1 if most is None else most
    with _Input(path) as source:
        records, parse = _records(source)
        for word, data in records:
            if left == 0 and not asked:
                break
            if left == 0 and word not in asked:
                continue
            name = word.decode(errors="replace")
            if name not in words and "\ufffd" not in name and len(name.split()) == 1:
                words[name] = parse(source, data)
                left = max(left - 1, 0) if left > 0 else left
        if not words:
            raise TextError("the file has no words that can be used", where=source.name)
    return list(words), np.array(list(words.values()), np.float32)


# -- the formats -------------------------------------------------------------------------------

Records = Iterator[tuple[bytes, bytes]]  # a word, and what holds its numbers
Parse = Callable[["_Input", bytes], Array]


def _records(source: _Input) -> tuple[Records, Parse]:
    """Every word of a file, and what turns the data that come with it into numbers."""
    start = source.peek(HEAD_BYTES)
    first = source.line()
    if first is None:
        raise TextError("the file is empty", where=source.name)
    fields = first.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, source.width = int(fields[0]), int(fields[1])
        _check_width(source)
        if _is_binary(source.peek(LONGEST_WORD + 4 * source.width), source.width):
            return _binary_records(source, count), _from_bytes
        return _text_records(source, count), _from_line
    source.width = len(fields) - 1
    if source.width < 1 or not all(_is_number(field) for field in fields[1:]):
        raise _not_vectors(source, start, first)
    _check_width(source)
    source.unread(first + b"\n")
    return _text_records(source, None), _from_line


def _check_width(source: _Input) -> None:
    if not 1 <= source.width <= MOST_NUMBERS:
        raise TextError(
            f"the vectors have {source.width} numbers, allowed are 1 to {MOST_NUMBERS}",
            where=source.place,
        )


def _not_vectors(source: _Input, start: bytes, first: bytes) -> TextError:
    kind = recognise(start)
    if kind is not None and kind.what != TEXT:
        return TextError(f"it is {kind.what}, not word vectors", where=source.name, hint=kind.hint)
    return TextError(
        f"'{_shown(first)}' is not a word with its numbers",
        where=source.place,
        hint="Give a file of word2vec or GloVe",
    )


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _is_binary(head: bytes, width: int) -> bool:
    """Whether the numbers of the first word are bytes of float32 rather than digits."""
    numbers = head[head.find(b" ") + 1 :][: 4 * width]
    if any(byte in numbers for byte in _CONTROLS):
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(numbers)
    except UnicodeDecodeError:
        return True
    return False


def _text_records(source: _Input, count: int | None) -> Records:
    """Lines; what stands before the last E fields is the word, which may hold spaces."""
    width, seen = source.width, 0
    while (line := source.line()) is not None:
        line = line.strip(b" \t\r")
        if not line:
            continue
        seen += 1
        if line.count(b" ") == width:  # much cheaper than taking the line apart
            yield line[: line.find(b" ")], line
            continue
        fields = line.rsplit(maxsplit=width)
        if len(fields) <= width:
            raise _too_few(source, len(fields) - 1)
        yield fields[0], line
    if count is not None and seen != count:
        raise TextError(
            f"the file has {seen} words, and its first line says {count}",
            where=source.name,
            hint="Fetch it again",
        )


def _from_line(source: _Input, line: bytes) -> Array:
    vector = np.empty(source.width, np.float32)
    if line.count(b" ") == source.width:
        data = np.frombuffer(line + b"\n", np.uint8)
        if read_row(data, line.find(b" ") + 1, vector):
            return vector
    fields = line.rsplit(maxsplit=source.width)[1:]
    if len(fields) < source.width:  # two spaces stand together
        raise _too_few(source, len(fields))
    try:
        numbers = list(map(float, fields))
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        raise TextError(f"'{_shown(wrong)}' is not a number", where=source.place) from None
    with np.errstate(over="ignore"):  # said below
        return _finite(source, np.array(numbers, np.float32))


def _too_few(source: _Input, count: int) -> TextError:
    what = f"the line has {count} numbers, and the first has {source.width}"
    return TextError(what, where=source.place)


def _binary_records(source: _Input, count: int) -> Records:
    """A word, a space, and 4 E bytes; some programs end each record with a newline."""
    for number in range(1, count + 1):
        source.word = number
        word = source.until(b" ", LONGEST_WORD)
        data = source.exactly(4 * source.width)
        if word is None or len(data) < 4 * source.width:
            raise TextError(
                f"the file ends there or is broken, and its first line says {count} words",
                where=source.place,
                hint="Fetch it again",
            )
        yield word.lstrip(b"\n"), data


def _from_bytes(source: _Input, data: bytes) -> Array:
    return _finite(source, np.frombuffer(data, "<f4"))


def _finite(source: _Input, vector: Array) -> Array:
    if not np.isfinite(vector).all():
        raise TextError("the vector has numbers that are not finite", where=source.place)
    return vector


def _shown(text: bytes) -> str:
    shown = text.decode(errors="replace")
    return shown if len(shown) <= 40 else shown[:37] + "..."


class _Input:
    """A file, unpacked, as lines and as bytes; damage to it is a `TextError`.

    Attributes:
        width: E. word: number of the record, for the place of an error in a binary file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        self.width = 0
        self.word = 0
        self._line = 0
        self._buffer, self._at = b"", 0
        suffix = Path(self.name).suffix.lower()
        self._packed = suffix if suffix in _SUFFIXES else None

    def __enter__(self) -> _Input:
        try:
            self._raw = Path(self.name).open("rb")
        except OSError as error:
            raise damaged(error, self.name, None) from None
        self._read = open_reader(self._raw, self._packed)
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @property
    def place(self) -> str:
        """``file:line`` of the line read last, or of a binary file the number of the word."""
        return f"{self.name}, word {self.word}" if self.word else f"{self.name}:{self._line}"

    def _fill(self) -> bool:
        """Read more behind what is not used yet; False at the end."""
        try:
            data = self._read(READ_BYTES)
        except DAMAGE as error:
            raise damaged(error, self.name, self._packed) from None
        self._buffer, self._at = self._buffer[self._at :] + data, 0
        return bool(data)

    def line(self) -> bytes | None:
        """The next line without its newline, None at the end.

        Raises:
            TextError: a line so long that the file must be something else.
        """
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at > LONGEST_LINE:
                raise TextError(
                    f"the line has more than {LONGEST_LINE} bytes, which no word vector takes",
                    where=f"{self.name}:{self._line + 1}",
                    hint="Give a file of word2vec or GloVe",
                )
            if not self._fill():
                end = len(self._buffer)
                break
        if end == self._at == len(self._buffer):
            return None
        line = self._buffer[self._at : end]
        self._at = min(end + 1, len(self._buffer))
        self._line += 1
        return line

    def unread(self, line: bytes) -> None:
        """Put a line back."""
        self._buffer, self._at = line + self._buffer[self._at :], 0
        self._line -= 1

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end; they stay unread."""
        while len(self._buffer) - self._at < size and self._fill():
            pass
        return self._buffer[self._at : self._at + size]

    def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        data = self.peek(size)
        self._at += len(data)
        return data

    def until(self, mark: bytes, most: int) -> bytes | None:
        """Bytes up to ``mark``, which is dropped; None if ``most`` bytes do not hold it."""
        end = self._buffer.find(mark, self._at, self._at + most)
        if end < 0:
            found = self.peek(most).find(mark)  # which may move what is not used yet
            if found < 0:
                return None
            end = self._at + found
        data = self._buffer[self._at : end]
        self._at = end + len(mark)
        return data
