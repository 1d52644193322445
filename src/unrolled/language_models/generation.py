"""The next word: the likeliest ones, or sentences drawn word by word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel, State, require_normalised
from unrolled.language_models.sentences import text_of, words_of
from unrolled.text.vocabulary import EOS, UNK

Array = np.ndarray[Any, Any]

MAX_WORDS = 50  # of a sentence


def predict(model: LanguageModel, context: str, count: int = 10) -> list[tuple[str, float]]:
    """The likeliest next words after the words of ``context`` (from <s>), with probabilities.

    Words that are impossible there are left out, so there may be fewer than ``count``.

    Raises:
        SettingError: a count below 1. NotNormalisedError: stupid back-off.
        FormatError: a score that no model could give.
    """
    require_normalised(model, "predict")
    if count < 1:
        raise SettingError(f"count {count} must be at least 1")
    words = model.vocabulary.ids(words_of(context, model.text_options))
    state = state_after(model, words.tolist())
    log_probs = model.checked(model.next_log_probs(state))
    best = np.argsort(-log_probs, kind="stable")[:count]
    best = best[log_probs[best] > -np.inf]
    return [(model.vocabulary.word(int(word)), math.exp(log_probs[word])) for word in best]


def generate(
    model: LanguageModel,
    *,
    context: str = "",
    max_words: int = MAX_WORDS,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int | None = None,
) -> str:
    """Draw a sentence word by word until </s>; <unk> is never drawn.

    Args:
        context: words to go on from. max_words: stop after so many new ones.
        temperature: log-probabilities are divided by it; towards 0 the likeliest word wins.
        top_k: draw among the likeliest so many only.
        seed: the same seed gives the same sentence.

    Raises:
        SettingError: a temperature that is not above 0 and finite, a top_k below 1, or a
            seed below 0.
        NotNormalisedError: stupid back-off. FormatError: a score that no model could give.
    """
    words = words_of(context, model.text_options)
    drawn = draw_words(
        model, words, max_words=max_words, temperature=temperature, top_k=top_k, seed=seed
    )
    return text_of([*words, *(word for word, _ in drawn)], model.text_options)


def draw_words(
    model: LanguageModel,
    words: Sequence[str],
    *,
    max_words: int = MAX_WORDS,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int | None = None,
) -> Iterator[tuple[str, float]]:
    """Draw words one by one, until </s>, with their log-probabilities under the model.

    Args:
        words: of the sentence so far. The others as of `generate`, which lists the errors; they are
            raised here, before the first word is asked for.
    """
    check_drawing(model, temperature, top_k, seed)
    random = np.random.default_rng(seed)

    def drawn() -> Iterator[tuple[str, float]]:
        state = state_after(model, model.vocabulary.ids(words).tolist())
        for _ in range(max_words):
            log_probs = model.checked(model.next_log_probs(state))
            word = draw(log_probs, temperature, top_k, random)
            if word == EOS:
                break
            yield model.vocabulary.word(word), float(log_probs[word])
            state = model.advance(state, word)

    return drawn()


def check_drawing(
    model: LanguageModel, temperature: float, top_k: int | None, seed: int | None
) -> None:
    """Raise what `generate` lists."""
    require_normalised(model, "generate")
    if not 0 < temperature < math.inf:
        raise SettingError(f"temperature {temperature} must be above 0 and finite")
    if top_k is not None and top_k < 1:
        raise SettingError(f"top_k {top_k} must be at least 1")
    if seed is not None and seed < 0:
        raise SettingError(f"seed is {seed}, allowed are 0 and more")


def state_after(model: LanguageModel, words: Iterable[int]) -> State:
    """The state after the first words, as ids, of a sentence."""
    state = model.start()
    for word in words:
        state = model.advance(state, word)
    return state


def greedy(log_probs: Array) -> int:
    """The likeliest word but <unk>; </s> where nothing is possible."""
    weights = log_probs.copy()
    weights[UNK] = -np.inf
    best = int(weights.argmax())
    return best if weights[best] > -np.inf else EOS


def draw(
    log_probs: Array, temperature: float, top_k: int | None, random: np.random.Generator
) -> int:
    """A word id drawn from log-probabilities (V,), never <unk>; see `generate`."""
    weights = log_probs.astype(np.float64)
    weights[UNK] = -np.inf
    if top_k is not None and top_k < weights.size:
        weights[np.argsort(-weights, kind="stable")[top_k:]] = -np.inf
    top = weights.max()
    if top == -np.inf:
        return EOS  # nothing is possible here: maximum likelihood in an unseen context
    with np.errstate(over="ignore"):  # a tiny temperature makes all but the best impossible
        probabilities = np.exp((weights - top) / temperature)
    return int(random.choice(weights.size, p=probabilities / probabilities.sum()))
