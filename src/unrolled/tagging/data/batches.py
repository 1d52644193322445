"""Sentences of different lengths packed side by side without padding.

The sentences of a batch are sorted by length, longest first. Row 0 is the first word of the longest
sentence, row 1 the first word of the next one, and so on; after all first words come the second
words of those that have one. So the words at one place of their sentences are neighbours, a step of
a recurrent net is a matrix product over a slice of rows, and no row is anything but a word: nothing
that a sentence lies beside can change what is computed for it.

>>> packing = Packing(np.array([1, 3]))
>>> packing.place.tolist()  # the second sentence, of three words, comes first
[1, 0, 2, 3]
>>> packing.forward.steps
[(0, 2, 0, 0), (2, 3, 0, 1), (3, 4, 2, 1)]
>>> packing.backward.steps
[(3, 4, 0, 0), (2, 3, 3, 1), (0, 2, 2, 1)]
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Walk(NamedTuple):
    """One direction through packed sentences.

    Attributes:
        steps: for each step the rows ``begin:end`` that it computes, and the row from which on as
            many as ``count`` hold the states before; the other rows begin their sentences.
        later: (M,) int64 rows that have a row before them. earlier: (M,) int64 those rows.
    """

    steps: list[tuple[int, int, int, int]]
    later: Array
    earlier: Array

    @property
    def table(self) -> Array:
        """The steps as an array (T, 4) int64."""
        return np.array(self.steps, np.int64).reshape(-1, 4)


class Packing:
    """How sentences of lengths (S,), none of them 0, are packed.

    Attributes:
        lengths: (S,) int64 as given. offsets: (S + 1,) int64 where each begins end to end.
        place: (N,) int64 row of each word, in the order of the sentences as given.
        sentence: (N,) int64 which sentence, as given, a row is of.
    """

    def __init__(self, lengths: Array) -> None:
        lengths = np.asarray(lengths, np.int64)
        self.lengths = lengths
        self.offsets = np.zeros(lengths.size + 1, np.int64)
        np.cumsum(lengths, out=self.offsets[1:])
        order = np.argsort(-lengths, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        longest = int(lengths.max(initial=0))
        ending = np.bincount(lengths, minlength=longest + 1)[1:]
        self._sizes = lengths.size - np.concatenate([[0], np.cumsum(ending)])[:longest]
        self._begins = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)
        number = np.repeat(np.arange(lengths.size), lengths)
        step = np.arange(number.size) - np.repeat(self.offsets[:-1], lengths)
        self.place = self._begins[step] + rank[number]
        self.sentence = np.empty_like(number)
        self.sentence[self.place] = number

    @cached_property
    def forward(self) -> Walk:
        """From first words to last."""
        begins, sizes = self._begins.tolist(), self._sizes.tolist()
        first = [(0, begins[1], 0, 0)] if sizes else []
        steps = [(begins[t], begins[t + 1], begins[t - 1], sizes[t]) for t in range(1, len(sizes))]
        return Walk(first + steps, *self._neighbours)

    @cached_property
    def backward(self) -> Walk:
        """From last words to first."""
        begins, sizes = self._begins.tolist(), self._sizes.tolist()
        last = len(sizes) - 1
        first = [(begins[last], begins[last + 1], 0, 0)] if sizes else []
        steps = [
            (begins[t], begins[t + 1], begins[t + 1], sizes[t + 1]) for t in range(last - 1, -1, -1)
        ]
        left, right = self._neighbours
        return Walk(first + steps, right, left)

    @cached_property
    def _neighbours(self) -> tuple[Array, Array]:
        """Rows of words that follow another, and the rows of those: forwards."""
        sizes = self._sizes
        later = np.arange(self._begins[1] if sizes.size else 0, self.place.size)
        earlier = later - np.repeat(sizes[:-1], sizes[1:])
        return later, earlier

    @property
    def sizes(self) -> Array:
        """(T,) int64 sentences at each step."""
        return self._sizes


def by_length(
    lengths: Array, tokens: int, *, fewest: int = 1, most_tokens: int = 0
) -> Iterator[Array]:
    """Numbers of sentences of about one length, in batches of at most so many tokens.

    A sentence longer than that is a batch by itself. Empty sentences are left out.

    Args:
        fewest: sentences of a batch, if they have no more than ``most_tokens``.

    >>> [batch.tolist() for batch in by_length(np.array([3, 0, 1, 2, 9]), 4)]
    [[2, 3], [0], [4]]
    """
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    sums = np.concatenate([[0], np.cumsum(lengths[order])])
    begin = 0
    while begin < order.size:
        end, most = (
            int(np.searchsorted(sums, sums[begin] + size, side="right")) - 1
            for size in (tokens, most_tokens)
        )
        end = max(end, min(begin + fewest, most), begin + 1)
        yield order[begin:end]
        begin = end


def shuffled(lengths: Array, batch: int, random: np.random.Generator) -> Iterator[Array]:
    """All sentences in random order, in batches of like lengths: one pass of training.

    Sorted by length they would hardly be random, and unsorted most steps would be of few rows;
    each group of 32 batches is sorted for itself, and its batches come in random order.
    """
    order = random.permutation(np.flatnonzero(lengths > 0))
    pool = 32 * batch
    for begin in range(0, order.size, pool):
        part = order[begin : begin + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches = [part[low : low + batch] for low in range(0, part.size, batch)]
        for number in random.permutation(len(batches)):
            yield batches[number]


def ranges(begins: Array, lengths: Array) -> Array:
    """begins[0], begins[0] + 1, ... of each range, end to end: where words of a batch lie."""
    ends = np.cumsum(lengths)
    result: Array = np.arange(int(ends[-1])) + np.repeat(begins - ends + lengths, lengths)
    return result
