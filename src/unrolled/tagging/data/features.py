"""Features of a word apart from its sentence: its id, its characters, its casing.

>>> words = Lexicon(["the", "of", "0000"], trained=5)
>>> words.ids(["The", "1996", "zebra"]).tolist()
[3, 5, 0]
>>> [shape_of(word) for word in ("bank", "Bank", "USA", "iPod", "1,000", "B52", "...")]
[1, 2, 3, 4, 5, 6, 0]
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from unrolled.errors import FormatError
from unrolled.text.vocabulary import SPECIALS as MARKS
from unrolled.text.vocabulary import UNK, Vocabulary

Array = np.ndarray[Any, Any]

SPECIALS = len(MARKS)  # they come first in a vocabulary
BORDER, RARE = 0, 1  # ids of the border between words, and of unknown characters
SHAPES = 7
LONGEST_WORD = 64  # characters of a word that are read: its first and its last half
_DIGIT = re.compile(r"\d")
_NO_WORD = re.compile(r"[ \t\n\r\v\f\0]|^$")


def zeroed(word: str) -> str:
    """The word with all its digits as 0.

    >>> zeroed("22.50")
    '00.00'
    """
    return _DIGIT.sub("0", word)


def is_word(word: str) -> bool:
    """Whether a vocabulary can hold a word besides its own marks: no white space is in it.

    >>> is_word("word"), is_word("<s>"), is_word("two words")
    (True, False, False)
    """
    return word not in MARKS and not _NO_WORD.search(word)


def shape_of(word: str) -> int:
    """How a word is written.

    0 neither letters nor digits, 1 lower case, 2 first letter capital, 3 all capitals, 4 capitals
    elsewhere, 5 digits without letters, 6 digits and letters.
    """
    if word.isalpha():  # nearly all words
        if word.islower():
            return 1
        if word.isupper():
            return 3 if len(word) > 1 else 2
        return 2 if word[0].isupper() and word[1:].islower() else 4
    letters = "".join(filter(str.isalpha, word))
    if _DIGIT.search(word):
        return 6 if letters else 5
    return shape_of(letters) if letters else 0


class Lexicon:
    """Words with a vector each, and the policy by which a word finds its own.

    Args:
        words: in the order of their ids after the three special ones; those that are trained come
            first, then those with frozen vectors of a file.
        trained: how many ids, special ones included, are trained.
        case: exact-then-lower, exact or lower. digits: whether a word that is not found is looked
            up again with its digits as 0.
    """

    def __init__(
        self,
        words: Iterable[str] | Vocabulary,
        *,
        trained: int,
        case: str = "exact-then-lower",
        digits: bool = True,
    ) -> None:
        self.vocabulary: Vocabulary = (
            words if isinstance(words, Vocabulary) else Vocabulary.from_words(words)
        )
        self.trained = trained
        self.case, self.digits = case, digits

    def __len__(self) -> int:
        return len(self.vocabulary)

    def ids(self, words: Sequence[str]) -> Array:
        """Ids (N,) int64, 0 where the word is unknown in all its forms."""
        found = np.zeros(len(words), np.int64)
        forms = [candidates(word, self.case, self.digits) for word in words]
        left = list(range(len(words)))
        for rank in range(max(map(len, forms), default=0)):
            left = [place for place in left if not found[place] and rank < len(forms[place])]
            if left:
                found[left] = self.vocabulary.ids([forms[place][rank] for place in left])
        return found


def candidates(word: str, case: str, digits: bool) -> list[str]:
    """The forms in which a word is looked up, in their order.

    >>> candidates("B-52", "exact-then-lower", True)
    ['B-52', 'b-52', 'B-00', 'b-00']
    """
    lower = word.lower()
    forms = {"exact": [word], "lower": [lower], "exact-then-lower": [word, lower]}[case]
    if digits:
        forms = forms + [zeroed(form) for form in forms]
    return list(dict.fromkeys(forms))


def new_words(counts: Mapping[str, int], case: str, digits: bool, known: set[str]) -> list[str]:
    """Words of the training data that a file of vectors lacks in all their forms.

    They are added in the last of these forms, so that Bank and bank share one vector, and 1996
    and 1997 as well; most frequent first.
    """
    added: Counter[str] = Counter()
    for word, count in counts.items():
        forms = candidates(word, case, digits)
        if not any(form in known for form in forms):
            added[forms[-1]] += count
    return [word for word, _ in added.most_common() if is_word(word)]


class Letters(NamedTuple):
    """Characters of U words in one array, as `characters` reads them.

    Attributes:
        flat: (M,) int64 ids: borders, the first word, borders, the second word, ... borders.
        starts, ends: (U,) int64 where each word lies in ``flat``.
    """

    flat: Array
    starts: Array
    ends: Array


class Forms:
    """Distinct words: id, look and characters of each, from which batches are put together."""

    def __init__(self, words: Sequence[str], lexicon: Lexicon, characters: Mapping[str, int]):
        self.words = lexicon.ids(words)
        self.shapes = np.array([shape_of(word) for word in words], np.int64)
        read = [_shortened(word) for word in words]
        lengths = np.array([len(word) for word in read], np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = [characters.get(character, RARE) for word in read for character in word]
        self._characters = np.array(ids, np.int64)

    def letters(self, chosen: Array, borders: int) -> Letters:
        """The characters of words, each between `borders` border marks."""
        begins = self._offsets[chosen]
        lengths = self._offsets[chosen + 1] - begins
        ends = np.cumsum(lengths + borders)
        starts = ends - lengths
        flat = np.zeros(int(ends[-1]) + borders if ends.size else borders, np.int64)
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        flat[np.repeat(starts, lengths) + within] = self._characters[
            np.repeat(begins, lengths) + within
        ]
        return Letters(flat, starts, ends)


def _shortened(word: str) -> str:
    half = LONGEST_WORD // 2
    if not word:
        return "\0"
    return word if len(word) <= LONGEST_WORD else word[:half] + word[-half:]


def character_ids(words: Iterable[str]) -> dict[str, int]:
    """Characters that come in two different words or more -> ids, from 2 on."""
    counts = Counter(character for word in words for character in set(word))
    frequent = sorted(character for character, count in counts.items() if count > 1)
    return {character: number for number, character in enumerate(frequent, 2)}


class Columns:
    """Values of further columns -> ids; 0 is a value that the training data did not have."""

    def __init__(self, values: Sequence[Sequence[str]]) -> None:
        self.values = [list(column) for column in values]
        self._ids = [
            {value: number for number, value in enumerate(column, 1)} for column in self.values
        ]

    def ids(self, rank: int, values: Iterable[str]) -> Array:
        """Ids (N,) int64 of the values of one column."""
        known = self._ids[rank]
        return np.array([known.get(value, UNK) for value in values], np.int64)

    @property
    def sizes(self) -> list[int]:
        """How many ids each column has."""
        return [len(column) + 1 for column in self.values]


def checked_texts(given: Any, what: str, where: str) -> list[str]:
    """A list of texts from a model file's settings.

    Raises:
        FormatError: it is something else.
    """
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise FormatError(f"the {what} are damaged", where=where)
    return list(given)
