"""pyctcdecode's beam search with models of this package, without KenLM.

`build_ctcdecoder` takes an n-gram model or its file, gives pyctcdecode its words, so that it does
not warn that they are unknown, and returns its decoder.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Collection, Sequence
from types import ModuleType
from typing import Any

from unrolled.errors import UnrolledError
from unrolled.integrations import kenlm
from unrolled.ngram.model import NgramModel, load_ngram
from unrolled.storage.loading import require_kind
from unrolled.text.vocabulary import EOS, Vocabulary


def unigrams_of(vocabulary: Vocabulary) -> list[str]:
    """The words that a decoder may spell: all but <unk>, <s> and </s>.

    >>> unigrams_of(Vocabulary.from_words(["the", "cat"]))
    ['the', 'cat']
    """
    return list(vocabulary)[EOS + 1 :]


def build_ctcdecoder(
    labels: Sequence[str],
    model: str | os.PathLike[str] | NgramModel,
    *,
    unigrams: Collection[str] | None = None,
    alpha: float = 0.5,
    beta: float = 1.5,
    unk_score_offset: float = -10.0,
    lm_score_boundary: bool = True,
) -> Any:
    """A ``pyctcdecode.BeamSearchDecoderCTC``; KenLM need not be installed.

    Args:
        labels: of the columns of the acoustic model's output, "" for the blank.
        model: an n-gram model or its file, .safetensors or ARPA.
        unigrams: the words that may be decoded without a penalty; by default those of the model.
        alpha, beta, unk_score_offset, lm_score_boundary: as in pyctcdecode.

    Raises:
        UnrolledError: pyctcdecode is not installed. SettingError: the model is of another kind.
        NotNormalisedError: stupid back-off.
    """
    package = _package()
    if isinstance(model, str | os.PathLike):
        ngram = load_ngram(model, "pyctcdecode")
    else:
        ngram = require_kind(model, NgramModel, "pyctcdecode")
    words = unigrams_of(ngram.vocabulary) if unigrams is None else unigrams
    alphabet = package.alphabet.Alphabet.build_alphabet(list(labels))
    package.alphabet.verify_alphabet_coverage(alphabet, words)
    language_model = _language_model(package)(
        kenlm.Model.from_model(ngram), words, alpha, beta, unk_score_offset, lm_score_boundary
    )
    return package.BeamSearchDecoderCTC(alphabet, language_model)


def _package() -> ModuleType:
    """pyctcdecode, imported such that it does not miss KenLM."""
    absent = "kenlm" not in sys.modules and importlib.util.find_spec("kenlm") is None
    if absent:
        sys.modules["kenlm"] = kenlm
    try:
        return importlib.import_module("pyctcdecode")
    except ImportError as error:
        raise UnrolledError(
            f"pyctcdecode cannot be imported: {error}",
            hint="Run: pip install --no-deps pyctcdecode pygtrie",
        ) from None
    finally:
        if absent:
            del sys.modules["kenlm"]


def _language_model(package: Any) -> type[Any]:
    """pyctcdecode's language model with states of ours, whichever KenLM it found."""
    base: type[Any] = package.LanguageModel
    per_log10 = package.constants.LOG_BASE_CHANGE_FACTOR

    class LanguageModel(base):  # type: ignore[misc]
        def get_start_state(self) -> kenlm.State:
            state = kenlm.State()
            begins = self.score_boundary
            model = self._kenlm_model
            (model.BeginSentenceWrite if begins else model.NullContextWrite)(state)
            return state

        def score(
            self, prev_state: kenlm.State, word: str, is_last_word: bool = False
        ) -> tuple[float, kenlm.State]:
            after, model = kenlm.State(), self._kenlm_model
            log10 = model.BaseScore(prev_state, word, after)
            known = word in self._unigram_set if self._unigram_set else word in model
            if not known:
                log10 += self.unk_score_offset
            if is_last_word and self.score_boundary:
                log10 += model.BaseScore(after, "</s>", kenlm.State())
            return self.alpha * log10 * per_log10 + self.beta, after

    return LanguageModel
