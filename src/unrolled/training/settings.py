"""Settings of training that nets and taggers share; nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.errors import SettingError
from unrolled.settings import check_settings, setting

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class TrainingSettings:
    """What the training loop reads; nets and taggers add their own and their defaults.

    Raises:
        SettingError: a value that is not allowed.
    """

    epochs: int = setting(10, "Passes over the data, at most.", group="Training", minimum=1)
    batch: int = setting(64, "Sequences of a batch.", minimum=1)
    seed: int = setting(
        1,
        "Seed of initial values, dropout, order and sampling.",
        minimum=0,
        maximum=LARGEST_SEED,
        allowed="0 to 2^63 - 1",
    )
    optimiser: str = setting(
        "adam",
        "adam (with decoupled weight decay), sgd, or asgd (averaged once validation no longer "
        "improves: Merity et al. 2018).",
        group="Optimiser",
        choices=("adam", "sgd", "asgd"),
    )
    rate: float = setting(0.01, "Learning rate.", above=0)
    momentum: float = setting(0.0, "Momentum of sgd.", minimum=0, below=1)
    weight_decay: float = setting(
        0.0, "Decay of weights towards 0; the word vectors of taggers have none.", minimum=0
    )
    clip_norm: float = setting(
        1.0, "Largest norm of a whole gradient (Pascanu et al. 2013); 0 for none.", minimum=0
    )
    clip_value: float = setting(
        0.0, "Largest absolute value of a gradient's element (Mikolov); 0 for none.", minimum=0
    )
    schedule: str = setting(
        "cosine",
        "Learning rate over time: cosine falls to a hundredth, halving is Mikolov's, decay is "
        "rate / (1 + decay * epoch).",
        group="Schedule",
        choices=("cosine", "halving", "decay", "constant"),
    )
    warmup: int = setting(50, "Steps of rising rate.", minimum=0)
    decay: float = setting(0.05, "Of the schedule decay.", minimum=0)
    patience: int = setting(
        0,
        "Epochs without a better validation score before training stops; 0: never.",
        minimum=0,
    )
    averaging: float = setting(
        0.0,
        "Epochs that weights are averaged over (Polyak and Juditsky 1992), for validation and for "
        "the final model; 0 for none.",
        minimum=0,
    )
    vectors: str = setting(
        "", "File of word vectors (word2vec, GloVe) to start with.", group="Word vectors"
    )
    freeze_vectors: bool = setting(False, "Do not train those vectors.")

    def __post_init__(self) -> None:
        check_settings(self)
        if self.freeze_vectors and not self.vectors:
            raise SettingError("there are no vectors to freeze", hint="Name a file with vectors")
