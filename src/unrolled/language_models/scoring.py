"""Scores of sentences and of their tokens, and sentences in the order of their scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.sentences import words_of
from unrolled.language_models.unknown_words import Unknown, unknown_words

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]

_BATCH = 1000  # sentences scored at a time


@dataclass(frozen=True)
class Surprisal:
    """One predicted token.

    Attributes:
        sentence: its number, from 0. word: as written; ``</s>`` at the end of each sentence.
        last: whether it is that end.
        log_prob: natural logarithm of its probability; 0 of an unknown word that is skipped.
        oov: whether the model does not know it.
        length: words of the longest n-gram found; None of models that are no n-gram models.
    """

    sentence: int
    word: str
    log_prob: float
    oov: bool
    length: int | None = None
    last: bool = False

    @property
    def bits(self) -> float:
        """Surprisal, -log2 p."""
        return -self.log_prob / math.log(2)


def surprisals(
    model: LanguageModel,
    sentences: Iterable[str],
    *,
    options: TextOptions | None = None,
    unknown: Unknown = "class",
    threads: int = 2,
) -> Iterator[Surprisal]:
    """Every token's log-probability with its word as written, </s> included.

    Args:
        sentences: texts; a thousand at a time are read and scored together.
        options: how to split them into tokens; by default as the model's training text.
        unknown: what an unknown word costs, see `unknown_words`.
        threads: that may be used.

    Raises:
        SettingError: one text instead of several, when the first token is asked for.

    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
    >>> [(token.word, round(token.bits, 2)) for token in surprisals(model, ["the cat"])]
    [('the', 0.71), ('cat', 0.71), ('</s>', 3.15)]
    """
    if isinstance(sentences, str):
        raise SettingError("sentences is one text", hint="Give a list of them")
    options, reading = options or model.text_options, unknown_words(unknown, model)
    remaining, number = iter(sentences), 0
    while batch := list(islice(remaining, _BATCH)):
        scores = model.token_scores(batch, threads=threads, options=options)
        log_probs = reading.log_probs(scores.log_probs, scores.oov).tolist()
        oov = scores.oov.tolist()
        lengths = [None] * len(oov) if scores.lengths is None else scores.lengths.tolist()
        for sentence, start in zip(batch, scores.starts.tolist(), strict=False):
            words = [*words_of(sentence, options), "</s>"]
            for place, word in enumerate(words, start + 1):
                last = place == start + len(words)
                yield Surprisal(number, word, log_probs[place], oov[place], lengths[place], last)
            number += 1


def score_sentences(
    model: LanguageModel,
    sentences: Sequence[str],
    *,
    eos: bool = True,
    options: TextOptions | None = None,
    unknown: Unknown = "class",
    threads: int = 2,
) -> Array:
    """Log-probability of each sentence, (N,) float64; of stupid back-off a score.

    Args:
        eos: whether </s> is predicted at the end of each.
        options: how to split them into tokens; by default as the model's training text.
        unknown: what an unknown word costs, see `unknown_words`.
        threads: that may be used.

    Raises:
        SettingError: one text instead of several, or another cost of unknown words.
    """
    reading = unknown_words(unknown, model)
    scores = model.token_scores(sentences, threads=threads, options=options)
    log_probs = reading.log_probs(scores.log_probs, scores.oov)
    if not eos:
        log_probs = log_probs.copy()
        log_probs[scores.starts[1:] - 1] = 0
    return replace(scores, log_probs=log_probs).sums


def rank(
    model: LanguageModel,
    sentences: Sequence[str],
    *,
    options: TextOptions | None = None,
    unknown: Unknown = "class",
) -> list[tuple[float, str]]:
    """Sentences by falling log-probability: which word order, which word, is likelier.

    The lecture's example: p(the cat is small) > p(small the is cat).

    Raises:
        As `score_sentences`.
    """
    scores = score_sentences(model, sentences, options=options, unknown=unknown)
    places = np.argsort(-scores, kind="stable")
    return [(float(scores[place]), sentences[place]) for place in places]
