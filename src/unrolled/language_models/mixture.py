"""Mixtures of language models, linear and log-linear; a mixture is a language model too.

An ensemble is a linear mixture of nets. The models may be of any kinds, nothing is approximated,
and all commands take the mixture's file like that of any other model.

>>> from unrolled import train_ngram
>>> texts = ["the cat sat", "the dog sat", "a cat ran"]
>>> models = [train_ngram(texts=texts, order=n, smoothing="witten-bell") for n in (1, 2)]
>>> mixture = Mixture(models, [0.25, 0.75])
>>> mixture.name
'0.25 witten-bell-1 + 0.75 witten-bell-2'
>>> float(np.exp(mixture.next_log_probs(mixture.start())).sum().round(6))
1.0
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import (
    LanguageModel,
    State,
    TextScorer,
    require_normalised,
)
from unrolled.language_models.state_rows import Layout, known_words, pack_rows, unpack_rows
from unrolled.language_models.word_alignment import WordAlignment, united_words
from unrolled.storage.components import components_contents, components_of, understood
from unrolled.storage.model_file import ModelFile
from unrolled.text.vocabulary import BOS

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]

LINEAR, LOG_LINEAR = "linear", "log-linear"


class Mixture(LanguageModel):
    """Several models as one.

    Linear: p(w|h) = sum_i a_i p_i(w|h), with weights of sum 1 (Jelinek and Mercer 1980).
    Log-linear: p(w|h) = prod_i p_i(w|h)^a_i / Z(h), with any weights of at least 0 and Z(h) the sum
    over the whole vocabulary (Klakow 1998); it can beat both models where a linear one averages.

    Args:
        models: one or more. The mixture has the words of all; `word_alignment` says what a model
            gives a word that it lacks.
        weights: one for each model.
        how: ``linear`` or ``log-linear``.
        provenance: where the mixture comes from.
        path: its file.

    Raises:
        SettingError: other weights or text options. NotNormalisedError: a model whose scores are
            no probabilities.
    """

    kind, kind_name = "mixture", "a mixture"

    def __init__(
        self,
        models: Sequence[LanguageModel],
        weights: Sequence[float] | Array,
        *,
        how: str = LINEAR,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        check_models(models)
        self.models = tuple(models)
        self.weights = checked_weights(weights, len(models), how)
        self.how = how
        config = {"how": how, "weights": self.weights.tolist()}
        words = united_words([model.vocabulary for model in models])
        super().__init__(words, config, provenance, path)
        self._alignments = [
            WordAlignment(model.vocabulary, words, share=how == LOG_LINEAR) for model in models
        ]
        self._used = [number for number, weight in enumerate(self.weights) if weight > 0]

    @property
    def name(self) -> str:
        """Weights and names, as a sum of probabilities or a product of powers."""
        if self.how == LOG_LINEAR:
            pairs = [f"{in_brackets(model.name)}^{a:.2f}" for model, a in self._weighted()]
            return " * ".join(pairs)
        return " + ".join(f"{a:.2f} {in_brackets(model.name)}" for model, a in self._weighted())

    def _weighted(self) -> Iterator[tuple[LanguageModel, float]]:
        return zip(self.models, self.weights.tolist(), strict=True)

    @cached_property
    def text_options(self) -> TextOptions:
        """How text is split into tokens: as by the models."""
        return self.models[0].text_options

    @property
    def unknown_types(self) -> int:
        """As of the models, of which all that know it agree."""
        found = {model.unknown_types for model in self.models} - {0}
        return found.pop() if len(found) == 1 else 0

    @property
    def carries_context(self) -> bool:
        """A linear mixture does if one of its models does; a log-linear one never."""
        return self.how == LINEAR and any(model.carries_context for model in self.models)

    @property
    def parameters(self) -> int:
        """Those of all models, and the weights."""
        return len(self.models) + sum(model.parameters for model in self.models)

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints, with the models inside."""
        models = [{"weight": weight, **model.info()} for model, weight in self._weighted()]
        return {**super().info(), "models": models}

    # -- the protocol ------------------------------------------------------------------------------

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,), sentences as <s> words </s>; (T,) float32."""
        return self._scores(ids, [model.log_probs for model in self.models])

    def text_log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) of a running text; (T,) float32."""
        return self.text_scorer()(ids)

    def text_scorer(self, progress: Callable[[int], None] | None = None) -> TextScorer:
        """Scores the parts of one text in their order."""
        scorers = [model.text_scorer() for model in self.models]

        def score(ids: Array) -> Array:
            scores = self._scores(ids, scorers)
            if progress is not None:
                progress(int(np.count_nonzero(ids != BOS)))
            return scores

        return score

    @contextlib.contextmanager
    def use_threads(self, threads: int) -> Iterator[int]:
        """Limit the threads of every model; as many texts at once as all of them take."""
        with contextlib.ExitStack() as stack:
            yield min(stack.enter_context(model.use_threads(threads)) for model in self.models)

    def _scores(self, ids: Array, scorers: Sequence[TextScorer]) -> Array:
        if self.how == LOG_LINEAR:
            return self._log_linear_log_probs(ids)
        scores: Array = np.empty((len(self._used), ids.size), np.float32)
        for row, number in zip(scores, self._used, strict=True):
            own = self.models[number].checked(scorers[number](self.ids_of(number, ids)))
            row[:] = self.of_ids(number, ids, own)
        mixed = self._log_sum(scores)
        mixed[ids == BOS] = 0
        return mixed

    def _log_linear_log_probs(self, ids: Array) -> Array:
        result, at = np.zeros(ids.size, np.float32), 0
        words = known_words(ids, len(self.vocabulary), ids.shape)
        for rows in self.all_log_probs(ids):
            here = np.arange(len(rows))
            result[at : at + len(rows)] = rows[here, words[at : at + len(rows)]]
            at += len(rows)
        result[ids == BOS] = 0
        return result

    def all_log_probs(self, ids: Array) -> Iterator[Array]:
        """The whole distribution at each place of ids (T,), a few places at a time: (t, V) float32.

        Row t says what may stand at place t after the words before it; rows at <s> mean nothing.
        """
        models = [self.models[number] for number in self._used]
        parts = [
            model.all_log_probs(self.ids_of(number, ids))
            for model, number in zip(models, self._used, strict=True)
        ]
        for rows in _aligned(parts):
            yield self._combined(rows)

    def start(self) -> State:
        """The state after <s>: one of each model."""
        return tuple(model.start() for model in self.models)

    def advance(self, state: State, word: int) -> State:
        """The state after one more word; at <s> a model that carries no context begins anew."""
        return tuple(
            model.start()
            if word == BOS and not model.carries_context
            else model.advance(part, int(own.ids(np.array(word))))
            for model, part, own in zip(self.models, state, self._alignments, strict=True)
        )

    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next one, (V,) float32."""
        return self._combined(
            [self.models[number].next_log_probs(state[number]) for number in self._used]
        )

    def start_states(self, count: int = 1) -> Array:
        """States after <s>: rows of bytes, or of objects if a model's are."""
        parts = [model.start_states(count) for model in self.models]
        if self.how == LOG_LINEAR or any(part.dtype == object for part in parts):
            return super().start_states(count)
        return pack_rows(parts)

    @cached_property
    def _layout(self) -> Layout:
        return [
            (part.dtype, part.shape[1]) for part in (model.start_states(1) for model in self.models)
        ]

    def extend(self, states: Array, words: Array) -> tuple[Array, Array]:
        """Advance each state by its word; see `LanguageModel.extend`."""
        if states.dtype == object:
            return super().extend(states, words)
        ids = known_words(words, len(self.vocabulary), states.shape[:1])
        found = [
            model.extend(part, self.ids_of(number, ids))
            for number, (model, part) in enumerate(
                zip(self.models, unpack_rows(states, self._layout), strict=True)
            )
        ]
        scores = [self.of_ids(number, ids, found[number][1]) for number in self._used]
        return pack_rows([after for after, _ in found]), self._log_sum(scores)

    def score_beams(self, states: Array, words: Array) -> Array:
        """Log-probabilities of words (N, K) after each state."""
        if states.dtype == object:
            return super().score_beams(states, words)
        ids = known_words(words, len(self.vocabulary), (len(states), 1))
        parts = unpack_rows(states, self._layout)
        return self._log_sum(
            [
                self.of_ids(
                    number,
                    ids,
                    self.models[number].score_beams(parts[number], self.ids_of(number, ids)),
                )
                for number in self._used
            ]
        )

    def ids_of(self, number: int, ids: Array) -> Array:
        """The mixture's ids in the vocabulary of one of its models."""
        return self._alignments[number].ids(ids)

    def of_ids(self, number: int, ids: Array, log_probs: Array) -> Array:
        """What one of the models gave the mixture's ids; it may lack some of these words."""
        return self._alignments[number].of_ids(ids, log_probs)

    def by_word(self, number: int, log_probs: Array) -> Array:
        """A model's (..., V) over the words of the mixture."""
        return self._alignments[number].by_word(log_probs)

    def _combined(self, parts: list[Array]) -> Array:
        """(..., V) float32 of the used models' (..., V), each in the order of its own ids."""
        parts = [
            self.by_word(number, self.models[number].checked(part))
            for number, part in zip(self._used, parts, strict=True)
        ]
        if self.how == LINEAR:
            return self._log_sum(parts)
        powers = self.weights[self._used]
        total: Array = sum(  # a power of 0 would make log 0 a NaN, so such models are left out
            power * part.astype(np.float64) for power, part in zip(powers, parts, strict=True)
        )
        total -= _log_sum_exp(total)
        return total.astype(np.float32)

    def _log_sum(self, parts: Sequence[Array] | Array) -> Array:
        """log sum_i a_i exp(part_i) by the largest term, so that nothing underflows."""
        logs = np.log(self.weights[self._used])
        total = parts[0] + logs[0]
        for part, log in zip(parts[1:], logs[1:], strict=True):
            total = np.logaddexp(total, part + log)
        result: Array = total.astype(np.float32)
        return result

    # -- storage -----------------------------------------------------------------------------------

    def contents(self) -> dict[str, Any]:
        """The arguments of `write_model`, with those of the models inside.

        Raises:
            SettingError: a model that cannot be stored.
        """
        parts, arrays = components_contents(self.models)
        return {
            "kind": self.kind,
            "config": {**self.config, "models": parts},
            "arrays": arrays,
            "provenance": self.provenance,
        }

    @classmethod
    def from_file(cls, file: ModelFile) -> Mixture:
        """The mixture of an opened file, its arrays still on disk.

        Raises:
            FormatError: settings or a model inside it that make no sense.
        """
        with understood(file):
            return cls(
                components_of(file, LanguageModel, "a mixture"),
                file.config["weights"],
                how=file.config["how"],
                provenance=file.provenance,
                path=str(file.path),
            )


