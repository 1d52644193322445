"""Words and their ids.

Ids 0, 1 and 2 are ``<unk>``, ``<s>`` and ``</s>``. The ids of words read from a text go by
descending frequency, so that a class of frequent words is a slice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import FormatError, SettingError, TextError
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.text.hashing import MAX_PROBES, RECENT, SCANNED, hash_word
from unrolled.text.specials import (
    ALL_KEPT,
    BOS,
    EOS,
    SPECIALS,
    UNK,
    newlines,
    reserved_token_error,
    special_policy,
)

__all__ = ["BOS", "EOS", "SPECIALS", "UNK", "EncodedBlock", "Vocabulary", "readonly"]

_ENCODE_LINES = CachedKernel(
    "unrolled.text.encoding_kernels",
    "encode_lines",
    "u1[] u1[] u4[] u8[] u8[]! i8 i8 i4[]! i8[][]! u8[]!",
)

_ENTER_WORDS = CachedKernel("unrolled.text.encoding_kernels", "enter_words", "u1[] u4[] u8[]! u8[]")

_SEPARATORS = b"\0\t\n\r "
_NEWLINE = 10
_AT_ONCE = 100_000  # words that become lines together, which takes 45 bytes a word
_DTYPES = {"text": "uint8", "offsets": "uint32", "slots": "uint64"}


@dataclass(frozen=True)
class EncodedBlock:
    """The ids of lines of text.

    Attributes:
        ids: (T,) int32, each line as ``<s> words </s>``.
        sentences: lines, empty ones included.
        oov: words that the vocabulary lacks; a literal ``<unk>`` is not one of them.
    """

    ids: npt.NDArray[np.int32]
    sentences: int
    oov: int


class Vocabulary:
    """An immutable list of words with fast look-up both ways.

    Args:
        text: (bytes,) uint8, the words in UTF-8 back to back.
        offsets: (V + 1,) uint32, where each word begins in ``text``.
        slots: a power of two of at least 4 V / 3 hash slots, uint64; built if absent.

    Raises:
        SettingError: when a word is empty, comes twice, or holds white space.

    >>> vocabulary = Vocabulary.from_words(["the", "cat", "sat"])
    >>> len(vocabulary), vocabulary.id("cat"), vocabulary.id("dog"), vocabulary.word(5)
    (6, 4, 0, 'sat')
    >>> vocabulary.encode("the dog sat")
    array([3, 0, 5], dtype=int32)
    """

    def __init__(
        self,
        text: npt.NDArray[np.uint8],
        offsets: npt.NDArray[np.uint32],
        slots: npt.NDArray[np.uint64] | None = None,
    ) -> None:
        self._text = readonly(text)
        self._offsets = readonly(offsets)
        self._slots = readonly(self._indexed() if slots is None else slots)

    def _indexed(self) -> npt.NDArray[np.uint64]:
        low = np.flatnonzero(self._text <= _SEPARATORS[-1])
        separators = low[np.isin(self._text[low], np.frombuffer(_SEPARATORS, np.uint8))]
        if separators.size:
            bad = int(np.searchsorted(self._offsets, separators[0], side="right")) - 1
        else:
            slots = np.zeros(max(1 << (4 * len(self) // 3).bit_length(), 16), np.uint64)
            bad = index_words(self._text, self._offsets, slots)
        if bad >= 0:
            word = self.word(bad)
            raise SettingError(
                f"word {word!r} (number {bad}) is empty, comes twice or holds white space"
            )
        return slots

    @classmethod
    def from_words(cls, words: Iterable[str | bytes]) -> Vocabulary:
        """The vocabulary of the words in their order, after ``<unk>``, ``<s>`` and ``</s>``.

        Those three may be among the words, anywhere, and keep ids 0, 1 and 2.

        Raises:
            SettingError: the words have 4 GiB and more.
        """
        specials = [special.encode() for special in SPECIALS]
        given = [word.encode() if isinstance(word, str) else word for word in words]
        parts = specials + [word for word in given if word not in specials]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        if offsets[-1] >= 2**32:
            raise SettingError(f"the words have {offsets[-1]} bytes, allowed are 4294967295")
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets.astype(np.uint32))

    @classmethod
    def united(
        cls, vocabularies: Sequence[Vocabulary], weights: Sequence[npt.NDArray[np.float64]]
    ) -> Vocabulary:
        """The words of all vocabularies, by descending sum of their weights (V,) in each.

        Words of equal weight go by first appearance.
        """
        every = cls.from_words(dict.fromkeys(itertools.chain.from_iterable(vocabularies)))
        total = np.zeros(len(every))
        for vocabulary, own in zip(vocabularies, weights, strict=True):
            total[every.ids(list(vocabulary))] += own
        total[: EOS + 1] = np.inf
        names = list(every)
        order = np.argsort(-total, kind="stable")
        return cls.from_words(names[id] for id in order.tolist())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], where: str) -> Vocabulary:
        """The vocabulary of a model file, which ``where`` names in errors.

        Only shapes, types and ends are checked, which takes no time. Whatever else the arrays hold,
        look-ups stay inside them and end. The one array of compact ones is read whole, a fifth of
        a second for a million words.

        Raises:
            FormatError: when an array is missing or cannot be what it should.
        """
        if "words" in arrays:
            return cls._from_lines(_checked(arrays, "words", "uint8", where), where)
        text, offsets, slots = (
            _checked(arrays, name, dtype, where) for name, dtype in _DTYPES.items()
        )
        words = offsets.size - 1
        marks = "".join(SPECIALS).encode()
        if words < 3 or offsets[0] != 0 or offsets[words] != text.size:
            raise FormatError("the vocabulary's offsets do not fit its text", where=where)
        if text[: len(marks)].tobytes() != marks or offsets[1:4].tolist() != [5, 8, 12]:
            raise _no_marks(where)
        if 3 * slots.size < 4 * words or slots.size & (slots.size - 1):
            raise FormatError(
                f"the vocabulary has {slots.size} hash slots for {words} words; "
                "they must be a power of two, and at least 4 for 3 words",
                where=where,
            )
        return cls(text, offsets, slots)

    @classmethod
    def _from_lines(cls, lines: npt.NDArray[np.uint8], where: str) -> Vocabulary:
        ends = np.flatnonzero(lines == _NEWLINE)
        if ends.size == 0 or ends[-1] != lines.size - 1:
            raise FormatError("the vocabulary's words do not end in a newline each", where=where)
        if lines.size - ends.size >= 2**32:
            raise FormatError("the vocabulary's words have more than 4294967295 bytes", where=where)
        offsets = np.zeros(ends.size + 1, np.uint32)
        offsets[1:] = ends - np.arange(ends.size)
        marks = "".join(f"{special}\n" for special in SPECIALS).encode()
        if lines[: len(marks)].tobytes() != marks:
            raise _no_marks(where)
        try:
            return cls(lines[lines != _NEWLINE], offsets)
        except SettingError as error:
            raise FormatError(f"the vocabulary's {error.what}", where=where) from None

    def arrays(self, *, compact: bool = False) -> dict[str, npt.NDArray[Any]]:
        """The arrays that from_arrays takes: ``text``, ``offsets`` and ``slots``, not copied.

        Args:
            compact: only ``words``, one a line, a third of the bytes; the others are made from it.

        Raises:
            FormatError: they cannot be compact, as the file that they come from is damaged.
        """
        if compact:
            return {"words": self._lines()}
        return {"text": self._text, "offsets": self._offsets, "slots": self._slots}

    def _lines(self) -> npt.NDArray[np.uint8]:
        if np.any(self._offsets[1:] <= self._offsets[:-1]) or np.any(self._text == _NEWLINE):
            raise FormatError("the vocabulary is damaged: some words are empty or no words")
        lines = np.empty(self._text.size + len(self), np.uint8)
        offsets = self._offsets.astype(np.int64)
        for begin in range(0, len(self), _AT_ONCE):
            own = offsets[begin : begin + _AT_ONCE + 1]
            words = np.insert(self._text[own[0] : own[-1]], own[1:] - own[0], _NEWLINE)
            lines[own[0] + begin :][: words.size] = words
        return lines

    def __len__(self) -> int:
        return int(self._offsets.size) - 1

    def __iter__(self) -> Iterator[str]:
        text, offsets = self._text.tobytes(), self._offsets.tolist()
        return (
            text[start:stop].decode(errors="replace") for start, stop in itertools.pairwise(offsets)
        )

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._look_up(word) >= 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return np.array_equal(self._offsets, other._offsets) and np.array_equal(
            self._text, other._text
        )

    def __hash__(self) -> int:
        return hash((len(self), self._text[-64:].tobytes()))

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} words)"

    def __getstate__(self) -> dict[str, npt.NDArray[Any]]:
        return self.arrays()

    def __setstate__(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        self.__init__(arrays["text"], arrays["offsets"], arrays["slots"])  # type: ignore[misc]

    def id(self, word: str) -> int:
        """The id of a word, 0 if it is not in the vocabulary."""
        return max(self._look_up(word), UNK)

    def word(self, id: int) -> str:
        """The word of an id; what is not UTF-8 in it becomes U+FFFD.

        Raises:
            SettingError: when the id is not one of the vocabulary.
        """
        if not 0 <= id < len(self):
            raise SettingError(f"word id {id} is outside the vocabulary, 0 to {len(self) - 1}")
        return self._bytes(id).decode(errors="replace")

    def words(self, ids: Iterable[int]) -> list[str]:
        """The words of ids (N,)."""
        return [self.word(int(id)) for id in ids]

    def ids(self, words: Sequence[str]) -> npt.NDArray[np.int32]:
        """The ids (N,) int32 of words, 0 for those that the vocabulary lacks."""
        joined = " ".join(words).encode(errors="replace")
        separators = sum(joined.count(bytes([separator])) for separator in _SEPARATORS)
        if separators == len(words) - 1:
            ids = self._encode(joined, ALL_KEPT)
            if ids.size == len(words):
                return ids
        # Some word is empty or holds white space, so that the joined text has other words.
        return np.array([self.id(word) for word in words], np.int32)

    def encode(self, text: str | bytes) -> npt.NDArray[np.int32]:
        """The ids (N,) int32 of the words of one sentence, without marks.

        Words are what ASCII white space parts; ``<s>`` and ``</s>`` get their own ids.
        """
        data = text.encode(errors="replace") if isinstance(text, str) else text
        return self._encode(data, ALL_KEPT)

    def _encode(self, data: bytes, policy: int) -> npt.NDArray[np.int32]:
        out = np.empty((len(data) + 1) // 2 + 8, np.int32)
        block = np.frombuffer(data, np.uint8)
        written = self._encode_lines(readonly(block), _NO_RECENT, policy, 0, out)[0]
        return out[:written]

    def _encode_lines(
        self,
        data: npt.NDArray[np.uint8],
        recent: npt.NDArray[np.uint64],
        policy: int,
        marks: int,
        out: npt.NDArray[np.int32],
    ) -> tuple[int, int, int, int]:
        """As `encoding_kernels.encode_lines`."""
        batch, hashes = np.empty((3, SCANNED), np.int64), np.empty(SCANNED, np.uint64)
        table = self._text, self._offsets, self._slots
        found: tuple[int, int, int, int] = _ENCODE_LINES(
            data, *table, recent, policy, marks, out, batch, hashes
        )
        return found

    def encode_block(
        self,
        block: bytes | bytearray | memoryview | npt.NDArray[np.uint8],
        *,
        specials: str = "unknown",
        place: Callable[[int], str] | None = None,
    ) -> EncodedBlock:
        """The ids of whole lines of text, each within ``<s>`` and ``</s>``; the GIL is released.

        Args:
            block: UTF-8; a line ends at a newline or at the end, and an empty line is an empty
                sentence.
            specials: what a literal ``<unk>``, ``<s>`` or ``</s>`` does, see TextOptions.
            place: names a line, counted from 0, for an error.

        Raises:
            TextError: at a mark that ``specials`` does not allow.

        >>> vocabulary = Vocabulary.from_words(["the", "cat", "sat"])
        >>> vocabulary.encode_block(b"the cat\\n\\nthe dog sat\\n")
        EncodedBlock(ids=array([1, 3, 4, 2, 1, 2, 1, 3, 0, 5, 2], dtype=int32), sentences=3, oov=1)
        """
        policy = special_policy(specials)
        data = readonly(np.frombuffer(block, np.uint8))
        lines = newlines(data) + 1
        out = np.empty((data.size + 1) // 2 + 2 * lines + 8, np.int32)
        # A memory of recent words costs its zeroing, so only large blocks have one.
        recent = _NO_RECENT if data.size < 1 << 16 else np.zeros(2 * RECENT, np.uint64)
        written, sentences, oov, stopped = self._encode_lines(data, recent, policy, 1, out)
        if stopped >= 0:
            raise reserved_token_error(data, stopped, place)
        if stopped == -2:
            raise TextError("the text was changed by another thread while it was read")
        return EncodedBlock(out[:written], sentences, oov)

    def _bytes(self, id: int) -> bytes:
        return self._text[int(self._offsets[id]) : int(self._offsets[id + 1])].tobytes()

    def _look_up(self, word: str) -> int:
        """The id or -1, in Python: for one word loading a kernel would take longer."""
        data = word.encode(errors="replace")
        if not data or any(separator in data for separator in _SEPARATORS):
            return -1
        hashed, mask = hash_word(data), int(self._slots.size) - 1
        for probe in range(MAX_PROBES):
            slot = int(self._slots[(hashed + probe) & mask])
            if slot == 0:
                return -1
            id = (slot & 0xFFFFFFFF) - 1
            if slot >> 32 == hashed >> 32 and 0 <= id < len(self) and self._bytes(id) == data:
                return id
        return -1


def _checked(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: str, where: str
) -> npt.NDArray[Any]:
    """An array of a vocabulary, of one dimension and the type that it must have."""
    array = arrays.get(name)
    if array is None:
        raise FormatError(f"the vocabulary lacks its array {name!r}", where=where)
    if array.dtype != np.dtype(dtype) or array.ndim != 1:
        raise FormatError(
            f"the vocabulary's {name!r} is {array.ndim}-dimensional {array.dtype}, "
            f"not 1-dimensional {dtype}",
            where=where,
        )
    return array


def _no_marks(where: str) -> FormatError:
    return FormatError("the vocabulary does not begin with <unk> <s> </s>", where=where)


def index_words(
    text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.uint32], slots: npt.NDArray[np.uint64]
) -> int:
    """Enter every word into empty slots; the id of the first word that cannot be entered, or -1.

    A word cannot be entered when it is there already, is empty, or collides too often. ``text`` and
    ``offsets`` must be read-only, as `readonly` makes them.
    """
    bad: int = _ENTER_WORDS(text, offsets, slots, readonly(slots))
    return bad


_NO_RECENT = np.zeros(0, np.uint64)


def readonly(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view that cannot be written, so that the kernels compile for one type only."""
    view = np.ascontiguousarray(array).view()
    if not view.flags.aligned:
        view = view.copy()
    view.flags.writeable = False
    return view
