"""Language models and sequence taggers, from counts to recurrent nets, that run on a laptop.

Names are loaded when they are first used, so that ``import unrolled`` loads neither NumPy, Numba
nor torch:

>>> import unrolled
>>> unrolled.Vocabulary.from_words(["the", "cat"]).id("cat")
4
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.corpus import Corpus as Corpus
    from unrolled.corpus import read_corpus as read_corpus
    from unrolled.errors import FormatError as FormatError
    from unrolled.errors import MissingExtraError as MissingExtraError
    from unrolled.errors import NotNormalisedError as NotNormalisedError
    from unrolled.errors import SettingError as SettingError
    from unrolled.errors import TextError as TextError
    from unrolled.errors import UnrolledError as UnrolledError
    from unrolled.errors import UnrolledWarning as UnrolledWarning
    from unrolled.language_model import LanguageModel as LanguageModel
    from unrolled.language_model import Perplexity as Perplexity
    from unrolled.language_model import evaluate as evaluate
    from unrolled.language_model import generate as generate
    from unrolled.language_model import predict as predict
    from unrolled.language_model import rank as rank
    from unrolled.language_model import surprisals as surprisals
    from unrolled.ngram.estimation import NgramConfig as NgramConfig
    from unrolled.ngram.model import NgramModel as NgramModel
    from unrolled.ngram.quantisation import quantise as quantise
    from unrolled.ngram.training import train_ngram as train_ngram
    from unrolled.storage import load as load
    from unrolled.tokens import TextOptions as TextOptions
    from unrolled.vocabulary import Vocabulary as Vocabulary

__version__ = "0.1.0"

# Public name -> the module that holds it.
_HOMES = {
    "Corpus": "corpus",
    "FormatError": "errors",
    "LanguageModel": "language_model",
    "MissingExtraError": "errors",
    "NgramConfig": "ngram.estimation",
    "NgramModel": "ngram.model",
    "NotNormalisedError": "errors",
    "Perplexity": "language_model",
    "SettingError": "errors",
    "TextError": "errors",
    "TextOptions": "tokens",
    "UnrolledError": "errors",
    "UnrolledWarning": "errors",
    "Vocabulary": "vocabulary",
    "evaluate": "language_model",
    "generate": "language_model",
    "load": "storage",
    "predict": "language_model",
    "quantise": "ngram.quantisation",
    "rank": "language_model",
    "read_corpus": "corpus",
    "surprisals": "language_model",
    "train_ngram": "ngram.training",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    """Load the module of a public name at its first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"unrolled.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
