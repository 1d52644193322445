"""What a language model gives to each word of sentences, whatever its tokens are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.sentences import encode_sentences, sentence_starts
from unrolled.language_models.stimuli import Sentence
from unrolled.language_models.unknown_words import UnknownWords
from unrolled.text.alignment import owners_of_tokens
from unrolled.text.options import TextOptions
from unrolled.text.vocabulary import BOS, UNK

Array = np.ndarray[Any, Any]

PER_MILLION = 6.0  # log10


@dataclass(frozen=True)
class WordScores:
    """What a model gives to N words of sentences, and to the S ends of these.

    surprisal, entropy, next_entropy: (N + S,) float64 bits, NaN where there is none; each
    sentence's words, then its end. oov: (N + S,) bool. log_frequency: (N + S,) float64.
    """

    surprisal: Array
    entropy: Array
    next_entropy: Array
    oov: Array
    log_frequency: Array

    def part(self, start: int, stop: int) -> WordScores:
        """Those of a slice."""
        return WordScores(*(getattr(self, each.name)[start:stop] for each in fields(self)))


class WordScorer:
    """A model, and how its tokens become words.

    Args:
        model: any language model.
        options: how texts are split into its tokens.
        unknown: what an unknown word costs.
        entropy: whether entropies are wanted.
        carried: whether a model that can remembers the sentences before in the same text.
        threads: that may be used.
    """

    def __init__(
        self,
        model: LanguageModel,
        options: TextOptions,
        unknown: UnknownWords,
        *,
        entropy: bool,
        carried: bool,
        threads: int,
    ) -> None:
        self.model, self.options, self.unknown = model, options, unknown
        self.entropy, self.threads = entropy, threads
        self.carried = carried and model.carries_context
        unigrams = model.unigram_log_probs() if self.options.tokens == "word" else None
        self.frequencies = None
        if unigrams is not None:
            self.frequencies = unigrams.astype(np.float64) / math.log(10) + PER_MILLION

    @property
    def names(self) -> list[str]:
        """The attributes of `WordScores` that it gives."""
        names = ["surprisal"]
        names += ["entropy", "next_entropy"] if self.entropy else []
        names += ["oov"]
        return names + (["log_frequency"] if self.frequencies is not None else [])

    def scores(self, sentences: Sequence[Sentence]) -> WordScores:
        """Scores of the words of sentences, which begin with the first one of a text."""
        seen = [self._seen(sentence) for sentence in sentences]
        texts = [text for text, _ in seen]
        ids = encode_sentences(self.model.vocabulary, texts, self.options)
        starts = sentence_starts(self.model.vocabulary, texts, self.options, ids)
        sizes = np.array([len(sentence.words) + 1 for sentence in sentences])
        firsts = np.cumsum(sizes) - sizes
        owners = np.full(ids.size, -1, np.int64)
        for number, (_, own) in enumerate(seen):
            low = starts[number] + 1
            owners[low : low + own.size] = own + firsts[number]
            owners[starts[number + 1] - 1] = firsts[number] + sizes[number] - 1
        firsts_of_texts = [0]
        if self.carried:
            rows = [sentence.row for sentence in sentences]
            firsts_of_texts = starts[np.flatnonzero(np.diff([-1, *rows]))].tolist()
        with self.model.use_threads(self.threads):
            parts = [
                self._scored(ids[low:high]) for low, high in pairwise([*firsts_of_texts, ids.size])
            ]
        log_probs, entropies = (np.concatenate(each) for each in zip(*parts, strict=True))
        log_probs = self.unknown.log_probs(self.model.checked(log_probs), ids == UNK)
        return self._summed(ids, log_probs, entropies, owners, int(sizes.sum()))

    def _scored(self, ids: Array) -> tuple[Array, Array]:
        """Log-probabilities, and entropies or NaN."""
        if self.carried:
            log_probs = self.model.text_log_probs(ids)
            return log_probs, self.model.text_entropies(ids) if self.entropy else _none(ids)
        if self.entropy:
            return self.model.log_probs_and_entropies(ids)
        return self.model.log_probs(ids), _none(ids)

    def _seen(self, sentence: Sentence) -> tuple[str, Array]:
        """The text that the model sees, and the word of each of its tokens."""
        words = np.array([word.start for word in sentence.words], np.int64)
        if sentence.spaced is None or self.options.tokens != "word":
            own = owners_of_tokens(sentence.text, sentence.words, self.options)
            return sentence.text, own
        text, placed = _spaced(sentence.spaced)
        of_unit = np.searchsorted(words, [unit.start for unit in sentence.spaced], "right") - 1
        return text, of_unit[owners_of_tokens(text, placed, self.options)]

    def _summed(
        self, ids: Array, log_probs: Array, entropies: Array, owners: Array, size: int
    ) -> WordScores:
        places = np.flatnonzero(owners >= 0)
        own = owners[places]
        bits = -log_probs[places].astype(np.float64) / math.log(2)
        surprisal = np.bincount(own, bits, size)
        counts = np.bincount(own, minlength=size)
        surprisal[counts == 0] = np.nan
        first, last = np.full(size, -1), np.full(size, -1)
        first[own[::-1]], last[own] = places[::-1], places
        missing = counts == 0
        values = entropies / math.log(2)
        after = np.append(np.where(ids[1:] == BOS, np.nan, values[1:]), np.nan)
        entropy = np.where(missing, np.nan, values[first])
        next_entropy = np.where(missing, np.nan, after[last])
        oov = np.bincount(own, ids[places] == UNK, size) > 0
        if self.unknown.skipped:
            surprisal[oov] = np.nan
        frequency = np.full(size, np.nan)
        if self.frequencies is not None:
            single = counts == 1
            frequency[single] = self.frequencies[ids[first[single]]]
            frequency[oov | ~np.isfinite(frequency)] = np.nan
        return WordScores(surprisal, entropy, next_entropy, oov, frequency)


def _none(ids: Array) -> Array:
    return np.full(ids.size, np.nan)


def _spaced(units: Sequence[Any]) -> tuple[str, list[Any]]:
    """Tokens joined by spaces, and the same tokens with their places there."""
    placed, at = [], 0
    for unit in units:
        placed.append(unit._replace(start=at, end=at + len(unit.text)))
        at += len(unit.text) + 1
    return " ".join(unit.text for unit in units), placed
