"""A cache model: recent words are likely to occur again.

The probability of a word is its share of the words before it, each weighted by its age: by a factor
``0.5 ** (1 / half_life)`` for each token (Kuhn and De Mori 1990; the exponential
decay is that of Clarkson and Robinson 1997). A little mass, ``prior`` words in all, is spread
evenly over the vocabulary, so that every word is possible, and an empty cache is too. Alone it is a
poor model; mixed linearly with a good one it adds what the text is about.

>>> from unrolled.text.vocabulary import Vocabulary
>>> cache = CacheModel(Vocabulary.from_words(["cat", "dog"]))
>>> state = cache.advance(cache.start(), cache.vocabulary.id("cat"))
>>> np.exp(cache.next_log_probs(state)).round(3).tolist()
[0.125, 0.0, 0.125, 0.625, 0.125]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.storage.model_file import ModelFile, arrays_under, prefixed
from unrolled.text.vocabulary import BOS, UNK, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]
State = tuple[Array, float]  # mass of each word (V,) float64, and of all


class CacheModel(LanguageModel):
    """A decaying unigram cache as a language model; </s> and <unk> are words like others.

    Args:
        vocabulary: the words.
        half_life: tokens after which a word counts half; above 0.
        prior: words' worth of mass that is spread evenly; above 0.
        text_options: how text is split into tokens.

    Raises:
        SettingError: a setting that is not allowed.
    """

    kind, kind_name = "cache", "a cache"
    parameters = 2

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        half_life: float = 100.0,
        prior: float = 1.0,
        text_options: TextOptions | None = None,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        from unrolled.text.options import TextOptions

        for name, value in (("half_life", half_life), ("prior", prior)):
            if not 0 < value < float("inf"):
                raise SettingError(f"the cache's {name} {value} must be above 0 and finite")
        self.half_life, self.prior = float(half_life), float(prior)
        config = {
            "half_life": self.half_life,
            "prior": self.prior,
            "text": (text_options or TextOptions()).stored(),
        }
        super().__init__(vocabulary, config, provenance, path)
        self._decay = 0.5 ** (1 / half_life)

    @property
    def name(self) -> str:
        """``cache-`` and the half-life."""
        return f"cache-{self.half_life:g}"

    @property
    def carries_context(self) -> bool:
        """The cache of a running text is not emptied between sentences."""
        return True

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,), each sentence with a cache of its own; float32."""
        return self._scores(ids, False)

    def text_log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,) of a running text, with one cache for all of it."""
        return self._scores(ids, True)

    def _scores(self, ids: Array, running: bool) -> Array:
        from unrolled.language_models.cache_kernels import score_cache

        out = np.empty(ids.size, np.float32)
        words = np.ascontiguousarray(ids, np.int32)
        score_cache(words, len(self.vocabulary), self._decay, self.prior, running, out)
        return out

    def start(self) -> State:
        """An empty cache."""
        return np.zeros(len(self.vocabulary)), 0.0

    def advance(self, state: State, word: int) -> State:
        """The cache after one more word; after </s> it may go on with the next sentence."""
        if word == BOS:
            return state
        mass = state[0] * self._decay
        mass[word if 0 <= word < mass.size else UNK] += 1
        return mass, state[1] * self._decay + 1

    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next one, (V,) float32."""
        mass, total = state
        share = self.prior / (mass.size - 1)
        result: Array = np.log((mass + share) / (total + self.prior)).astype(np.float32)
        result[BOS] = -np.inf
        return result

    def arrays(self) -> dict[str, Any]:
        """The arrays of its file by name."""
        return prefixed("vocabulary.", self.vocabulary.arrays())

    @classmethod
    def from_file(cls, file: ModelFile) -> CacheModel:
        """The model of an opened file.

        Raises:
            FormatError: settings or a vocabulary that make no sense.
        """
        from unrolled.text.options import stored_options

        where = str(file.path)
        vocabulary = Vocabulary.from_arrays(arrays_under("vocabulary.", file.arrays), where)
        try:
            return cls(
                vocabulary,
                half_life=file.config["half_life"],
                prior=file.config["prior"],
                text_options=stored_options(file.config, where),
                provenance=file.provenance,
                path=where,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"the cache is not understood: {error}", where=where) from None
