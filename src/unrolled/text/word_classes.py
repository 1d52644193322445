"""Classes of words for the factored softmax p(w | h) = p(c | h) p(w | c, h)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.runtime.threads import even_slices
from unrolled.text.vocabulary import BOS, EOS, UNK

Array = np.ndarray[Any, Any]

_LEAST = 100  # classes, where their number is not given
CLASSINGS = ("frequency", "sqrt-frequency", "bigrams")
PASSES = 12  # of the exchange over all words; later ones move almost nothing
_WORDS = 2000  # that are tried in one call
TABLE = 1 << 16  # counts of which the exchange keeps n log n


def word_classes(
    word_counts: Array,
    classes: int,
    *,
    by: str = "sqrt-frequency",
    ids: Array | None = None,
) -> Array:
    """A class for every word.

    ``frequency`` cuts the words, by descending count, into slices of equal mass (Mikolov et al.
    2011, section 3); ``sqrt-frequency`` does so with square roots of counts, which evens the sizes.
    ``bigrams`` puts words together that have the same neighbours: the exchange algorithm for the
    class bigram model of Brown et al. (1992), from Kneser and Ney (1993).

    Args:
        word_counts: (V,) how often each id occurs in the training text.
        classes: how many are wanted; there are fewer where one word outweighs several. 0 for
            the square root of V, with which a word has the fewest scores if all classes are equally
            large, or 100 if that is more.
        by: one of `CLASSINGS`.
        ids: (T,) the training text, for ``bigrams``.

    Returns:
        (V,) int64, 0 to C - 1; no class is empty, and ``<s>`` is in that of ``<unk>``.

    Raises:
        SettingError: a negative number of classes, or an unknown way.

    >>> counts = np.array([4, 0, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1])
    >>> word_classes(counts, 3, by="frequency").tolist()
    [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    """
    if classes < 0:
        raise SettingError(f"classes is {classes}, allowed are 0 and more")
    classes = classes or max(round(math.sqrt(len(word_counts))), _LEAST)
    if by not in CLASSINGS:
        raise SettingError(f"classes by '{by}' are unknown, allowed are {', '.join(CLASSINGS)}")
    mass = np.array(word_counts, np.float64)
    mass[BOS] = 0
    if by == "bigrams":
        if ids is None:
            raise SettingError("classes by bigrams need the training text")
        found = _exchanged(np.asarray(ids), mass, classes)
    else:
        found = _binned(np.sqrt(mass) if by == "sqrt-frequency" else mass, classes)
    found[BOS] = found[UNK]
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _binned(mass: Array, classes: int) -> Array:
    """Slices of about equal mass of the words by descending mass."""
    order = np.argsort(-mass, kind="stable")
    sorted_mass = mass[order]
    middle = (np.cumsum(sorted_mass) - sorted_mass / 2) / max(float(mass.sum()), 1.0)
    found = np.empty(mass.size, np.int64)
    found[order] = np.minimum((middle * classes).astype(np.int64), classes - 1)
    return found


def _exchanged(ids: Array, mass: Array, classes: int) -> Array:
    from unrolled.text.word_class_kernels import exchange

    size = mass.size
    left, right = ids[:-1].astype(np.int64), ids[1:].astype(np.int64)
    inside = right != BOS
    left, right = left[inside], right[inside]
    left = np.where(left == BOS, EOS, left)  # both sides of a sentence's border are one word here
    pairs, counts = np.unique(left * size + right, return_counts=True)
    left, right = np.divmod(pairs, size)
    counts = counts.astype(np.uint64)
    order = np.argsort(-mass, kind="stable")
    found = np.empty(size, np.int64)
    found[order] = np.arange(size) % classes
    backwards = np.argsort(right, kind="stable")
    of_classes = np.zeros((classes, classes), np.uint64)
    np.add.at(of_classes, (found[left], found[right]), counts)
    both_ways = np.stack([of_classes, of_classes.T])
    words = order[mass[order] > 0]
    neighbours = (
        np.searchsorted(left, np.arange(size + 1)),
        right,
        counts,
        np.searchsorted(right[backwards], np.arange(size + 1)),
        left[backwards],
        counts[backwards],
    )
    state = (
        found,
        _n_log_n(np.arange(TABLE)),
        both_ways,
        _n_log_n(both_ways),
        both_ways.sum(2),
        np.empty((2, classes), np.uint64),
        np.empty(classes),
    )
    for _ in range(PASSES):
        # A kernel cannot be interrupted, so each call takes some of the words.
        parts = even_slices(words.size, -(-words.size // _WORDS))
        moved = sum(exchange(*neighbours, words[begin:end], *state) for begin, end in parts)
        if moved * 1000 < words.size:
            break
    return found


def _n_log_n(counts: Array) -> Array:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))
