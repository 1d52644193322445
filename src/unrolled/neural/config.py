"""Settings of nets and of their training; nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingError
from unrolled.settings import check_settings, configure, setting
from unrolled.training.settings import TrainingSettings

CELLS = ("elman", "irnn", "lstm", "gru")
NONLINEARITIES = ("tanh", "sigmoid", "relu", "linear")
INITIALISATIONS = ("identity", "orthogonal", "radius", "sparse")
OUTPUTS = ("classes", "full", "adaptive", "sampled", "nce")


@dataclass(frozen=True)
class NetConfig:
    """What a net is made of; each field says what it means, see docs/settings.md.

    Raises:
        SettingError: a value that is not allowed.
    """

    cell: str = setting(
        "lstm",
        "Recurrent cell; irnn is a ReLU net that starts at the identity (Le et al. 2015), "
        "feed-forward the net of Bengio et al. 2003.",
        group="Layers",
        choices=(*CELLS, "feed-forward"),
    )
    nonlinearity: str = setting(
        "tanh", "Nonlinearity of elman and feed-forward nets.", choices=NONLINEARITIES
    )
    hidden: int = setting(256, "Units of a layer.", minimum=1)
    layers: int = setting(1, "Recurrent layers.", minimum=1)
    embedding: int = setting(0, "Width of the word vectors; 0 for that of a layer.", minimum=0)
    tied: bool = setting(
        True, "One matrix for input and output vectors (Press and Wolf 2017; Inan et al. 2017)."
    )
    residual: bool = setting(False, "From the second layer on, add a layer's input to its output.")
    order: int = setting(5, "n of a feed-forward net, which sees n - 1 words.", minimum=2)
    reset_state_per_sentence: bool = setting(
        False,
        "Begin each sentence with the initial state, instead of the last one's final state.",
        former="independent",
    )
    output_layer: str = setting(
        "classes",
        "Class-factored, full or adaptive softmax; a full one trained on samples: sampled "
        "softmax or noise-contrastive estimation.",
        group="Output layer",
        choices=OUTPUTS,
        former="output",
    )
    classes: int = setting(
        0,
        "Classes of the class-factored softmax; 0: the square root of the number of words, at "
        "least 100.",
        minimum=0,
    )
    classes_by: str = setting(
        "bigrams",
        "How words are put into classes: by frequency, its square root, or bigrams (Brown).",
        choices=("frequency", "sqrt-frequency", "bigrams"),
    )
    samples: int = setting(1024, "Words sampled for a batch by sampled softmax and nce.", minimum=1)
    maxent_size: int = setting(
        0,
        "Size of a hash table of n-gram features beside the net (Mikolov et al. 2011); 0 for none.",
        minimum=0,
        former="direct",
    )
    maxent_order: int = setting(
        3, "Longest n-gram of these features.", minimum=1, former="direct_order"
    )
    dropout_input: float = setting(
        0.2,
        "Share of input units dropped, the same ones at all steps of a batch (Gal and "
        "Ghahramani 2016).",
        group="Dropout",
        minimum=0,
        below=1,
    )
    dropout_layers: float = setting(0.2, "Share dropped between layers.", minimum=0, below=1)
    dropout_output: float = setting(
        0.4, "Share dropped before the output layer.", minimum=0, below=1
    )
    dropout_words: float = setting(
        0.0,
        "Share of the vocabulary whose vectors are 0 throughout a batch (Gal and Ghahramani 2016).",
        minimum=0,
        below=1,
    )
    dropout_recurrent: float = setting(
        0.0,
        "Share of recurrent weights dropped (Merity et al. 2018).",
        minimum=0,
        below=1,
        former="dropout_state",
    )
    learn_initial_state: bool = setting(
        False,
        "Learn the state before the first word, instead of 0.",
        group="Initial values",
        former="learned_start",
    )
    forget_bias: float = setting(1.0, "Initial bias of an LSTM's forget gate.")
    recurrent_init: str = setting(
        "",
        "Initial recurrent weights; by default the cell's: 0.9 times the identity for elman "
        "with tanh or ReLU.",
        choices=("", *INITIALISATIONS),
        allowed=", ".join(INITIALISATIONS) + ", or empty for the cell's default",
        former="recurrent_start",
    )
    recurrent_init_scale: float = setting(
        1.0,
        "Factor of recurrent_init; of radius and sparse the spectral radius.",
        above=0,
        former="recurrent_scale",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.maxent_size and self.output_layer not in ("classes", "full"):
            raise SettingError(
                f"maxent_size is {self.maxent_size} and output_layer '{self.output_layer}', but "
                "only classes and full have n-gram features"
            )
        if self.recurrent_init_scale != 1 and not self.recurrent_init:
            raise SettingError(
                f"recurrent_init_scale is {self.recurrent_init_scale}, but the cell's own weights "
                "are not scaled any further",
                hint="Set recurrent_init too",
            )

    @property
    def width(self) -> int:
        """E, width of the word vectors."""
        return self.embedding or self.hidden


@dataclass(frozen=True)
class TrainingConfig(TrainingSettings):
    """How a net is trained; each field says what it means, see docs/settings.md.

    Raises:
        SettingError: a value that is not allowed.
    """

    batch: int = setting(64, "Contiguous parts of the text that are read in parallel.", minimum=1)
    rate: float = setting(
        0.012,
        "Learning rate: of adam per step, of sgd per mean gradient of a token.",
        above=0,
        shown_default="by cell: 0.006 or 0.012; of sgd 10",
    )
    weight_decay: float = setting(
        0.1,
        "Decay of weights towards 0, under adam times the rate (Loshchilov and Hutter 2019).",
        minimum=0,
        shown_default="0.1 under adam, otherwise 0",
    )
    freeze_vectors: bool = setting(
        False, "Do not train those vectors; only where the output has vectors of its own."
    )
    bptt: int = setting(
        35,
        "Time steps of a batch, over which gradients flow back; 1 is plain backpropagation.",
        group="Language model",
        minimum=1,
    )
    accumulate: int = setting(1, "Batches whose gradients are summed for a step.", minimum=1)
    precision: str = setting(
        "auto",
        "Of products: float32, bfloat16 (weights and losses stay float32), or auto: bfloat16 "
        "on GPUs that have it.",
        choices=("auto", "float32", "bfloat16"),
    )
    recurrent_lr_scale: float = setting(
        1.0,
        "Factor of the rate of recurrent weights; simple recurrent nets gain much from a "
        "small one under adam.",
        above=0,
        shown_default="by cell: 0.15 or 1",
        former="state_rate",
    )
    maxent_lr: float = setting(
        0.2,
        "Learning rate of n-gram features, under Adagrad; times the schedule.",
        above=0,
        former="direct_rate",
    )


def default_steps(cell: str = "lstm", optimiser: str = "adam") -> dict[str, float]:
    """Settings of a step that trained nets of 200 units well on a million words, by validation.

    >>> default_steps("elman")
    {'rate': 0.006, 'recurrent_lr_scale': 0.15, 'weight_decay': 0.1}
    """
    if optimiser != "adam":
        return {"rate": 10.0, "recurrent_lr_scale": 1.0, "weight_decay": 0.0}
    rate, scale = _RATES.get(cell, 0.012), _STATE_RATES.get(cell, 1.0)
    return {"rate": rate, "recurrent_lr_scale": scale, "weight_decay": 0.1}


_RATES = {"elman": 0.006, "irnn": 0.006, "feed-forward": 0.006}
_STATE_RATES = {"elman": 0.15, "irnn": 0.15}


def split_settings(settings: dict[str, Any]) -> tuple[NetConfig, TrainingConfig]:
    """Settings by name, sorted into those of the net and those of its training.

    What `default_steps` has is taken from there if it is None, or not there.

    Raises:
        SettingError: an unknown name, with the nearest known one, or a value not allowed.
    """
    defaults = default_steps(settings.get("cell", "lstm"), settings.get("optimiser", "adam"))
    asked = {name: value for name, value in settings.items() if value is not None}
    net, training = configure({**defaults, **asked}, NetConfig, TrainingConfig)
    return net, training
