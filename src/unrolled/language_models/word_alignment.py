"""One model's words among those of a mixture, which may have words that the model lacks.

A word that a model lacks has probability 0 in its part of a linear mixture: the model's <unk>
stands for words that no model knows. In a log-linear one, where a probability of 0 would rule the
word out, the model's <unk> is shared equally by itself and the words that it lacks. Either way its
distribution sums to one over the words of all models. In the words before, a word that a model
lacks is its <unk>.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolled.text.vocabulary import UNK, Vocabulary

Array = np.ndarray[Any, Any]


def united_words(vocabularies: Sequence[Vocabulary]) -> Vocabulary:
    """The words of all vocabularies: those of the first in its order, then those of the others.

    >>> one, two = (Vocabulary.from_words(words) for words in (["a", "b"], ["b", "c"]))
    >>> list(united_words([one, two]))[3:]
    ['a', 'b', 'c']
    >>> united_words([one, one]) is one
    True
    """
    first = vocabularies[0]
    others = [own for own in vocabularies if own != first]
    if not others:  # no word is read then
        return first
    known = set(first)
    if all(known.issuperset(own) for own in others):
        return first
    return Vocabulary.from_words(dict.fromkeys(itertools.chain.from_iterable(vocabularies)))


class WordAlignment:
    """The ids of a mixture's words in the vocabulary of one of its models.

    Args:
        own: the model's words. whole: the mixture's, which has them all.
        share: divide <unk> among the words that the model lacks, as log-linear mixtures do.
    """

    def __init__(self, own: Vocabulary, whole: Vocabulary, share: bool) -> None:
        self._ids: Array | None = None
        self._lacking: Array | None = None
        self._less = np.float32(0)
        if own == whole:
            return
        self._ids = own.ids(list(whole))
        lacking = self._ids == UNK
        if np.count_nonzero(lacking) > 1:
            self._less = np.float32(np.log(np.count_nonzero(lacking)))
            lacking[UNK] = share
            self._lacking = lacking
        self._share = share

    def ids(self, ids: Array) -> Array:
        """The mixture's ids (any shape) as the model's; those of no word are unknown."""
        if self._ids is None:
            return ids
        return self._ids[np.where((ids < 0) | (ids >= self._ids.size), UNK, ids)]

    def by_word(self, log_probs: Array) -> Array:
        """A model's distributions (..., V) over the words of the mixture (..., U)."""
        if self._ids is None:
            return log_probs
        rows = log_probs[..., self._ids]
        if self._lacking is not None:
            rows[..., self._lacking] = self._of_lacking(rows[..., self._lacking])
        return rows

    def of_ids(self, ids: Array, log_probs: Array) -> Array:
        """What a model gave the mixture's ids, as the mixture takes it; same shape."""
        if self._lacking is None:
            return log_probs
        inside = (ids >= 0) & (ids < self._lacking.size)
        lacking = self._lacking[np.where(inside, ids, UNK)]
        return np.where(lacking, self._of_lacking(log_probs), log_probs)

    def _of_lacking(self, log_probs: Array) -> Array:
        if self._share:
            shared: Array = log_probs - self._less
            return shared
        return np.full_like(log_probs, -np.inf)
