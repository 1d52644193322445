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

from unrolled.runtime import torch_threads as _torch_threads  # noqa: F401 (before torch)
from unrolled.version import __version__ as __version__

if TYPE_CHECKING:
    import os

    from unrolled.compilation import compile_kernels as compile_kernels
    from unrolled.documents.annotation import Annotation as Annotation
    from unrolled.documents.files import annotate_file as annotate_file
    from unrolled.documents.rows import BatchAnnotator as BatchAnnotator
    from unrolled.documents.rows import annotate as annotate
    from unrolled.errors import FormatError as FormatError
    from unrolled.errors import MissingExtraError as MissingExtraError
    from unrolled.errors import NotNormalisedError as NotNormalisedError
    from unrolled.errors import SettingError as SettingError
    from unrolled.errors import TextError as TextError
    from unrolled.errors import UnrolledError as UnrolledError
    from unrolled.errors import UnrolledWarning as UnrolledWarning
    from unrolled.gradients.measure import measure_cell as measure_cell
    from unrolled.gradients.measure import measure_gradients as measure_gradients
    from unrolled.gradients.monitor import GradientMonitor as GradientMonitor
    from unrolled.integrations.fst import export_fst as export_fst
    from unrolled.integrations.sklearn import TaggerEstimator as TaggerEstimator
    from unrolled.language_models.cache import CacheModel as CacheModel
    from unrolled.language_models.evaluation import Perplexity as Perplexity
    from unrolled.language_models.evaluation import evaluate as evaluate
    from unrolled.language_models.generation import generate as generate
    from unrolled.language_models.generation import predict as predict
    from unrolled.language_models.mixture import Mixture as Mixture
    from unrolled.language_models.mixture_tuning import mix_models as mix_models
    from unrolled.language_models.protocol import LanguageModel as LanguageModel
    from unrolled.language_models.protocol import TokenScores as TokenScores
    from unrolled.language_models.random_text import generate_lines as generate_lines
    from unrolled.language_models.scoring import Surprisal as Surprisal
    from unrolled.language_models.scoring import rank as rank
    from unrolled.language_models.scoring import score_sentences as score_sentences
    from unrolled.language_models.scoring import surprisals as surprisals
    from unrolled.language_models.surprisal_table import surprisal_table as surprisal_table
    from unrolled.neural.model import NeuralModel as NeuralModel
    from unrolled.neural.training import train_net as train_net
    from unrolled.ngram.arpa.files import read_arpa as read_arpa
    from unrolled.ngram.arpa.files import write_arpa as write_arpa
    from unrolled.ngram.class_model import ClassNgramModel as ClassNgramModel
    from unrolled.ngram.counts.count_files import read_counts as read_counts
    from unrolled.ngram.counts.count_files import write_counts as write_counts
    from unrolled.ngram.counts.counting import count_ngrams as count_ngrams
    from unrolled.ngram.disambiguation import disambiguate as disambiguate
    from unrolled.ngram.disambiguation import read_choices as read_choices
    from unrolled.ngram.editing.mixing import mix as mix
    from unrolled.ngram.editing.mixing import tune_weights as tune_weights
    from unrolled.ngram.editing.pruning import entropy_prune as entropy_prune
    from unrolled.ngram.editing.pruning import filter_vocabulary as filter_vocabulary
    from unrolled.ngram.editing.pruning import prune_to_size as prune_to_size
    from unrolled.ngram.editing.quantization import quantize as quantize
    from unrolled.ngram.editing.truncation import truncate_order as truncate_order
    from unrolled.ngram.estimation.config import NgramConfig as NgramConfig
    from unrolled.ngram.model import NgramModel as NgramModel
    from unrolled.ngram.training import train_ngram as train_ngram
    from unrolled.ngram.training import train_on_counts as train_on_counts
    from unrolled.scale import spark as spark
    from unrolled.scale.counting import count_into_file as count_into_file
    from unrolled.scale.counts_planning import plan_counts as plan_counts
    from unrolled.scale.planning import Plan as Plan
    from unrolled.scale.planning import plan_ngram as plan_ngram
    from unrolled.scale.training import train_ngram_file as train_ngram_file
    from unrolled.server.app import app as app
    from unrolled.server.serving import serve as serve
    from unrolled.tagging.data.columns import TaggedSentence as TaggedSentence
    from unrolled.tagging.data.columns import read_columns as read_columns
    from unrolled.tagging.data.columns import read_rows as read_rows
    from unrolled.tagging.data.columns import write_columns as write_columns
    from unrolled.tagging.mixture import TaggerMixture as TaggerMixture
    from unrolled.tagging.model import Tagger as Tagger
    from unrolled.tagging.neural_tagger import NeuralTagger as NeuralTagger
    from unrolled.tagging.scoring.scores import score_spans as score_spans
    from unrolled.tagging.training import train_tagger as train_tagger
    from unrolled.text.corpus import Corpus as Corpus
    from unrolled.text.corpus import read_corpus as read_corpus
    from unrolled.text.options import TextOptions as TextOptions
    from unrolled.text.vocabulary import Vocabulary as Vocabulary

    def load(path: str | os.PathLike[str], *, verify: bool = False) -> LanguageModel | Tagger:
        """Typed here, as `unrolled.storage.loading.load` may not know of these classes."""


