"""Mixtures of any language models with weights tuned on held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.mixture import LINEAR, Mixture, check_several
from unrolled.language_models.mixture_weights import WeightFit, em_weights, log_linear_weights
from unrolled.text.vocabulary import BOS, EOS

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.text.options import TextOptions
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]


def mix_models(
    models: Sequence[LanguageModel],
    held_out: Sources | None = None,
    *,
    how: str = LINEAR,
    weights: Sequence[float] | Array | None = None,
    options: TextOptions | None = None,
    threads: int = 2,
) -> Mixture:
    """A mixture whose weights maximise the likelihood of held-out text.

    Linear weights are found by expectation maximisation on all of the text, log-linear ones by
    Newton's method with the exact normaliser, on whole sentences spread evenly over the text: as
    many as fit a gigabyte (about 13,000 tokens for two models of 10,000 words).

    Args:
        models: two or more of any kinds; their words may differ, see `Mixture`.
        held_out: files, folders or "-"; without it the weights are as given or equal.
        how: ``linear`` or ``log-linear``.
        weights: take these instead of tuning them.
        options: how to read the text; by default as the models' training text was read.

    Raises:
        SettingError: fewer than two models, models that do not fit together, both text and weights.
        TextError: text that cannot be read, or an empty one.

    >>> from unrolled import train_ngram
    >>> texts = ["the cat sat", "the dog sat", "a cat ran"]
    >>> models = [train_ngram(texts=texts, order=n, smoothing="witten-bell") for n in (1, 2)]
    >>> mix_models(models, weights=[1.0, 0.5], how="log-linear").name
    'witten-bell-1^1.00 * witten-bell-2^0.50'
    """
    check_several(models)
    if held_out is not None and weights is not None:
        raise SettingError("give held-out text to tune the weights on, or weights, not both")
    equal = np.full(len(models), 1 / len(models))
    untuned = Mixture(models, equal if weights is None else weights, how=how)
    if held_out is None:
        return untuned
    from unrolled.text.corpus import read_corpus

    given = options or untuned.text_options
    text = read_corpus(held_out, options=given, vocabulary=untuned.vocabulary, threads=threads)
    fit = _fit_linear(untuned, text.ids) if how == LINEAR else _fit_log_linear(untuned, text.ids)
    tuned = {
        "tokens": fit.tokens,
        "steps": len(fit.perplexities) - 1,
        "perplexity_before": _finite(fit.perplexities[0]),
        "perplexity": _finite(fit.perplexities[-1]),
        "impossible": fit.impossible,
    }
    return Mixture(models, fit.weights, how=how, provenance={"tuned": tuned})


def _fit_linear(mixture: Mixture, ids: Array) -> WeightFit:
    predicted = ids != BOS
    log_probs = []
    for number, model in enumerate(mixture.models):
        own = model.checked(model.text_log_probs(mixture.ids_of(number, ids)))
        log_probs.append(mixture.of_ids(number, ids, own)[predicted])
    return em_weights(np.minimum(np.array(log_probs), 0))


def _fit_log_linear(mixture: Mixture, ids: Array) -> WeightFit:
    most = (1 << 30) // (4 * len(mixture.models) * len(mixture.vocabulary))
    ids = spread_sentences(ids, max(most, 1000))
    predicted = ids != BOS
    log_probs = np.empty((len(mixture.models), int(predicted.sum()), len(mixture.vocabulary)), "f4")
    for number, model in enumerate(mixture.models):
        at, seen = 0, 0
        for rows in model.all_log_probs(mixture.ids_of(number, ids)):
            kept = mixture.by_word(number, model.checked(rows))[predicted[seen : seen + len(rows)]]
            log_probs[number, at : at + len(kept)] = kept
            at, seen = at + len(kept), seen + len(rows)
    return log_linear_weights(log_probs, ids[predicted])


def spread_sentences(ids: Array, most: int) -> Array:
    """Whole sentences of ids (T,), spread evenly, of ``most`` tokens together or one sentence.

    >>> spread_sentences(np.array([1, 3, 2, 1, 4, 2, 1, 5, 2, 1, 6, 2]), 6).tolist()
    [1, 3, 2, 1, 5, 2]
    """
    if ids.size <= most:
        return ids
    sentences = np.split(ids, np.flatnonzero(ids == EOS)[:-1] + 1)
    step = -(-ids.size // most)
    return np.concatenate(sentences[::step])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
