"""Estimate one length of the n-grams that begin with a range of first words: columns in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
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
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.rounding import exact_probabilities, measured_rooms
from unrolled.storage.columns import Column, CountColumn
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
        sender, context_sender: what sends the n-grams' numbers, and for Katz and rounding the
            contexts' sums.
        context_occurrences: (C,) uint32, for cut-offs, of lengths from 3 on.
        last_words: (N,) int32, for cut-offs.
        context_descendants, context_received: the same of the contexts, for Katz and for rounding
            from length 4 on.
        log_probs, backoffs: for rounding, of the n-grams and contexts that the cut-offs leave.
    """

    length: int
    words: Words
    sizes: Array
    children: Array
    bigram_words: Array
    occurrences: Array = field(default_factory=lambda: _EMPTY)
    adjusted: Array = field(default_factory=lambda: _EMPTY)
    descendants: Array = field(default_factory=lambda: _EMPTY)
    received: Array = field(default_factory=lambda: _EMPTY)
    sender: Sender | None = None
    context_sender: Sender | None = None
    context_occurrences: Array | None = None
    last_words: Array | None = None
    context_descendants: Array = field(default_factory=lambda: _EMPTY)
    context_received: Array = field(default_factory=lambda: _EMPTY)
    log_probs: Array = field(default_factory=lambda: np.empty(0, np.float32))
    backoffs: Array = field(default_factory=lambda: np.empty(0, np.float32))

    def starting(self, length: int) -> Words:
        """The n-grams of a length that begin with <s>."""
        return starting_ngrams(self.words, self.sizes[length - 1])

    def kept_children(self, keep: Array, context_cutoff: int) -> Array:
        """How many of the n-grams that ``keep`` (N,) marks begin with each context that is kept."""
        first = np.zeros(self.children.size + 1, np.uint32)
        np.cumsum(self.children, out=first[1:])
        before = np.zeros(keep.size + 1, np.uint32)
        np.cumsum(keep, out=before[1:])
        children: Array = before[first[1:]] - before[first[:-1]]
        if self.context_occurrences is not None:
            children = children[self.context_occurrences > context_cutoff]
        return children


@dataclass(frozen=True)
class Estimated:
    """What a part gives; arrays of n-grams and contexts that the cut-offs leave.

    Attributes:
        columns: by the names of `Step.outputs`.
        sent, sums_sent: rows for each part of the next length.
        sums: of length 2, for Katz and for rounding, what all words after each context sum to.
    """

    columns: dict[str, Array]
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


class Step:
    """A pass over the n-grams of one length, a part at a time.

    Attributes:
        config: of the smoothing. length: words of an n-gram. highest: whether none is longer.
        sends_sums: whether sums of contexts are sent too. width: numbers in a row that is sent.
        rounds: whether estimated numbers are read.
    """

    config: NgramConfig
    length: int
    sends_sums: bool = False
    width: int = 1
    rounds: bool = False

    @property
    def highest(self) -> bool:
        """Whether no n-gram is longer."""
        return self.length == self.config.order

    def outputs(self, files: LevelFiles) -> dict[str, Column | CountColumn]:
        """The columns that are made."""
        raise NotImplementedError

    def estimate(self, part: Part) -> Estimated:
        """What a part gives."""
        raise NotImplementedError


