"""How a net is trained, and what training tells about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingError
from unrolled.neural.net import NetConfig
from unrolled.settings import sorted_into
from unrolled.training.schedules import Schedule

OPTIMISERS = ("adam", "sgd", "asgd")
PRECISIONS = ("auto", "float32", "bfloat16")

# Names in files of earlier versions, and what they are called now.
FORMER_TRAINING_NAMES = {"state_rate": "recurrent_lr_scale", "direct_rate": "maxent_lr"}


@dataclass(frozen=True)
class TrainingConfig:
    """How a net is trained.

    Attributes:
        epochs: passes over the text, at most.
        batch: parts of the text side by side.
        bptt: time steps of a batch; errors flow back over all of them, or over none if 1.
        optimiser: adam (with decoupled weight decay), sgd, or asgd (averaged once validation no
            longer improves: Merity et al. 2018).
        rate: learning rate; of Adam per step, of SGD per mean gradient of a token. By default what
            the cell and the optimiser want, see `default_rates`.
        recurrent_lr_scale: the rate of recurrent weights is so many times that. Adam moves
            every weight alike, but one that acts at every time step does more harm by it:
            simple recurrent nets gain much from 0.1.
        momentum: of SGD.
        weight_decay: decay of weights towards 0.
        schedule: halving, cosine or constant, see `Schedule`. warmup: steps. patience: epochs.
        clip_norm: largest norm of a whole gradient (Pascanu et al. 2013); 0 for none.
        clip_value: largest absolute value of each element (Mikolov); 0 for none.
        accumulate: batches whose gradients are summed for one step.
        seed: of initial values, dropout and order.
        maxent_lr: of the table of n-gram features, under Adagrad; times the schedule.
        precision: of products: float32; bfloat16, with weights and losses in float32 all the same;
            or auto, bfloat16 on GPUs that have it and float32 elsewhere, where it is slower.
        vectors: file of word vectors to begin with, see `word_vectors`.
        freeze_vectors: leave them as they are; only where the output has vectors of its own.
    """

    epochs: int = 10
    batch: int = 64
    bptt: int = 35
    optimiser: str = "adam"
    rate: float = 0.012
    recurrent_lr_scale: float = 1.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: int = 50
    patience: int = 0
    clip_norm: float = 1.0
    clip_value: float = 0.0
    accumulate: int = 1
    seed: int = 1
    maxent_lr: float = 0.2
    precision: str = "auto"
    vectors: str = ""
    freeze_vectors: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "bptt", "accumulate"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}, allowed are 1 and more")
        if self.optimiser not in OPTIMISERS:
            allowed = ", ".join(OPTIMISERS)
            raise SettingError(f"optimiser '{self.optimiser}' is unknown, allowed are {allowed}")
        if self.precision not in PRECISIONS:
            allowed = ", ".join(PRECISIONS)
            raise SettingError(f"precision '{self.precision}' is unknown, allowed are {allowed}")
        for name in ("rate", "recurrent_lr_scale", "maxent_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}, allowed are numbers above 0")
        for name in (
            "momentum", "weight_decay", "warmup", "patience", "clip_norm", "clip_value", "seed"
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}, allowed are 0 and more")
        Schedule(self.schedule, 1)
        if self.freeze_vectors and not self.vectors:
            raise SettingError("there are no vectors to freeze", hint="Name a file with --vectors")


@dataclass(frozen=True)
class EpochRecord:
    """One line of a learning curve; perplexities are exp of the mean loss of a token."""

    epoch: int
    tokens: int
    seconds: float
    train_perplexity: float
    valid_perplexity: float | None
    rate: float
    clipped: float

    def line(self) -> str:
        """The record as one line of text."""
        valid = "" if self.valid_perplexity is None else f"  valid ppl {self.valid_perplexity:8.2f}"
        return (
            f"epoch {self.epoch:3d}  train ppl {self.train_perplexity:8.2f}{valid}  "
            f"rate {self.rate:.2g}  clipped {100 * self.clipped:.0f} %  {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Tick:
    """How far training is, told about every second."""

    epoch: int
    epochs: int
    done: float
    tokens_per_second: float
    seconds_left: float
    perplexity: float
    valid_perplexity: float | None


def default_rates(cell: str = "lstm", optimiser: str = "adam") -> dict[str, float]:
    """Learning rates that trained nets of 200 units well on a million words, by validation.

    >>> default_rates("elman")
    {'rate': 0.006, 'recurrent_lr_scale': 0.15}
    """
    if optimiser != "adam":
        return {"rate": 10.0, "recurrent_lr_scale": 1.0}
    return {"rate": _RATES.get(cell, 0.012), "recurrent_lr_scale": _STATE_RATES.get(cell, 1.0)}


_RATES = {"elman": 0.006, "irnn": 0.006, "feed-forward": 0.006}
_STATE_RATES = {"elman": 0.15, "irnn": 0.15}


def split_settings(settings: dict[str, Any]) -> tuple[NetConfig, TrainingConfig]:
    """Settings by name, sorted into those of the net and those of its training.

    A rate that is None, or not there, is that of `default_rates`.

    Raises:
        SettingError: an unknown name, with the nearest known one.
    """
    defaults = default_rates(settings.get("cell", "lstm"), settings.get("optimiser", "adam"))
    asked = {name: value for name, value in settings.items() if value is not None}
    of_net, of_training = sorted_into({**settings, **defaults, **asked}, NetConfig, TrainingConfig)
    return NetConfig(**of_net), TrainingConfig(**of_training)
