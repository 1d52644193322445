"""Estimate one length of the n-grams that begin with a range of first words: columns in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.table import ROUNDING
from unrolled.scale.estimation import (
    LevelCounts,
    discounted,
    interpolated,
    logarithms,
    renewed,
)
from unrolled.scale.exchange import Sender, arranged
from unrolled.text.vocabulary import BOS, UNK

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

_EMPTY = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Part:
    """The n-grams of one length that begin with a range of first words; N of them, C contexts.

    Attributes:
        length: words of an n-gram, 2 to the order.
        words: the range of first words.
        sizes: (length, words) int64, how many n-grams of each length to this each of them begins.
        children: (C,) uint32, how many n-grams begin with each context.
        occurrences: (N,) uint32. adjusted: (N,) uint32, of lengths below the order.
        bigram_words: second words of the bigrams of the range, int32.
        descendants: for lengths from 3 on, how many of the n-grams each bigram begins, uint32.
        received: (N, 2) uint32, for lengths from 3 on: rows of `exchange.Sender`.
        senders: what sends the n-grams' numbers, and for Katz the contexts' sums.
        context_occurrences: (C,) uint32, for cut-offs, of lengths from 3 on.
        last_words: (N,) int32, for cut-offs.
        context_descendants, context_received: the same of the contexts, for Katz from length 4 on.
    """

    length: int
    words: Words
    sizes: Array
    children: Array
    occurrences: Array
    bigram_words: Array
    adjusted: Array = field(default_factory=lambda: _EMPTY)
    descendants: Array = field(default_factory=lambda: _EMPTY)
    received: Array = field(default_factory=lambda: _EMPTY)
    sender: Sender | None = None
    context_sender: Sender | None = None
    context_occurrences: Array | None = None
    last_words: Array | None = None
    context_descendants: Array = field(default_factory=lambda: _EMPTY)
    context_received: Array = field(default_factory=lambda: _EMPTY)

    def starting(self, length: int) -> Words:
        """The n-grams of a length that begin with <s>."""
        if not self.words[0] <= BOS < self.words[1]:
            return 0, 0
        sizes, place = self.sizes[length - 1], BOS - self.words[0]
        start = int(sizes[:place].sum())
        return start, start + int(sizes[place])


@dataclass(frozen=True)
class Estimated:
    """What an estimated part gives; arrays of n-grams and contexts that the cut-offs leave.

    Attributes:
        log_probs, backoffs: float32, natural logarithms.
        last_words, children: where there are cut-offs, else None.
        sent, sums_sent: rows for each part of the next length.
        sums: for Katz, what all words after each context sum to.
    """

    log_probs: Array
    backoffs: Array
    last_words: Array | None = None
    children: Array | None = None
    sent: list[Array] = field(default_factory=list)
    sums_sent: list[Array] = field(default_factory=list)
    sums: Array | None = None


@dataclass(frozen=True)
class Unigrams:
    """Order 1: probabilities (V,) float32, their logarithms, and for Katz what follows each word.

    Attributes:
        sums: (V,) float64, what all words after each word sum to; known after length 2.
    """

    probabilities: Array
    log_probs: Array
    sums: Array | None = None

    @classmethod
    def of(cls, rules: Rules, counts: Array, highest: bool) -> Unigrams:
        """From the counts (V,) that the smoothing uses; ``highest``: there is no longer n-gram."""
        probabilities = rules.unigrams(counts).astype(np.float32)
        if rules.config.smoothing == "additive" and not highest:
            impossible = probabilities[UNK] == 0
            _flatten(probabilities, (BOS, BOS + 1), 1 / rules.uniform_size)
            if impossible:
                probabilities[UNK] = 0  # the vocabulary is closed
        return cls(probabilities, logarithms(probabilities.copy()))


class PartEstimator:
    """Estimates the parts of one length.

    Args:
        rules: of the smoothing method; the length's own numbers are taken from them.
        length: words of an n-gram, 2 to the order.
        totals: (2, 8) counts of adjusted counts and of occurrences, of the whole text.
        unigrams: of the whole text.
    """

    def __init__(self, rules: Rules, length: int, totals: Array, unigrams: Unigrams) -> None:
        self.rules, self.length, self.unigrams = rules, length, unigrams
        self.config = rules.config
        self.highest = length == self.config.order
        self.own = rules.smoothing.continuation and not self.highest
        self.katz = self.config.smoothing == "katz"
        take: Any = rules.katz if self.katz else rules.interpolation
        self._taken = take(length, totals[0 if self.own else 1])

    def estimate(self, part: Part) -> Estimated:
        """Log-probabilities and back-off weights of a part, and what it sends."""
        used = part.adjusted if self.own else part.occurrences
        counts = LevelCounts.of(
            part.children, used, part.occurrences, self.config.cutoff(self.length)
        )
        return self._katz(part, counts) if self.katz else self._interpolate(part, counts)

    def _interpolate(self, part: Part, counts: LevelCounts) -> Estimated:
        values = self._lower(part)
        if self.config.smoothing == "stupid-backoff":  # what is cut off gives nothing to others
            plain = LevelCounts(counts.first, counts.used, counts.occurrences, 0)
            backoffs = interpolated(plain, values, self._taken)
            backoffs[:] = self.config.backoff
        else:
            backoffs = interpolated(counts, values, self._taken)
        if self.config.smoothing == "additive" and not self.highest:
            # Additive smoothing backs off to the uniform distribution at once, but for <s>.
            _flatten(values, part.starting(self.length), 1 / self.rules.uniform_size)
            _flatten(backoffs, part.starting(self.length - 1), 1.0)
        sent = part.sender.rows(values) if part.sender else []
        logarithms(values)
        return self._kept(part, counts, values, logarithms(backoffs), sent=sent)

    def _katz(self, part: Part, counts: LevelCounts) -> Estimated:
        lower, whole = self._lower(part), self._whole(part)
        values = logarithms(discounted(counts, self._taken))
        keep = np.ones(values.size, bool)
        if counts.cutoff:
            keep = counts.occurrences > counts.cutoff
        values, backoffs, sums = renewed(
            counts.first, values, lower, keep, whole, self.rules.predicted
        )
        return self._kept(
            part, counts, values, backoffs,
            sent=part.sender.rows(values) if part.sender else [],
            sums_sent=part.context_sender.rows(sums) if part.context_sender else [],
            sums=sums if self.length == 2 else None,
        )  # fmt: skip

    def _lower(self, part: Part) -> Array:
        """The lower-order number of each n-gram, (N,) float32."""
        if self.length > 2:
            values = _arranged(part, self.length, part.received, part.descendants)
            return values.view(np.float32).reshape(-1)
        unigrams = self.unigrams
        return (unigrams.log_probs if self.katz else unigrams.probabilities)[part.bigram_words]

    def _whole(self, part: Part) -> Array:
        """What all words after the suffix of each context sum to, (C,) float64."""
        if self.length == 2:
            total = float(np.exp(self.unigrams.log_probs, dtype=np.float64).sum())
            # A padded vocabulary: the rest belongs to words that are not in it.
            return np.full(part.children.size, total if abs(total - 1) <= ROUNDING else 1.0)
        if self.length == 3:
            assert self.unigrams.sums is not None
            return self.unigrams.sums[part.bigram_words]
        values = _arranged(part, self.length - 1, part.context_received, part.context_descendants)
        return values.view(np.float64).reshape(-1)

    def _kept(
        self, part: Part, counts: LevelCounts, log_probs: Array, backoffs: Array, **other: Any
    ) -> Estimated:
        """The numbers that the cut-offs leave."""
        if part.last_words is None:
            return Estimated(log_probs, backoffs, **other)
        keep = counts.occurrences > counts.cutoff
        before = np.zeros(keep.size + 1, np.uint32)
        np.cumsum(keep, out=before[1:])
        children = before[counts.first[1:]] - before[counts.first[:-1]]
        if part.context_occurrences is not None:
            contexts = part.context_occurrences > self.config.cutoff(self.length - 1)
            children, backoffs = children[contexts], backoffs[contexts]
        return Estimated(log_probs[keep], backoffs, part.last_words[keep], children, **other)


def _arranged(part: Part, length: int, rows: Array, descendants: Array) -> Array:
    starts, bigrams = (np.append(0, np.cumsum(part.sizes[k - 1])) for k in (length, 2))
    return arranged(rows, part.words[0], starts, (part.bigram_words, descendants, bigrams))


def _flatten(values: Array, starting: Words, value: float) -> None:
    values[: starting[0]] = value
    values[starting[1] :] = value
