"""`NgramModel`: a trained n-gram model, queried one sentence at a time or a million."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.language_models.protocol import (
    ROUNDING,
    LanguageModel,
    Sampler,
    TokenScores,
    require_normalised,
)
from unrolled.language_models.sentences import encode_sentences, sentence_starts, words_of
from unrolled.language_models.state_rows import known_words
from unrolled.ngram.query.entropies import entropies
from unrolled.ngram.query.handle import handle_of
from unrolled.ngram.query.scoring_layout import LATER, work_arrays
from unrolled.ngram.query.single_calls import SingleCalls, start_state
from unrolled.ngram.trie.layout import inverse_spreader
from unrolled.ngram.trie.packed_trie import PackedTrie
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.runtime.threads import run_slices
from unrolled.storage.loading import load_as
from unrolled.storage.model_file import ModelFile, arrays_under, prefixed
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary, readonly

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]

NGRAMS_A_TOKEN = 10_000  # whose tables are made in the time that a token takes without tables
SHORT_TEXT = 5_000  # tokens that are drawn without tables in the time that loading Numba takes
_LN_10 = math.log(10)
NEARLY_ZERO = -98.0  # log10; the quick way to score writes -99 for log 0

_MODEL = "i8[] u8[] u8[] u4[] f4[] f4[] u1[] f4[][] f4[] u8[] f4[] i8"  # PackedTrie.query_arrays
_SCORE = CachedKernel(
    "unrolled.ngram.query.scoring_kernels",
    "score",
    f"{_MODEL} u8[] u8[] u8[] i8[] u2[] f8 i4[] i8[]! f4[]! u1[]! i8[]! u4[]! f8[]!",
)
_EXTEND = CachedKernel(
    "unrolled.ngram.query.beam_kernels",
    "extend",
    "i8[] f8 i8 i8 i8 i8 i8 i8 i8",
)
_NEXT_DISTRIBUTION = CachedKernel(
    "unrolled.ngram.query.query_kernels", "next_distribution", f"{_MODEL} i8 i8[] f4[]!"
)


class NgramModel(LanguageModel):
    """A count-based language model: a packed trie and its vocabulary.

    Threads may share one model; scoring releases the GIL.

    >>> from unrolled import train_ngram
    >>> texts = ["the cat sat", "the dog sat"]
    >>> model = train_ngram(texts=texts, order=2, smoothing="witten-bell")
    >>> model.score("the cat sat") > model.score("cat the sat")
    True
    """

    kind, kind_name = "ngram", "an n-gram model"

    def __init__(
        self,
        trie: PackedTrie,
        vocabulary: Vocabulary,
        config: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        if trie.vocabulary_size != len(vocabulary):
            raise FormatError(
                f"the model has {trie.vocabulary_size} unigrams and {len(vocabulary)} words"
            )
        super().__init__(vocabulary, config, provenance, path)
        self.trie = trie
        self._arrays = trie.query_arrays()
        self._starts = _first_state(trie.order, False), _first_state(trie.order, True)
        absent = 0.0
        if not self.normalised:
            absent = _log_factor(self.config.get("backoff", 0.4), path)
        self._score = _SCORE.bind(*trie.scoring_arrays(), absent)
        self._handle, self._kept = handle_of(trie, vocabulary)
        self._begin, self._null = start_state(trie.order, True), start_state(trie.order, False)
        self._score_text: Callable[..., float] | None = None  # until it is called
        self._extend = _EXTEND.bind(readonly(self._handle), absent)

    # -- what every language model has ---------------------------------------------------------

    @property
    def order(self) -> int:
        """Longest n-gram."""
        return self.trie.order

    @property
    def name(self) -> str:
        """Smoothing and order, such as ``modified-kneser-ney-5``."""
        return f"{self.config.get('smoothing', 'ngram')}-{self.order}"

    @property
    def normalised(self) -> bool:
        """False for stupid back-off, whose scores are no probabilities."""
        return self.config.get("smoothing") != "stupid-backoff"

    @property
    def parameters(self) -> int:
        """Probabilities and back-off weights."""
        return int(self.trie.levels[-1]) + self.trie.backoff_count

    @property
    def vocabulary_predicted(self) -> int:
        """Words that have a probability: all but <s>, and <unk> only where it has some mass."""
        return len(self.vocabulary) - 1 - int(self.trie.unigrams[UNK] == -np.inf)

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints, with n-grams by order."""
        sizes = [int(size) for size in np.diff(self.trie.levels)]
        trie = {"order": self.order, "n-grams": sizes, "quantized": self.trie.quantized}
        return {**super().info(), **trie}

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) int, sentences as <s> words </s>; (T,) float32."""
        return self._run(checked_ids(ids))[0]

    def start(self, bos: bool = True) -> Array:
        """State after <s>, or with no context: (order,) int64, to be treated as opaque."""
        return self._starts[bos].copy()

    def advance(self, state: Array, word: int) -> Array:
        """State after one more word id."""
        return self.step(state, word)[0]

    def step(self, state: Array, word: int) -> tuple[Array, float, int]:
        """State after a word id, the word's log-probability, and the length of n-gram used.

        Raises:
            SettingError: a state of a model of another order.
        """
        after = self._checked(state).copy()
        scores, lengths = self._continued(np.array([word], np.int32), after)
        return after, float(scores[0]), int(lengths[0])

    def next_log_probs(self, state: Array) -> Array:
        """Log-probability of every word of the vocabulary as the next; (V,) float32.

        Raises:
            NotNormalisedError: stupid back-off.
            SettingError: a state of a model of another order.
        """
        require_normalised(self, "the next word's distribution")
        result = np.empty(self.trie.vocabulary_size, np.float32)
        inverse = inverse_spreader(self.trie.bits)
        arrays = self.trie.with_words.query_arrays()
        _NEXT_DISTRIBUTION(*arrays, inverse, self._checked(state), result)
        return result

    def entropies(self, ids: Array) -> Array:
        """Entropy of the distribution at each place of ids (T,), in nats; (T,) float64.

        Raises:
            NotNormalisedError: stupid back-off.
        """
        require_normalised(self, "entropy")
        return entropies(self.trie, checked_ids(ids))

    def unigram_log_probs(self) -> Array:
        """Log-probability of each word without context, (V,) float32."""
        return self.trie.unigrams

    def start_states(self, count: int = 1) -> Array:
        """States after <s>, (count, order) int64, each like that of `start`.

        Rows that `extend` gives are equal where all that may follow has the same probabilities, so
        that hypotheses can be merged.
        """
        states = np.empty((count, self.order), np.int64)
        states[:] = self._starts[True]
        return states

    def extend(self, states: Array, words: Array) -> tuple[Array, Array]:
        """Advance each state (N, order) by its word of words (N,), all in one call.

        Returns:
            The states after, (N, order) int64, and (N,) float32 log-probabilities of the words.

        Raises:
            SettingError: states of a model of another order, or another number of words.

        >>> from unrolled import train_ngram
        >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
        >>> words = model.vocabulary.ids(["the", "sat"])
        >>> states, log_probs = model.extend(model.start_states(2), words)
        >>> states.shape, np.exp(log_probs).astype(float).round(2).tolist()
        ((2, 2), [0.61, 0.11])
        """
        states, choices = self._choices(states, words, 1)
        after, scores = np.empty_like(states), np.empty(len(choices), np.float32)
        self._extend_into(states, choices, after, scores)
        return after, scores

    def score_beams(self, states: Array, words: Array) -> Array:
        """Log-probability of each of words (N, K) after the state of its row; (N, K) float32.

        Raises:
            SettingError: as in `extend`.
        """
        states, choices = self._choices(states, words, 2)
        scores = np.empty(choices.shape, np.float32)
        self._extend_into(states, choices, None, scores)
        return scores

    def _choices(self, states: Array, words: Array, axes: int) -> tuple[Array, Array]:
        """States and words as the kernel takes them.

        Raises:
            SettingError: they do not fit the model or each other.
        """
        if states.ndim != 2 or states.shape[1] != self.order or states.dtype != np.int64:
            raise SettingError(f"these are no states of a model of order {self.order}")
        choices = np.asarray(words)
        if choices.ndim != axes or len(choices) != len(states) or choices.dtype.kind not in "iu":
            choices = known_words(choices, len(self.vocabulary), (len(states), 1)[:axes])
        return np.require(states, np.int64, ["C", "A"]), np.require(choices, np.int64, ["C", "A"])

    def _extend_into(
        self, states: Array, choices: Array, after: Array | None, scores: Array
    ) -> None:
        size = choices.size
        work = np.empty(size * (self.order + 3) + LATER, np.int64)
        arrays = (states, choices, scores, work)
        places = [array.ctypes.data for array in arrays]
        self._extend(len(states), size, *places, 0 if after is None else after.ctypes.data)

    def _checked(self, state: Array) -> Array:
        if state.shape != (self.order,) or state.dtype != np.int64:
            raise SettingError(f"this is no state of a model of order {self.order}")
        return np.require(state, np.int64, ["C", "A"])

    def sampler(
        self, start: Array, *, seed: int, most: int, expected: int = 0, threads: int = 1
    ) -> Sampler:
        """As of every language model, by a kernel.

        Raises:
            FormatError: for a long text, some n-gram lacks its suffix: the file is damaged.
        """
        from unrolled.ngram.query.sampling import SamplingTables, sample

        tables = SamplingTables.none()
        if expected > max(SHORT_TEXT, self.trie.levels[-1] / NGRAMS_A_TOKEN):
            tables = SamplingTables.of(self.trie, threads=threads)
        return partial(sample, self.trie, tables, start, seed=seed, most=most)

    # -- scoring text ----------------------------------------------------------------------------

    def score(
        self, sentence: str | Sequence[str] | Array, *, bos: bool = True, eos: bool = True
    ) -> float:
        """Log-probability of one sentence: text, a list of words, or an array of ids.

        Args:
            bos: whether it begins a sentence. eos: whether </s> is predicted at its end.
        """
        if isinstance(sentence, str) and "<" not in sentence:
            score_text = self._score_text or self._bind_score_text()
            try:
                data = sentence.encode()
            except UnicodeEncodeError:
                data = sentence.encode(errors="replace")
            log10_prob: float = score_text(data, self._begin if bos else self._null, eos)
            if NEARLY_ZERO < log10_prob <= ROUNDING:
                return log10_prob * _LN_10
        scores = self.checked(self._run(self._sentence_ids(sentence, eos), bos)[0])
        return float(np.add.reduce(scores, dtype=np.float64))

    def _bind_score_text(self) -> Callable[..., float]:
        """The quickest way to score a sentence of plain words; NaN where it does not apply."""
        options = self.text_options
        if options.tokens == "word" and not options.lower and self.normalised:
            self._score_text = SingleCalls(self.trie, self.vocabulary).score_text
        else:
            self._score_text = _not_plain_words
        return self._score_text

    def token_scores(
        self, sentences: Sequence[str], *, threads: int = 2, options: TextOptions | None = None
    ) -> TokenScores:
        """Log-probability, length of the n-gram found, and OOV flag of every token."""
        options = options or self.text_options
        threads = max(1, min(threads, len(sentences) // 1000))
        ids = encode_sentences(self.vocabulary, sentences, options, threads)
        starts = sentence_starts(self.vocabulary, sentences, options, ids)
        scores, lengths = np.empty(ids.size, np.float32), np.empty(ids.size, np.uint8)
        slices = [
            (ids[low:high], self.start(False), scores[low:high], lengths[low:high])
            for low, high in pairwise(_even_borders(starts, threads))
        ]
        run_slices(self._score_into, slices, threads)
        return TokenScores(self.checked(scores), ids, starts, lengths)

    def _sentence_ids(self, sentence: str | Sequence[str] | Array, eos: bool) -> Array:
        if isinstance(sentence, str):
            options = self.text_options
            if options.tokens == "word" and not options.lower:
                ids = self.vocabulary.encode(sentence)
            else:
                ids = self.vocabulary.ids(words_of(sentence, options))
        elif isinstance(sentence, np.ndarray):
            ids = checked_ids(sentence)
        else:
            ids = self.vocabulary.ids(sentence)
        if not eos:
            return ids
        ended = np.empty(ids.size + 1, np.int32)  # np.append would take three times as long
        ended[:-1] = ids
        ended[-1] = EOS
        return ended

    def _run(self, ids: Array, bos: bool = False) -> tuple[Array, Array]:
        """Scores and lengths of int32 ids; ``bos``: they follow a <s> that is not among them."""
        return self._continued(ids, self.start(bos))

    def _continued(self, ids: Array, state: Array) -> tuple[Array, Array]:
        """Scores and lengths of int32 ids after a state, which moves on."""
        scores, lengths = np.empty(ids.size, np.float32), np.empty(ids.size, np.uint8)
        self._score_into(ids, state, scores, lengths)
        return scores, lengths

    def _score_into(self, ids: Array, state: Array, scores: Array, lengths: Array) -> None:
        self._score(ids, state, scores, lengths, *work_arrays(ids.size))

    # -- storage ---------------------------------------------------------------------------------

    def arrays(self) -> dict[str, Any]:
        """The arrays of its file by name; not copied, but for the words of a quantized model."""
        words = prefixed("vocabulary.", self.vocabulary.arrays(compact=self.trie.quantized))
        return prefixed("trie.", self.trie.arrays()) | words

    @classmethod
    def from_file(cls, file: ModelFile) -> NgramModel:
        """Model of an opened file, its arrays still on disk.

        Raises:
            FormatError: arrays that are missing or contradict each other.
        """
        where = str(file.path)
        trie = PackedTrie.from_arrays(arrays_under("trie.", file.arrays), where)
        vocabulary = Vocabulary.from_arrays(arrays_under("vocabulary.", file.arrays), where)
        config = dict(file.config)
        if "quantised" in config:  # an earlier version wrote it so
            config["quantized"] = config.pop("quantised")
        return cls(trie, vocabulary, config, file.provenance, where)

    def __repr__(self) -> str:
        sizes = [int(size) for size in np.diff(self.trie.levels)]
        return f"NgramModel({self.name}, n-grams by order {sizes}, path={self.path!r})"


def _not_plain_words(*_: object) -> float:
    return math.nan


def load_ngram(path: str | os.PathLike[str], purpose: str) -> NgramModel:
    """Open an n-gram model, a ``.safetensors`` or an ARPA file.

    Args:
        purpose: what needs an n-gram model, for the message, such as "prune".

    Raises:
        FormatError: as of `load`. SettingError: it is a model of another kind.
    """
    return load_as(path, NgramModel, purpose)


def _even_borders(starts: Array, slices: int) -> list[int]:
    """The starts that split a text of T tokens into about equal slices; T is the last start."""
    wanted = np.arange(slices + 1) * starts[-1] // slices
    borders: list[int] = starts[np.searchsorted(starts, wanted)].tolist()
    return borders


def _first_state(order: int, bos: bool) -> Array:
    state = np.full(order, -1, np.int64)
    if bos and order > 1:
        state[0] = BOS
    state[-1] = bos
    return state


def checked_ids(ids: Array) -> Array:
    """Ids as contiguous, aligned int32; those that do not fit are unknown words too.

    Raises:
        SettingError: an array of another kind or with several axes.
    """
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise SettingError(
            f"ids are {ids.dtype} with {ids.ndim} axes and must be integers with one axis"
        )
    if ids.dtype.itemsize > 2 and ids.dtype != np.int32:
        ids = np.where((ids < 0) | (ids > 2**31 - 1), UNK, ids)
    return np.require(ids, np.int32, ["C", "A"])


def _log_factor(factor: Any, path: str | None) -> float:
    """Logarithm of stupid back-off's factor."""
    if not isinstance(factor, (int, float)) or not 0 < factor <= 1:
        raise FormatError(f"the back-off factor {factor!r} is not in (0, 1]", where=path)
    return math.log(factor)
