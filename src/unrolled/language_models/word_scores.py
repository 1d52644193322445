"""What a language model gives to each word of sentences, whatever its tokens are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.language_models.protocol import LanguageModel
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
        scored = self.model.token_scores(
            [text for text, _ in seen], threads=self.threads, options=self.options
        )
        starts = scored.starts
        sizes = np.array([len(sentence.words) + 1 for sentence in sentences])
        firsts = np.cumsum(sizes) - sizes
        owners = np.full(scored.ids.size, -1, np.int64)
        for number, (_, own) in enumerate(seen):
            low = starts[number] + 1
            owners[low : low + own.size] = own + firsts[number]
            owners[starts[number + 1] - 1] = firsts[number] + sizes[number] - 1
        log_probs, entropies = scored.log_probs, None
        texts = [(0, scored.ids.size)]
        if self.carried:
            of_text = [sentence.row for sentence in sentences]
            first = starts[np.flatnonzero(np.diff([-1, *of_text]))].tolist()
            texts = list(pairwise([*first, scored.ids.size]))
        with self.model.use_threads(self.threads):
            if self.carried:
                parts = [self.model.text_log_probs(scored.ids[a:b]) for a, b in texts]
                log_probs = self.model.checked(np.concatenate(parts))
            if self.entropy:
                of = self.model.text_entropies if self.carried else self.model.entropies
                entropies = np.concatenate([of(scored.ids[a:b]) for a, b in texts])
        log_probs = self.unknown.log_probs(log_probs, scored.oov)
        return self._summed(scored.ids, log_probs, entropies, owners, int(sizes.sum()))

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
        self, ids: Array, log_probs: Array, entropies: Array | None, owners: Array, size: int
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
        entropy = next_entropy = np.full(size, np.nan)
        if entropies is not None:
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


def _spaced(units: Sequence[Any]) -> tuple[str, list[Any]]:
    """Tokens joined by spaces, and the same tokens with their places there."""
    placed, at = [], 0
    for unit in units:
        placed.append(unit._replace(start=at, end=at + len(unit.text)))
        at += len(unit.text) + 1
    return " ".join(unit.text for unit in units), placed
