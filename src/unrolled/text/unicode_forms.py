"""Words that look alike and are not: forms of Unicode, and spaces that do not separate words."""

from __future__ import annotations

import unicodedata
import warnings

import numpy as np
import numpy.typing as npt

from unrolled.errors import UnrolledWarning
from unrolled.text.vocabulary import Vocabulary

SPACES = {"\u00a0": "no-break spaces (U+00A0)", "\u3000": "ideographic spaces (U+3000)"}


def report_unicode_forms(vocabulary: Vocabulary, counts: npt.NDArray[np.int64]) -> None:
    """Warn where words of a text differ only in their Unicode form, or hold a Unicode space.

    Args:
        counts: (V,) how often each word comes.

    Warns:
        UnrolledWarning: how many such words there are, and how often they come.
    """
    other = _not_ascii(vocabulary)
    for space, name in SPACES.items():
        ids = [id for id, word in other if space in word]
        if ids:
            _warn(
                f"{_words(ids)} ({_times(counts, ids)}) hold {name}, which do not separate words; "
                "--normalise nfkc makes them spaces"
            )
    composed = [
        (id, unicodedata.normalize("NFC", word))
        for id, word in other
        if not unicodedata.is_normalized("NFC", word)
    ]
    both = [(id, word) for id, word in composed if word in vocabulary]
    if both:
        ids, twins = [id for id, _ in both], [vocabulary.id(word) for _, word in both]
        _warn(
            f"{_words(ids)} such as '{both[0][1]}' are in the text in two forms of Unicode, "
            f"composed (NFC, {_times(counts, twins)}) and not ({_times(counts, ids)}), and count "
            "as different; --normalise nfc makes them one"
        )


def _not_ascii(vocabulary: Vocabulary) -> list[tuple[int, str]]:
    """The ids of words with other characters than those of ASCII, and the words."""
    arrays = vocabulary.arrays()
    offsets, text = arrays["offsets"], arrays["text"].tobytes()
    high = np.flatnonzero(arrays["text"] >= 128)
    ids = np.unique(np.searchsorted(offsets, high, side="right") - 1)
    spans = zip(offsets[ids].tolist(), offsets[ids + 1].tolist(), strict=True)
    words = [text[start:stop].decode(errors="replace") for start, stop in spans]
    return list(zip(ids.tolist(), words, strict=True))


def _words(ids: list[int]) -> str:
    return f"{len(ids):,} words" if len(ids) > 1 else "1 word"


def _times(counts: npt.NDArray[np.int64], ids: list[int]) -> str:
    total = int(counts[list(set(ids))].sum())
    return f"{total:,} times" if total > 1 else "once"


def _warn(message: str) -> None:
    warnings.warn(message, UnrolledWarning, stacklevel=4)