class PartEstimator(Step):
    """Estimates the parts of one length.

    Args:
        rules: of the smoothing method; the length's own numbers are taken from them.
        length: words of an n-gram, 2 to the order.
        totals: (2, 8) counts of adjusted counts and of occurrences, of the whole text.
        unigrams: of the whole text.
        quantized: give what quantizing needs too, and send places among the n-grams of a context.
    """

    def __init__(
        self,
        rules: Rules,
        length: int,
        totals: Array,
        unigrams: Unigrams,
        *,
        quantized: bool = False,
    ) -> None:
        self.rules, self.length, self.unigrams = rules, length, unigrams
        self.quantized, self.width = quantized, 2 if quantized else 1
        self.config = rules.config
        self.own = rules.smoothing.continuation and not self.highest
        self.katz = self.sends_sums = self.config.smoothing == "katz"
        take: Any = rules.katz if self.katz else rules.interpolation
        self._taken = take(length, totals[0 if self.own else 1])

    def outputs(self, files: LevelFiles) -> dict[str, Column | CountColumn]:
        """Log-probabilities, back-off weights, with cut-offs what is kept, and rooms."""
        length = self.length
        made: dict[str, Column | CountColumn] = {
            "log_probs": files.log_probs(length), "backoffs": files.backoffs(length - 1)
        }  # fmt: skip
        if self.config.prune:
            made["last_words"] = files.kept_words(length)
            made["children"] = files.kept_children(length - 1)
        if self.quantized:
            made |= {"rooms": files.rooms(length - 1), "lower": files.lower(length)}
            if length > 2:
                made["links"] = files.links(length)
        return made

    def estimate(self, part: Part) -> Estimated:
        """Log-probabilities and back-off weights of a part, and what it sends."""
        used = part.adjusted if self.own else part.occurrences
        counts = LevelCounts.of(
            part.children, used, part.occurrences, self.config.cutoff(self.length)
        )
        return self._katz(part, counts) if self.katz else self._interpolate(part, counts)

    def _interpolate(self, part: Part, counts: LevelCounts) -> Estimated:
        values, places = self._lower(part)
        lower = values.copy() if self.quantized else values
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
        sent = self._sent(part, counts, values)
        logarithms(values)
        columns = self._kept(part, counts, values, logarithms(backoffs), (lower, places))
        return Estimated(columns, sent)

    def _katz(self, part: Part, counts: LevelCounts) -> Estimated:
        (lower, places), whole = self._lower(part), self._whole(part)
        values = logarithms(discounted(counts, self._taken))
        keep = np.ones(values.size, bool)
        if counts.cutoff:
            keep = counts.occurrences > counts.cutoff
        values, backoffs, sums = renewed(
            counts.first, values, lower, keep, whole, self.rules.predicted
        )
        return Estimated(
            self._kept(part, counts, values, backoffs, (lower, places)),
            sent=self._sent(part, counts, values),
            sums_sent=part.context_sender.rows(sums) if part.context_sender else [],
            sums=sums if self.length == 2 else None,
        )

    def _lower(self, part: Part) -> tuple[Array, Array]:
        """The lower-order number of each n-gram, (N,) float32, and its place, if it was sent."""
        if self.length > 2:
            rows = arranged_part(part, self.length, part.received, part.descendants)
            return np.ascontiguousarray(rows[:, 0]).view(np.float32), rows[:, 1:]
        unigrams = self.unigrams
        values = unigrams.log_probs if self.katz else unigrams.probabilities
        return values[part.bigram_words], np.empty((part.bigram_words.size, 0), np.uint32)

    def _sent(self, part: Part, counts: LevelCounts, values: Array) -> list[Array]:
        """Rows for the n-grams one word longer."""
        if part.sender is None:
            return []
        if not self.quantized:
            return part.sender.rows(values)
        kept: Any = slice(None)
        children = part.children
        if part.last_words is not None:
            kept = counts.occurrences > counts.cutoff
            children = part.kept_children(kept, self.config.cutoff(self.length - 1))
        rows = np.zeros((values.size, 2), np.uint32)
        rows[:, 0] = values.view(np.uint32)
        rows[kept, 1] = places_of_children(children)
        return part.sender.rows(rows)

    def _whole(self, part: Part) -> Array:
        """What all words after the suffix of each context sum to, (C,) float64."""
        if self.length == 2:
            total = float(np.exp(self.unigrams.log_probs, dtype=np.float64).sum())
            # A padded vocabulary: the rest belongs to words that are not in it.
            return np.full(part.children.size, total if abs(total - 1) <= ROUNDING else 1.0)
        if self.length == 3:
            assert self.unigrams.sums is not None
            return self.unigrams.sums[part.bigram_words]
        values = arranged_part(
            part, self.length - 1, part.context_received, part.context_descendants
        )
        return values.view(np.float64).reshape(-1)

    def _kept(
        self,
        part: Part,
        counts: LevelCounts,
        log_probs: Array,
        backoffs: Array,
        lower: tuple[Array, Array],
    ) -> dict[str, Array]:
        """The numbers that the cut-offs leave."""
        columns = {"log_probs": log_probs, "backoffs": backoffs}
        children, (numbers, places) = part.children, lower
        if part.last_words is not None:
            keep = counts.occurrences > counts.cutoff
            cutoff = self.config.cutoff(self.length - 1)
            children = part.kept_children(keep, cutoff)
            if part.context_occurrences is not None:
                backoffs = backoffs[part.context_occurrences > cutoff]
            numbers, places = numbers[keep], places[keep]
            columns = {
                "log_probs": log_probs[keep], "backoffs": backoffs,
                "last_words": part.last_words[keep], "children": children,
            }  # fmt: skip
        if self.quantized:
            columns["lower"], exact = self._exact(part, numbers)
            columns["rooms"] = measured_rooms(children, exact)
            if self.length > 2:
                columns["links"] = places[:, 0]
        return columns

    def _exact(self, part: Part, lower: Array) -> tuple[Array, Array]:
        """Log-probabilities of the suffixes, and what quantizing takes for their probabilities."""
        if self.length == 2:
            words = part.bigram_words
            if part.last_words is not None:
                words = words[part.occurrences > self.config.cutoff(2)]
            log_probs = self.unigrams.log_probs
            return log_probs[words], np.exp(log_probs)[words]
        log_probs = lower if self.katz else logarithms(lower.copy())
        return log_probs, exact_probabilities(log_probs)


def places_of_children(children: Array) -> Array:
    """Each n-gram's place among those of its context; ``children`` (C,) is how many each has."""
    first = np.cumsum(children, dtype=np.int64) - children
    places: Array = np.arange(int(children.sum(dtype=np.int64))) - np.repeat(first, children)
    return places


def starting_ngrams(words: Words, sizes: Array) -> Words:
    """Those of a range of first words that begin with <s>; ``sizes`` (words,) is how many each."""
    if not words[0] <= BOS < words[1]:
        return 0, 0
    start = int(sizes[: BOS - words[0]].sum())
    return start, start + int(sizes[BOS - words[0]])


def arranged_part(part: Part, length: int, rows: Array, descendants: Array) -> Array:
    """The values that n-grams of a length received, in their order, (N, C) uint32."""
    starts, bigrams = (np.append(0, np.cumsum(part.sizes[k - 1])) for k in (length, 2))
    return arranged(rows, part.words[0], starts, (part.bigram_words, descendants, bigrams))


def _flatten(values: Array, starting: Words, value: float) -> None:
    values[: starting[0]] = value
    values[starting[1] :] = value
