"""The models of a comparison: one specification a model, and how each kind is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.unknown_words import Unknown
from unrolled.text.options import TextOptions

Report = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """The texts and options that all models share; ``unknown``: what an unknown word costs."""

    train: str
    valid: str
    test: str
    options: TextOptions
    min_count: int
    threads: int
    unknown: Unknown = "class"


@dataclass(frozen=True)
class ModelSpec:
    """One model of a comparison.

    Attributes:
        name: in the table; the model's file has it too.
        train: makes the model from the task, the settings, the folder of the models trained so
            far, each in `file_name` of its name, and a function that reports progress.
        settings: for ``train``; JSON can hold them.
        kind: the family it belongs to: ``n-gram``, ``net`` or ``mixture``.
        needs: names of the models that it mixes.
    """

    name: str
    train: Callable[[Task, dict[str, Any], Path, Report], LanguageModel]
    settings: dict[str, Any] = field(default_factory=dict)
    kind: str = "n-gram"
    needs: tuple[str, ...] = ()


def file_name(name: str) -> str:
    """The file, in the output folder, of the model of that name."""
    return "".join(c if c.isalnum() or c == "-" else "-" for c in name) + ".safetensors"


def train_ngram(
    task: Task, settings: dict[str, Any], folder: Path, report: Report
) -> LanguageModel:
    """An n-gram model."""
    from unrolled.ngram.training import train_ngram

    return train_ngram(task.train, **_shared(task), **settings)


def train_net(task: Task, settings: dict[str, Any], folder: Path, report: Report) -> LanguageModel:
    """A neural net, its best epoch chosen by the validation text."""
    from unrolled.neural.training import train_net

    return train_net(task.train, valid=task.valid, report=report, **_shared(task), **settings)


def _shared(task: Task) -> dict[str, Any]:
    return {"options": task.options, "min_count": task.min_count, "threads": task.threads}


def train_mixture(
    task: Task, settings: dict[str, Any], folder: Path, report: Report
) -> LanguageModel:
    """A mixture of models trained earlier, its weights tuned on the validation text.

    ``settings``: names ``of`` the models, ``how`` to mix, and the half-life of a ``cache`` or None.
    """
    from unrolled.language_models.cache import CacheModel
    from unrolled.language_models.mixture_tuning import mix_models
    from unrolled.storage.loading import load_as

    models = [load_as(folder / file_name(name), LanguageModel, "mix") for name in settings["of"]]
    if settings["cache"] is not None:
        first = models[0]
        cache = CacheModel(
            first.vocabulary, half_life=settings["cache"], text_options=first.text_options
        )
        models.append(cache)
    return mix_models(models, task.valid, how=settings["how"], threads=task.threads)


def ngram_spec(name: str, order: int, smoothing: str = "modified-kneser-ney") -> ModelSpec:
    """An n-gram model."""
    return ModelSpec(name, train_ngram, {"order": order, "smoothing": smoothing})


def net_spec(name: str, **settings: Any) -> ModelSpec:
    """A net with settings of `train_net`."""
    return ModelSpec(name, train_net, settings, "net")


def mixture_spec(name: str, *of: str, how: str = "linear", cache: float | None = None) -> ModelSpec:
    """A mixture of earlier models."""
    return ModelSpec(name, train_mixture, {"of": of, "how": how, "cache": cache}, "mixture", of)


MODELS = (
    ngram_spec("unigram", 1),
    ngram_spec("bigram", 2),
    ngram_spec("trigram", 3),
    ngram_spec("4-gram", 4),
    ngram_spec("5-gram", 5),
    ngram_spec("trigram Kneser-Ney one discount", 3, "kneser-ney"),
    ngram_spec("trigram absolute", 3, "absolute"),
    ngram_spec("trigram Witten-Bell", 3, "witten-bell"),
    ngram_spec("trigram Katz", 3, "katz"),
    ngram_spec("trigram additive", 3, "additive"),
    ngram_spec("trigram maximum likelihood", 3, "maximum-likelihood"),
    ngram_spec("trigram stupid back-off", 3, "stupid-backoff"),
    mixture_spec("5-gram + cache", "5-gram", cache=100),
    net_spec("feed-forward net", cell="feed-forward", hidden=200, epochs=1),
    net_spec("Elman net", cell="elman", hidden=200, epochs=1),
    net_spec("LSTM", cell="lstm", hidden=200, epochs=2),
    mixture_spec("5-gram + LSTM", "5-gram", "LSTM"),
)
