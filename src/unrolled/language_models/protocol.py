"""`LanguageModel`: everything that the rest of the library asks of a language model.

A new kind of model needs five things: a name, `log_probs`, and `start`, `advance` and
`next_log_probs` to step through a sentence. Everything else has a default here, which a kind of
model replaces where it has a faster or a more exact way. Evaluation, scoring, generation, mixing
and rescoring are written once on this class.

>>> import math
>>> from unrolled.text.vocabulary import Vocabulary
>>> class Uniform(LanguageModel):
...     name = "uniform"
...     def log_probs(self, ids):
...         return np.where(ids == BOS, 0, -np.log(len(self.vocabulary) - 1)).astype(np.float32)
...     def start(self):
...         return ()
...     def advance(self, state, word):
...         return state
...     def next_log_probs(self, state):
...         return self.log_probs(np.arange(len(self.vocabulary)))
>>> model = Uniform(Vocabulary.from_words(["the", "cat"]))  # and <unk> and </s>
>>> round(math.exp(model.score("the dog")), 6)  # (1/4) ** 3
0.015625
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import FormatError, NotNormalisedError, SettingError
from unrolled.language_models.sentences import encode_sentences, sentence_starts
from unrolled.language_models.state_rows import known_words
from unrolled.storage.loading import StoredModel
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]
State = Any
TextScorer = Callable[[Array], Array]
Sampler = Callable[[range], tuple[Array, Array]]

ROUNDING = 0.01  # sums of float32 may lift the logarithm of probability 1 this far above 0
LOWEST = -1e6  # nats; a finite log-probability of one token below it is no model's
_ROWS = 128  # distributions held at a time


@dataclass(frozen=True)
class TokenScores:
    """Log-probabilities of all tokens of N sentences, in flat arrays.

    Attributes:
        log_probs: (T,) float32, natural logarithms; 0 at <s>, which is not predicted.
        ids: (T,) int32 tokens, each sentence as <s> words </s>.
        starts: (N + 1,) int64 place of each sentence's <s>, and T.
        lengths: (T,) uint8 words of the longest n-gram found, 0 at <s>; None of other models.
    """

    log_probs: Array
    ids: Array
    starts: Array
    lengths: Array | None = None

    @property
    def oov(self) -> Array:
        """(T,) bool: words that the model does not know."""
        unknown: Array = self.ids == UNK
        return unknown

    @property
    def sums(self) -> Array:
        """(N,) float64 log-probability of each sentence, </s> included."""
        if self.starts.size == 1:
            return np.zeros(0)
        sums: Array = np.add.reduceat(self.log_probs, self.starts[:-1], dtype=np.float64)
        return sums


class LanguageModel(StoredModel):
    """The base class of all language models; logarithms are natural.

    Args:
        vocabulary: the words and their ids.
        config: the settings that it was made with; ``text`` among them holds the fields of
            `TextOptions`.
        provenance: where it comes from.
        path: its file.
    """

    kind, kind_name = "language-model", "a language model"
    vocabulary: Vocabulary

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(provenance, path)
        self.vocabulary = vocabulary
        self.config = dict(config or {})

    # -- what it is ------------------------------------------------------------------------------

    @property
    def normalised(self) -> bool:
        """Whether scores are logarithms of probabilities; those of stupid back-off are not."""
        return True

    @property
    def carries_context(self) -> bool:
        """Whether `text_log_probs` scores a sentence knowing the sentences before it."""
        return False

    @property
    def unknown_types(self) -> int:
        """How many different words of the training text became <unk>; 0 where it is not known."""
        found = self.provenance.get("text", {})
        types = found.get("unknown_types", 0) if isinstance(found, dict) else 0
        return types if isinstance(types, int) else 0

    @cached_property
    def text_options(self) -> TextOptions:
        """How the training text was split into tokens; input is split in the same way.

        Raises:
            FormatError: the file asks for options that this version does not know.
        """
        from unrolled.text.options import stored_options

        return stored_options(self.config, self.path)

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints: sizes, settings, where the model comes from."""
        return {
            **self.file_info(),
            "vocabulary": len(self.vocabulary),
            "settings": _without_content(self.config),
            "provenance": self.provenance,
        }

    def contents(self) -> dict[str, Any]:
        """The arguments of `write_model` that store it."""
        return {
            "kind": self.kind,
            "config": self.config,
            "arrays": self.arrays(),
            "provenance": self.provenance,
        }

    def arrays(self) -> dict[str, Any]:
        """The arrays of its file by name, not copied.

        Raises:
            SettingError: this model cannot be stored.
        """
        raise SettingError(f"{self.name} cannot be stored in a file")

    # -- probabilities ---------------------------------------------------------------------------

    @abstractmethod
    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids, every sentence by itself.

        Args:
            ids: (T,) int, sentences as <s> words </s>; ids outside the vocabulary are unknown.

        Returns:
            (T,) float32; 0 at <s>, which is not predicted.
        """

    def text_log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) of a running text, whose sentences are in order."""
        return self.log_probs(ids)

    def text_scorer(self, progress: Callable[[int], None] | None = None) -> TextScorer:
        """A function like `text_log_probs` for the parts of one text in their order.

        Args:
            progress: called with the number of tokens scored since the last call.
        """

        def score(ids: Array) -> Array:
            scores = self.text_log_probs(ids)
            if progress is not None:
                progress(int(np.count_nonzero(ids != BOS)))
            return scores

        return score

    def use_threads(self, threads: int) -> contextlib.AbstractContextManager[int]:
        """Limit the threads of the model's arithmetic, and yield how many texts to score at once.

        A model whose arithmetic is multithreaded itself, such as a net, scores one text at a time.
        """
        return contextlib.nullcontext(threads)

    @abstractmethod
    def start(self) -> State:
        """The state after <s>."""

    @abstractmethod
    def advance(self, state: State, word: int) -> State:
        """The state after one more word; the given one stays as it is."""

    @abstractmethod
    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next one, (V,) float32; <s> has none."""

    # -- many hypotheses at once, for decoders ----------------------------------------------------

    def start_states(self, count: int = 1) -> Array:
        """States after <s>, a row each: an array to be treated as opaque, but indexed at will.

        Here a row is one Python object; kinds of models with a faster way have rows of numbers.
        """
        states = np.empty(count, object)
        for row in range(count):
            states[row] = self.start()
        return states

    def extend(self, states: Array, words: Array) -> tuple[Array, Array]:
        """Advance each state (N, ...) by its word of words (N,) int.

        Ids outside the vocabulary are unknown words; <s> has log-probability -inf.

        Returns:
            The states after, like ``states``; and (N,) float32 log-probability of each word.

        Raises:
            SettingError: states of another model, or another number of words.
        """
        ids = known_words(words, len(self.vocabulary), states.shape[:1])
        after, scores = np.empty_like(states), np.empty(len(states), np.float32)
        for row, word in enumerate(ids.tolist()):
            scores[row] = self.next_log_probs(states[row])[word]
            after[row] = self.advance(states[row], word)
        return after, scores

    def score_beams(self, states: Array, words: Array) -> Array:
        """Log-probability of each of words (N, K) int after the state of its row; (N, K) float32.

        Raises:
            SettingError: as in `extend`.
        """
        ids = known_words(words, len(self.vocabulary), (len(states), 1))
        scores = np.empty(ids.shape, np.float32)
        for row, candidates in enumerate(ids):
            scores[row] = self.next_log_probs(states[row])[candidates]
        return scores

    def all_log_probs(self, ids: Array) -> Iterator[Array]:
        """The distribution at each place of ids (T,), a few places at a time: (t, V) float32.

        Row t is over what may stand at place t after the words before it in its sentence; at <s>
        all probability is on <s>.
        """
        state, size = self.start(), len(self.vocabulary)
        for begin in range(0, ids.size, _ROWS):
            rows = np.empty((min(_ROWS, ids.size - begin), size), np.float32)
            for row, word in zip(rows, ids[begin : begin + _ROWS].tolist(), strict=True):
                if word == BOS:
                    row[:] = -np.inf
                    row[BOS] = 0
                    state = self.start()
                else:
                    row[:] = self.next_log_probs(state)
                    if word != EOS:
                        state = self.advance(state, word)
            yield rows

    def entropies(self, ids: Array) -> Array:
        """Entropy of the distribution at each place of ids (T,), in nats; (T,) float64.

        - sum_w p(w|h) log p(w|h), h the words before the place in its sentence; 0 at <s>.
        """
        rows = (_entropies_of(part) for part in self.all_log_probs(ids))
        return np.concatenate([np.zeros(0), *rows])

    def log_probs_and_entropies(self, ids: Array) -> tuple[Array, Array]:
        """Both `log_probs` and `entropies`, which a net has from one pass."""
        return self.log_probs(ids), self.entropies(ids)

    def text_entropies(self, ids: Array) -> Array:
        """As `entropies`, of a running text, as `text_log_probs` scores it."""
        if not self.carries_context:
            return self.entropies(ids)
        state, found = self.start(), np.zeros(ids.size)
        for place, word in enumerate(ids.tolist()):
            if word != BOS:
                found[place] = _entropies_of(self.next_log_probs(state)[None])[0]
            if place > 0:
                state = self.advance(state, word)
        return found

    def unigram_log_probs(self) -> Array | None:
        """Log-probability of each word without context, (V,) float32; None where there is none."""
        return None

    def sampler(
        self, start: Array, *, seed: int, most: int, expected: int = 0, threads: int = 1
    ) -> Sampler | None:
        """A function that draws the sentences with some numbers, without whole distributions.

        Words are drawn until </s>, never <unk>. The function returns ids (N, S + most) int32, a row
        a sentence, and how many of each row are used, (N,) int64, </s> not counted.

        Args:
            start: (S,) int32, the ids that each begins with, <s> first.
            seed: sentence number i of a seed is always the same.
            most: words that are drawn for a sentence at most.
            expected: tokens that will be drawn; what a model prepares should pay for so many.
            threads: that may be used for that.

        Returns:
            None if the model has no way to draw but from the distribution of each word.
        """
        return None

    # -- sentences of text -----------------------------------------------------------------------

    def token_scores(
        self, sentences: Sequence[str], *, threads: int = 2, options: TextOptions | None = None
    ) -> TokenScores:
        """Log-probabilities of all tokens of many sentences, each by itself.

        Args:
            threads: that may be used.
            options: how to split the sentences into tokens; by default as the training text.

        Raises:
            FormatError: a score that no model could give.
        """
        options = options or self.text_options
        ids = encode_sentences(self.vocabulary, sentences, options)
        starts = sentence_starts(self.vocabulary, sentences, options, ids)
        with self.use_threads(threads):
            return TokenScores(self.checked(self.log_probs(ids)), ids, starts)

    def scores(self, sentences: Sequence[str], *, threads: int = 2) -> Array:
        """Log-probability of each of many sentences, </s> included; (N,) float64."""
        return self.token_scores(sentences, threads=threads).sums

    def score(self, sentence: str) -> float:
        """Log-probability of one sentence, </s> included."""
        return float(self.scores([sentence])[0])

    def checked(self, log_probs: Array) -> Array:
        """The same log-probabilities, of any shape, if a model could give them.

        Whether an overflow gives NaN, an infinity or a huge number depends on the processor.

        Raises:
            FormatError: one is NaN, above 0 by more than rounding, or finite and below `LOWEST`.
        """
        if log_probs.size == 0:
            return log_probs
        fits = log_probs.max() <= ROUNDING
        if not (fits and log_probs.min() >= LOWEST):  # NaN compares as false
            impossible = log_probs == -np.inf
            low = log_probs < LOWEST
            if not fits or np.count_nonzero(low) > np.count_nonzero(impossible):
                wrong = log_probs[~(log_probs <= ROUNDING) | (low & ~impossible)]
                raise FormatError(
                    f"{self.name} gives a token the log-probability {wrong[0]:.3g}, which no "
                    "model can give: its numbers are damaged or its training diverged",
                    where=self.path,
                    hint="Check its file with unrolled info --verify, or train it again",
                )
        return log_probs


def _entropies_of(log_probs: Array) -> Array:
    """Entropy of each row of (t, V) log-probabilities, (t,) float64 nats."""
    possible = log_probs > -np.inf
    logs = np.where(possible, log_probs, 0)
    result: Array = 0 - np.einsum("tv,tv->t", np.exp(logs) * possible, logs, dtype=np.float64)
    return result


def _without_content(config: dict[str, Any]) -> dict[str, Any]:
    """Settings to show: of a SentencePiece file only that it is there."""
    text = config.get("text")
    if not isinstance(text, dict) or "sentencepiece" not in text:
        return config
    return {**config, "text": {**text, "sentencepiece": "included"}}


def require_normalised(model: LanguageModel, what: str) -> None:
    """Refuse models whose scores are no probabilities.

    Raises:
        NotNormalisedError: the model is stupid back-off.
    """
    if not model.normalised:
        raise not_normalised(what, model.name)


def not_normalised(what: str, name: str) -> NotNormalisedError:
    """The error for a model of that name whose scores are no probabilities."""
    return NotNormalisedError(
        f"{what} needs probabilities and the scores of {name} do not sum to one",
        hint="Use another smoothing, or only compare scores with `score` and `rank`",
    )
