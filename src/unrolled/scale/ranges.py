"""Ranges of n-grams that are estimated at once: of first words, or of second words of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import spread_words, word_bits
from unrolled.scale.exchange import Routes
from unrolled.scale.level_files import LevelFiles
from unrolled.storage.columns import CHUNK

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

MAX_PARTS = 200  # a file is open for each


@dataclass(frozen=True)
class Range:
    """N-grams that begin with a range of first words, or with a word and some second words.

    Attributes:
        words: the first words.
        sizes: (order, words) int64, how many n-grams of each length each of them begins here.
    """

    words: Words
    sizes: Array

    def largest(self, length: int) -> int:
        """The most n-grams of one length, up to one above ``length``."""
        return int(self.sizes[: length + 1].sum(axis=1).max())


@dataclass(frozen=True)
class Ranges:
    """All n-grams in ranges that fit into memory.

    The n-grams of two words need those of whole first words, whose number the vocabulary limits;
    longer ones are estimated in ranges of second words too.

    Attributes:
        whole: ranges of first words.
        split_words: (S,) first words of ranges of second words, in their order.
        split_keys: (S,) uint32, the least of the second words in the order of the model.
        split_sizes: (S, order) int64, how many n-grams of each length these have.
    """

    whole: list[Words]
    split_words: Array = field(default_factory=lambda: np.empty(0, np.int64))
    split_keys: Array = field(default_factory=lambda: np.empty(0, np.uint32))
    split_sizes: Array = field(default_factory=lambda: np.empty((0, 0), np.int64))

    @classmethod
    def within(cls, files: LevelFiles, ngrams: int) -> Ranges:
        """Ranges with at most so many n-grams of each length, or with a single first two words."""
        most = max(ngrams, int(files.by_word.sum(axis=1).max()) // MAX_PARTS + 1)
        whole = whole_ranges(files, most)
        words = [
            low for low, high in whole
            if high == low + 1 and files.by_word[2:, low].max(initial=0) > most
        ]  # fmt: skip
        if not words:
            return cls(whole)
        splits = [
            _split(files, word, rows, most)
            for word, rows in zip(words, _descendants(files, words), strict=True)
        ]
        keys, sizes = zip(*splits, strict=True)
        repeated = np.repeat(np.array(words), [len(own) for own in keys])
        return cls(whole, repeated, np.concatenate(keys), np.concatenate(sizes))

    def of_length(self, files: LevelFiles, length: int) -> list[Range]:
        """The ranges in which n-grams of a length are estimated, in the order of the model."""
        found = []
        for low, high in self.whole:
            split = np.flatnonzero(self.split_words == low) if high == low + 1 else None
            if length == 2 or split is None or split.size == 0:
                found.append(Range((low, high), files.by_word[:, low:high]))
                continue
            found += [Range((low, high), self.split_sizes[place][:, None]) for place in split]
        return found

    def routes(self, vocabulary_size: int) -> Routes:
        """Where numbers for n-grams of three words and more are sent."""
        counts = [max(int((self.split_words == low).sum()), 1) for low, _ in self.whole]
        numbers = np.cumsum([0, *counts])
        sizes = [high - low for low, high in self.whole]
        part_of = np.repeat(numbers[:-1].astype(np.uint16), sizes)
        words, firsts = np.unique(self.split_words, return_index=True)
        bits = word_bits(vocabulary_size)
        return Routes(
            part_of, int(numbers[-1]), words, np.append(firsts, self.split_words.size),
            self.split_keys, bits,
        )  # fmt: skip

    def arrays(self) -> dict[str, Array]:
        """What `of_arrays` takes."""
        return {
            "whole": np.array(self.whole), "split_words": self.split_words,
            "split_keys": self.split_keys, "split_sizes": self.split_sizes,
        }  # fmt: skip

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array]) -> Ranges:
        """From `arrays`."""
        whole = [(int(low), int(high)) for low, high in arrays["whole"]]
        return cls(whole, arrays["split_words"], arrays["split_keys"], arrays["split_sizes"])


def whole_ranges(files: LevelFiles, ngrams: int) -> list[Words]:
    """Ranges of first words with at most so many n-grams of each length each, or one word."""
    return _ranges(files.by_word, max(ngrams, 1))


def _ranges(sizes: Array, most: int) -> list[Words]:
    """Ranges of columns of ``sizes`` (R, N) whose sums are at most so many in each row."""
    ends = np.cumsum(sizes, axis=1)
    borders = [0]
    while borders[-1] < ends.shape[1]:
        done = ends[:, borders[-1] - 1] if borders[-1] else np.zeros(ends.shape[0], np.int64)
        border = min(
            int(np.searchsorted(row, before + most, side="right"))
            for row, before in zip(ends, done, strict=True)
        )
        borders.append(max(border, borders[-1] + 1))
    return list(pairwise(borders))


def _descendants(files: LevelFiles, words: Sequence[int]) -> list[Array]:
    """For each word (order, bigrams) int64: of its bigrams, how many n-grams of each length."""
    starts = np.append(0, np.cumsum(files.by_word[1]))
    found = [np.ones((files.order, int(files.by_word[1, word])), np.int64) for word in words]
    for length in range(3, files.order + 1):
        with files.descendants(length).reader() as reader:
            at = 0
            for word, rows in zip(words, found, strict=True):
                while at < starts[word]:
                    at += reader.read(min(CHUNK, int(starts[word]) - at)).size
                rows[length - 1] = reader.read(rows.shape[1])
                at += rows.shape[1]
    return found


def _split(files: LevelFiles, word: int, rows: Array, most: int) -> tuple[Array, Array]:
    """Least keys (S,) and sizes (S, order) of the ranges of second words of a word."""
    ranges = _ranges(rows[1:], most)
    with files.words(2).reader() as reader:
        reader.skip(int(files.by_word[1, :word].sum()))
        seconds = reader.read(rows.shape[1])
    keys = spread_words(seconds, word_bits(files.by_word.shape[1])).astype(np.uint32)
    sizes = np.array([rows[:, low:high].sum(axis=1) for low, high in ranges])
    sizes[:, 0] = 1
    least = keys[[low for low, _ in ranges]]
    least[0] = 0
    return least, sizes
