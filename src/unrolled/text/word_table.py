"""The growing table that words are counted in while a text is read for the first time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from unrolled.errors import SettingError, TextError
from unrolled.text import encoding_kernels as encoding
from unrolled.text.hashing import RECENT
from unrolled.text.specials import SPECIALS, reserved_token_error, special_policy
from unrolled.text.vocabulary import Vocabulary, index_words, readonly

Number = TypeVar("Number", bound=np.generic)

_START = "".join(SPECIALS).encode()
MAX_TEXT = 2**32 - 1  # offsets are uint32


class WordTable:
    """Words with their counts, ids by first appearance, the specials first.

    ``last_sentences`` are the lines of the block counted last.

    >>> table = WordTable()
    >>> table.count(b"a rose is a rose\\n").tolist()
    [1, 3, 4, 5, 3, 4, 2]
    >>> table.counts.tolist()[3:]
    [2, 2, 1]
    """

    def __init__(self) -> None:
        self._text = np.zeros(1 << 16, np.uint8)
        self._text[: len(_START)] = np.frombuffer(_START, np.uint8)
        self._offsets = np.zeros(1 << 13, np.uint32)
        self._offsets[1:4] = (5, 8, 12)
        self._counts = np.zeros(1 << 13, np.int64)
        self._slots = np.zeros(1 << 14, np.uint64)
        self._recent = np.zeros(2 * RECENT, np.uint64)
        self._out = np.empty(0, np.int32)
        self.words = 3
        self._index()
        self.last_sentences = 0
        self._filled = len(_START)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Occurrences of each word as an array (words,) int64; those of the marks stay 0."""
        return self._counts[: self.words]

    def count(
        self,
        data: bytes,
        specials: str = "unknown",
        place: Callable[[int], str] | None = None,
    ) -> npt.NDArray[np.int32]:
        """Count a block of whole lines; its ids (n,) int32 are overwritten by the next call.

        Args:
            specials, place: see `Vocabulary.encode_block`.

        Raises:
            TextError: at a special token that ``specials`` does not allow, or when the words
                outgrow the table.
        """
        policy = special_policy(specials)
        room = most_ids(data)
        if self._out.size < room:
            self._out = np.empty(room, np.int32)
        state = np.array([0, 0, 0, 0, self.words, self._filled, 0], np.int64)
        block = readonly(np.frombuffer(data, np.uint8))
        while True:
            code = encoding.count_lines(
                block,
                state,
                self._text,
                self._offsets,
                self._slots,
                self._counts,
                (readonly(self._text), readonly(self._offsets), readonly(self._slots)),
                self._recent,
                policy,
                self._out,
            )
            self.words, self._filled = int(state[4]), int(state[5])
            if code != 1:
                break
            self._grow(int(state[6]))
        if code == 2:
            raise reserved_token_error(block, int(state[0]), place)
        if code != 0:
            raise TextError("too many words of the text collide in the hash table")
        self.last_sentences = int(state[3])
        return self._out[: int(state[1])]

    def _grow(self, needed: int) -> None:
        if self._filled + needed > self._text.size:
            size = max(2 * self._text.size, self._filled + needed)
            if self._filled + needed > MAX_TEXT:
                raise TextError(
                    f"the distinct words of the text have more than {MAX_TEXT} bytes in all",
                    hint="Check that it has spaces, or set tokens=char",
                )
            self._text = _longer(self._text, min(size, MAX_TEXT))
        if self.words + 1 >= min(self._offsets.size, self._counts.size):
            self._offsets = _longer(self._offsets, 2 * self._offsets.size)
            self._counts = _longer(self._counts, 2 * self._counts.size)
        if 2 * self.words + 2 > self._slots.size:
            self._slots = np.zeros(2 * self._slots.size, np.uint64)
            self._index()

    def _index(self) -> None:
        text, offsets = readonly(self._text), readonly(self._offsets[: self.words + 1])
        if index_words(text, offsets, self._slots) >= 0:
            raise TextError("too many words of the text collide in the hash table")

    def stop_counting(self) -> None:
        """Give back the memory that only ``count`` needs; it must not be called again."""
        self._slots = self._recent = np.zeros(1, np.uint64)
        self._out = np.empty(0, np.int32)

    def spaced(self, first: int, stop: int) -> bytes:
        """The words with ids first to stop - 1, a space after each: a text of them all."""
        order = np.arange(first, stop, dtype=np.int64)
        text, _ = self._laid_out(order, gap=1)
        return text.tobytes()

    def vocabulary(self, order: npt.NDArray[np.int64]) -> Vocabulary:
        """The words with the ids ``order`` (V,), whose first three are 0, 1, 2, as a Vocabulary."""
        return Vocabulary(*self._laid_out(order, gap=0))

    def _laid_out(
        self, order: npt.NDArray[np.int64], gap: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
        offsets = self._offsets[: self.words + 1]
        size = int(np.diff(offsets)[order].sum(dtype=np.int64)) + gap * order.size
        text, places = np.empty(size, np.uint8), np.zeros(order.size + 1, np.uint32)
        if not encoding.lay_out(readonly(self._text), readonly(offsets), order, gap, text, places):
            raise SettingError("the order of the words names ids outside the table")
        return text, places


def most_ids(data: bytes) -> int:
    """An upper bound of the ids that a text gives, with the room that the kernels want free.

    A word takes two bytes with its space, and each line has two marks.
    """
    return (len(data) + 1) // 2 + 2 * (data.count(b"\n") + 1) + 8


def _longer(array: npt.NDArray[Number], size: int) -> npt.NDArray[Number]:
    longer = np.zeros(size, array.dtype)
    longer[: array.size] = array
    return longer
