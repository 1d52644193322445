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
    from unrolled.cache import CacheModel as CacheModel
    from unrolled.corpus import Corpus as Corpus
    from unrolled.corpus import read_corpus as read_corpus
    from unrolled.errors import FormatError as FormatError
    from unrolled.errors import MissingExtraError as MissingExtraError
    from unrolled.errors import NotNormalisedError as NotNormalisedError
    from unrolled.errors import SettingError as SettingError
    from unrolled.errors import TextError as TextError
    from unrolled.errors import UnrolledError as UnrolledError
    from unrolled.errors import UnrolledWarning as UnrolledWarning
    from unrolled.gradients.laboratory import measure_cell as measure_cell
    from unrolled.gradients.laboratory import measure_gradients as measure_gradients
    from unrolled.gradients.monitor import GradientMonitor as GradientMonitor
    from unrolled.language_model import LanguageModel as LanguageModel
    from unrolled.language_model import Perplexity as Perplexity
    from unrolled.language_model import evaluate as evaluate
    from unrolled.language_model import generate as generate
    from unrolled.language_model import predict as predict
    from unrolled.language_model import rank as rank
    from unrolled.language_model import score_sentences as score_sentences
    from unrolled.language_model import surprisals as surprisals
    from unrolled.mixture import Mixture as Mixture
    from unrolled.mixture_tuning import mix_models as mix_models
    from unrolled.neural.model import NeuralModel as NeuralModel
    from unrolled.neural.training import train_net as train_net
    from unrolled.ngram.arpa import read_arpa as read_arpa
    from unrolled.ngram.arpa import write_arpa as write_arpa
    from unrolled.ngram.count_files import read_counts as read_counts
    from unrolled.ngram.count_files import train_on_counts as train_on_counts
    from unrolled.ngram.count_files import write_counts as write_counts
    from unrolled.ngram.counting import count_ngrams as count_ngrams
    from unrolled.ngram.estimation import NgramConfig as NgramConfig
    from unrolled.ngram.mixing import mix as mix
    from unrolled.ngram.mixing import tune_weights as tune_weights
    from unrolled.ngram.model import NgramModel as NgramModel
    from unrolled.ngram.pruning import entropy_prune as entropy_prune
    from unrolled.ngram.pruning import filter_vocabulary as filter_vocabulary
    from unrolled.ngram.pruning import prune_to_size as prune_to_size
    from unrolled.ngram.quantisation import quantise as quantise
    from unrolled.ngram.training import train_ngram as train_ngram
    from unrolled.storage import load as load
    from unrolled.tagging.columns import TaggedSentence as TaggedSentence
    from unrolled.tagging.columns import read_columns as read_columns
    from unrolled.tagging.columns import write_columns as write_columns
    from unrolled.tagging.estimator import TaggerEstimator as TaggerEstimator
    from unrolled.tagging.model import Tagger as Tagger
    from unrolled.tagging.scores import score_spans as score_spans
    from unrolled.tagging.training import train_tagger as train_tagger
    from unrolled.tokens import TextOptions as TextOptions
    from unrolled.vocabulary import Vocabulary as Vocabulary

__version__ = "0.1.0"

# Public name -> the module that holds it.
_HOMES = {
    "CacheModel": "cache",
    "Corpus": "corpus",
    "FormatError": "errors",
    "GradientMonitor": "gradients.monitor",
    "LanguageModel": "language_model",
    "MissingExtraError": "errors",
    "Mixture": "mixture",
    "NeuralModel": "neural.model",
    "NgramConfig": "ngram.estimation",
    "NgramModel": "ngram.model",
    "NotNormalisedError": "errors",
    "Perplexity": "language_model",
    "SettingError": "errors",
    "TaggedSentence": "tagging.columns",
    "Tagger": "tagging.model",
    "TaggerEstimator": "tagging.estimator",
    "TextError": "errors",
    "TextOptions": "tokens",
    "UnrolledError": "errors",
    "UnrolledWarning": "errors",
    "Vocabulary": "vocabulary",
    "count_ngrams": "ngram.counting",
    "entropy_prune": "ngram.pruning",
    "evaluate": "language_model",
    "filter_vocabulary": "ngram.pruning",
    "generate": "language_model",
    "load": "storage",
    "measure_cell": "gradients.laboratory",
    "measure_gradients": "gradients.laboratory",
    "mix": "ngram.mixing",
    "mix_models": "mixture_tuning",
    "predict": "language_model",
    "prune_to_size": "ngram.pruning",
    "quantise": "ngram.quantisation",
    "rank": "language_model",
    "read_arpa": "ngram.arpa",
    "read_columns": "tagging.columns",
    "read_corpus": "corpus",
    "read_counts": "ngram.count_files",
    "score_sentences": "language_model",
    "score_spans": "tagging.scores",
    "surprisals": "language_model",
    "train_net": "neural.training",
    "train_ngram": "ngram.training",
    "train_on_counts": "ngram.count_files",
    "train_tagger": "tagging.training",
    "tune_weights": "ngram.mixing",
    "write_arpa": "ngram.arpa",
    "write_columns": "tagging.columns",
    "write_counts": "ngram.count_files",
}

# What needs an extra is left out, so that `from unrolled import *` works without.
_EXTRA = ("gradients.", "neural.", "tagging.estimator", "tagging.model", "tagging.training")
_PLAIN = [name for name, home in _HOMES.items() if not home.startswith(_EXTRA)]
__all__ = sorted([*_PLAIN, "__version__"])


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