def check_models(models: Sequence[LanguageModel]) -> None:
    """Refuse models whose probabilities cannot be mixed.

    Raises:
        SettingError: no model, or models of other text options. NotNormalisedError: stupid
            back-off.
    """
    if not models:
        raise SettingError("a mixture takes one model or more, not 0")
    first = models[0]
    for model in models:
        require_normalised(model, "mixing")
        if model.text_options != first.text_options:
            raise SettingError(
                f"the models split text differently: {first.text_options} and {model.text_options}",
                hint="Mix models of the same tokens and case",
            )


def check_several(models: Sequence[LanguageModel]) -> None:
    """Refuse fewer than two models, and those that `check_models` refuses."""
    if len(models) < 2:
        raise SettingError(f"mixing takes two models or more, not {len(models)}")
    check_models(models)


def checked_weights(weights: Sequence[float] | Array, count: int, how: str = LINEAR) -> Array:
    """The weights as (count,) float64; those of a linear mixture are scaled to a sum of exactly 1.

    Raises:
        SettingError: another number of weights, or weights that are not allowed.
    """
    if how not in (LINEAR, LOG_LINEAR):
        raise SettingError(f"a mixture is {how!r}, allowed are {LINEAR} and {LOG_LINEAR}")
    given = np.asarray(weights, np.float64)
    if given.shape != (count,):
        raise SettingError(f"{given.size} weights were given for {count} models")
    if not (np.isfinite(given).all() and given.min() >= 0 and given.max() > 0):
        raise SettingError(f"the weights {given.tolist()} must be at least 0, at least one above 0")
    if how == LOG_LINEAR:
        return given
    if not abs(given.sum() - 1) < 1e-3:
        raise SettingError(f"the weights {given.tolist()} must sum to 1")
    shares: Array = given / given.sum()
    return shares


def in_brackets(name: str) -> str:
    """The name of a model in that of a mixture; brackets around one that is a mixture itself."""
    return f"({name})" if " " in name else name


def _aligned(parts: Sequence[Iterator[Array]]) -> Iterator[list[Array]]:
    """Blocks of rows of several models, of different sizes, split into blocks of equal sizes."""
    waiting = [next(part, None) for part in parts]
    while all(rows is not None for rows in waiting):
        size = min(len(rows) for rows in waiting if rows is not None)
        yield [rows[:size] for rows in waiting if rows is not None]
        waiting = [
            rows[size:] if rows is not None and len(rows) > size else next(part, None)
            for rows, part in zip(waiting, parts, strict=True)
        ]


def _log_sum_exp(values: Array) -> Array:
    """(..., 1) log sum exp over the last axis; 0 where every value is -inf, so that they stay."""
    top = values.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.exp(values - top).sum(axis=-1, keepdims=True)
    result: Array = top + np.log(np.where(total > 0, total, 1))
    return result
