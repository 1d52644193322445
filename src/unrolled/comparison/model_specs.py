"""What a ladder of models is made of: one entry a model, and how each kind is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unrolled.language_models.protocol import LanguageModel
from unrolled.text.corpus import TextOptions

Report = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """What every rung is given."""

    train: str
    valid: str
    test: str
    options: TextOptions
    min_count: int
    threads: int


@dataclass(frozen=True)
class Rung:
    """One model of the ladder.

    Attributes:
        name: in the table; the model's file has it too.
        train: makes the model from the task, the settings, the folder of the models trained so
            far, each in `file_name` of its name, and what to tell how far it is.
        settings: for ``train``; JSON can hold them.
        kind: the family it belongs to: ``n-gram``, ``net`` or ``mixture``.
        needs: names of the rungs whose models it is made of.
    """

    name: str
    train: Callable[[Task, dict[str, Any], Path, Report], LanguageModel]
    settings: dict[str, Any] = field(default_factory=dict)
    kind: str = "n-gram"
    needs: tuple[str, ...] = ()


def file_name(name: str) -> str:
    """The file, in the ladder's folder, of the model of that name."""
    return "".join(c if c.isalnum() or c == "-" else "-" for c in name) + ".safetensors"


def train_ngram_rung(
    task: Task, settings: dict[str, Any], folder: Path, report: Report
) -> LanguageModel:
    """An n-gram model."""
    from unrolled.ngram.training import train_ngram

    return train_ngram(
        task.train,
        options=task.options,
        min_count=task.min_count,
        threads=task.threads,
        **settings,
    )


def train_net_rung(
    task: Task, settings: dict[str, Any], folder: Path, report: Report
) -> LanguageModel:
    """A neural net, its best epoch chosen by the validation text."""
    from unrolled.neural.training import train_net

    return train_net(
        task.train,
        valid=task.valid,
        options=task.options,
        min_count=task.min_count,
        threads=task.threads,
        report=report,
        **settings,
    )


def train_mixture_rung(
    task: Task, settings: dict[str, Any], folder: Path, report: Report
) -> LanguageModel:
    """A mixture of rungs trained before, its weights tuned on the validation text.

    ``settings``: names ``of`` the rungs, ``how`` to mix, and the half-life of a ``cache`` or None.
    """
    from unrolled.language_models.cache import CacheModel
    from unrolled.language_models.mixture_tuning import mix_models
    from unrolled.storage.model_file import load

    models = [load(folder / file_name(name)) for name in settings["of"]]
    if settings["cache"] is not None:
        first = models[0]
        cache = CacheModel(
            first.vocabulary, half_life=settings["cache"], text_options=first.text_options
        )
        models.append(cache)
    return mix_models(models, task.valid, how=settings["how"], threads=task.threads)


def ngram_rung(name: str, order: int, smoothing: str = "modified-kneser-ney") -> Rung:
    """An n-gram model."""
    return Rung(name, train_ngram_rung, {"order": order, "smoothing": smoothing})


def net_rung(name: str, **settings: Any) -> Rung:
    """A net with settings of `train_net`."""
    return Rung(name, train_net_rung, settings, "net")


def mixture_rung(name: str, *of: str, how: str = "linear", cache: float | None = None) -> Rung:
    """A mixture of the models of earlier rungs."""
    return Rung(name, train_mixture_rung, {"of": of, "how": how, "cache": cache}, "mixture", of)


RUNGS = (
    ngram_rung("unigram", 1),
    ngram_rung("bigram", 2),
    ngram_rung("trigram", 3),
    ngram_rung("4-gram", 4),
    ngram_rung("5-gram", 5),
    ngram_rung("trigram, Kneser-Ney one discount", 3, "kneser-ney"),
    ngram_rung("trigram, absolute", 3, "absolute"),
    ngram_rung("trigram, Witten-Bell", 3, "witten-bell"),
    ngram_rung("trigram, Katz", 3, "katz"),
    ngram_rung("trigram, additive", 3, "additive"),
    ngram_rung("trigram, maximum likelihood", 3, "maximum-likelihood"),
    ngram_rung("trigram, stupid back-off", 3, "stupid-backoff"),
    mixture_rung("5-gram + cache", "5-gram", cache=100),
    net_rung("feed-forward net", cell="feed-forward", hidden=200, epochs=1),
    net_rung("Elman net", cell="elman", hidden=200, epochs=1),
    net_rung("LSTM", cell="lstm", hidden=200, epochs=2),
    mixture_rung("5-gram + LSTM", "5-gram", "LSTM"),
)