# Public name -> the module that holds it.
_HOMES = {
    "Annotation": "documents.annotation",
    "BatchAnnotator": "documents.rows",
    "CacheModel": "language_models.cache",
    "ClassNgramModel": "ngram.class_model",
    "Corpus": "text.corpus",
    "FormatError": "errors",
    "GradientMonitor": "gradients.monitor",
    "LanguageModel": "language_models.protocol",
    "MissingExtraError": "errors",
    "Mixture": "language_models.mixture",
    "NeuralModel": "neural.model",
    "NeuralTagger": "tagging.neural_tagger",
    "NgramConfig": "ngram.estimation.config",
    "NgramModel": "ngram.model",
    "NotNormalisedError": "errors",
    "Perplexity": "language_models.evaluation",
    "Plan": "scale.planning",
    "SettingError": "errors",
    "Surprisal": "language_models.scoring",
    "TaggedSentence": "tagging.data.columns",
    "Tagger": "tagging.model",
    "TaggerEstimator": "integrations.sklearn",
    "TaggerMixture": "tagging.mixture",
    "TextError": "errors",
    "TextOptions": "text.options",
    "TokenScores": "language_models.protocol",
    "UnrolledError": "errors",
    "UnrolledWarning": "errors",
    "Vocabulary": "text.vocabulary",
    "annotate": "documents.rows",
    "annotate_file": "documents.files",
    "app": "server.app",
    "compile_kernels": "compilation",
    "count_into_file": "scale.counting",
    "count_ngrams": "ngram.counts.counting",
    "disambiguate": "ngram.disambiguation",
    "read_choices": "ngram.disambiguation",
    "entropy_prune": "ngram.editing.pruning",
    "evaluate": "language_models.evaluation",
    "export_fst": "integrations.fst",
    "filter_vocabulary": "ngram.editing.pruning",
    "generate": "language_models.generation",
    "generate_lines": "language_models.random_text",
    "load": "storage.loading",
    "measure_cell": "gradients.measure",
    "measure_gradients": "gradients.measure",
    "mix": "ngram.editing.mixing",
    "mix_models": "language_models.mixture_tuning",
    "plan_counts": "scale.counts_planning",
    "plan_ngram": "scale.planning",
    "predict": "language_models.generation",
    "prune_to_size": "ngram.editing.pruning",
    "quantize": "ngram.editing.quantization",
    "rank": "language_models.scoring",
    "read_arpa": "ngram.arpa.files",
    "read_columns": "tagging.data.columns",
    "read_corpus": "text.corpus",
    "read_counts": "ngram.counts.count_files",
    "read_rows": "tagging.data.columns",
    "score_sentences": "language_models.scoring",
    "score_spans": "tagging.scoring.scores",
    "serve": "server.serving",
    "surprisal_table": "language_models.surprisal_table",
    "surprisals": "language_models.scoring",
    "train_net": "neural.training",
    "train_ngram": "ngram.training",
    "train_ngram_file": "scale.training",
    "train_on_counts": "ngram.training",
    "train_tagger": "tagging.training",
    "truncate_order": "ngram.editing.truncation",
    "tune_weights": "ngram.editing.mixing",
    "write_arpa": "ngram.arpa.files",
    "write_columns": "tagging.data.columns",
    "write_counts": "ngram.counts.count_files",
}

# What needs an extra is left out, so that `from unrolled import *` works without.
_EXTRA = (
    "gradients.",
    "integrations.sklearn",
    "neural.",
    "server.",
    "tagging.model",
    "tagging.training",
)
_PLAIN = [name for name, home in _HOMES.items() if not home.startswith(_EXTRA)]
__all__ = sorted([*_PLAIN, "__version__"])


# Public modules, by the modules that they are.
_MODULES = {"spark": "scale.spark"}


def __getattr__(name: str) -> Any:
    """Load the module of a public name at its first use (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"unrolled.{_MODULES[name]}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"unrolled.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
