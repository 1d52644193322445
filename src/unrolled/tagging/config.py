"""What a tagger is made of and how it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingError
from unrolled.neural.cells import CELLS, NONLINEARITIES
from unrolled.settings import sorted_into

CASES = ("exact-then-lower", "exact", "lower")
CHARACTERS = ("cnn", "rnn", "none")
OUTPUTS = ("crf", "softmax")
READS = ("last", "all")
SUMMARIES = ("none", "max")
TAG_SCHEMES = ("auto", "same", "IO", "IOB1", "BIO", "IOBES", "none")
OPTIMISERS = ("adam", "sgd")
SCHEDULES = ("cosine", "decay", "constant")
_SHARES = ("dropout_input", "dropout_layers", "dropout_output")
METRICS = ("auto", "f1", "proportional", "accuracy")

# Names in files of earlier versions, and what they are called now.
FORMER_NAMES = {
    "read": "output_from",
    "digits": "normalise_digits",
    "character_width": "character_dim",
    "capitals": "casing_dim",
    "column_width": "column_dim",
    "window": "column_window",
    "states": "language_model_dim",
    "summary": "pooling",
    "output": "output_layer",
}
FORMER_TRAINING_NAMES = {"unknown": "word_dropout"}


@dataclass(frozen=True)
class TaggerConfig:
    """What a tagger is made of.

    Attributes:
        cell: lstm, gru, elman or irnn. nonlinearity: of an Elman cell.
        hidden: H, units of a layer in each direction. layers: 0 for none: tags by words alone.
        output_from: what the output reads: the last layer, or all.
        embedding: E, width of word vectors; a file of vectors brings its own.
        case: how words are looked up: exact-then-lower, exact, or lower.
        normalise_digits: words that are not known are looked up once more with all digits as 0.
        characters: cnn, rnn or none. character_dim: of a character's vector.
        character_units: filters of the CNN, or units of the RNN in each direction.
        character_window: characters that a filter sees.
        casing_dim: width of a vector for how a word is written (Capital, CAPITALS, digits ...); 0
            for none.
        columns: which further columns of the data are inputs, by their rank among the columns that
            are neither words nor tags. column_dim: width of the vector of each.
        column_window: if above 0, those columns are no inputs of the stack: each value at a word
            and at so many words to both sides has a weight for each tag, as in a CRF of indicator
            features.
        language_model_dim: width of a language model's states, set by the trainer.
        pooling: max: the output also reads the largest value of each unit in the sentence, so that
            a word's tag can go by what is said far from it; or none.
        output_layer: crf, or softmax, where each tag is chosen for itself.
        scheme: what tags are turned into within the model: auto (IOBES under a CRF, else as they
            are), same, or the name of a scheme.
        dropout_input, dropout_layers, dropout_output: share of units set to 0, one choice for all
            words of a sentence.
    """

    cell: str = "lstm"
    nonlinearity: str = "tanh"
    hidden: int = 200
    layers: int = 1
    output_from: str = "last"
    embedding: int = 100
    case: str = "exact-then-lower"
    normalise_digits: bool = True
    characters: str = "cnn"
    character_dim: int = 30
    character_units: int = 30
    character_window: int = 3
    casing_dim: int = 8
    columns: tuple[int, ...] = ()
    column_dim: int = 20
    column_window: int = 0
    language_model_dim: int = 0
    pooling: str = "none"
    output_layer: str = "crf"
    scheme: str = "auto"
    dropout_input: float = 0.5
    dropout_layers: float = 0.3
    dropout_output: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        for name, allowed in (
            ("cell", CELLS), ("nonlinearity", NONLINEARITIES), ("output_from", READS),
            ("case", CASES),
            ("characters", CHARACTERS), ("output_layer", OUTPUTS), ("scheme", TAG_SCHEMES),
            ("pooling", SUMMARIES),
        ):  # fmt: skip
            _choice(self, name, allowed)
        for name in ("hidden", "embedding", "character_dim", "character_units", "column_dim"):
            _at_least(self, name, 1)
        for name in ("layers", "casing_dim", "column_window", "language_model_dim"):
            _at_least(self, name, 0)
        if self.character_window < 1 or self.character_window % 2 == 0:
            raise SettingError(
                f"character_window is {self.character_window}, allowed are 1, 3, 5 and so on"
            )
        if any(type(column) is not int or column < 0 for column in self.columns):
            raise SettingError(f"columns are {self.columns}, allowed are ranks from 0 on")
        for name in _SHARES:
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}, allowed are 0 to below 1")


@dataclass(frozen=True)
class TaggerTraining:
    """How a tagger is trained.

    Attributes:
        epochs: passes over the sentences, at most. batch: sentences.
        optimiser: adam (with decoupled weight decay) or sgd. rate: the learning rate, of the mean
            loss of a sentence under a CRF and of a word otherwise.
        momentum: of SGD. weight_decay: of all weights but word vectors.
        schedule: cosine (falls to a hundredth), decay (rate / (1 + decay * epoch)) or constant.
        warmup: steps of rising rate. decay: of that schedule.
        patience: epochs without a better score on the validation data before it stops; 0: none.
        metric: what the best epoch is chosen by: f1 of exact spans, proportional overlap, accuracy
            of tags; auto: f1 where tags are spans.
        clip_norm: largest norm of a gradient; 0 for none.
        word_dropout: a word seen c times is taken for an unknown one with probability a / (a + c),
            of which this is a, so that unknown words are learned about (Kiperwasser,
            Goldberg 2016).
        averaging: epochs that weights and word vectors are averaged over, step by step, for
            validation and for the tagger that is kept (Polyak and Juditsky 1992): a mean of all
            steps at first, then one in which older steps fade exponentially; 0: none.
        label_weights: how much the loss on a tag counts, such as {"O": 0.6}; softmax only.
        language_model: file of a net of `unrolled train net`, whose states at each word are further
            inputs; it is not trained, and becomes a part of the tagger.
        vectors: file of word vectors to begin with. freeze_vectors: leave them as they are; words
            without one are then all unknown.
        vector_words: words of that file that are kept for tagging besides those of the training
            data: so many of the first.
        seed: of initial values, dropout and order.
    """

    epochs: int = 30
    batch: int = 16
    optimiser: str = "adam"
    rate: float = 0.002
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: int = 100
    decay: float = 0.05
    patience: int = 0
    metric: str = "auto"
    clip_norm: float = 5.0
    word_dropout: float = 0.25
    averaging: float = 0.0
    label_weights: dict[str, float] | None = None
    language_model: str = ""
    vectors: str = ""
    freeze_vectors: bool = False
    vector_words: int = 200_000
    seed: int = 1

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("metric", METRICS)
        ):  # fmt: skip
            _choice(self, name, allowed)
        for name in ("epochs", "batch"):
            _at_least(self, name, 1)
        if not 0 < self.rate < math.inf:
            raise SettingError(f"rate is {self.rate}, allowed are numbers above 0")
        for name in (
            "momentum", "weight_decay", "warmup", "decay", "patience", "clip_norm", "word_dropout",
            "vector_words", "averaging", "seed",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{name} is {getattr(self, name)}, allowed are 0 and more")
        for tag, weight in (self.label_weights or {}).items():
            if not 0 <= weight < math.inf:
                raise SettingError(f"the weight of '{tag}' is {weight}, allowed are 0 and more")
        if self.freeze_vectors and not self.vectors:
            raise SettingError("there are no vectors to freeze", hint="Name a file with --vectors")


def _choice(config: object, name: str, allowed: tuple[str, ...]) -> None:
    value = getattr(config, name)
    if value not in allowed:
        raise SettingError(f"{name} '{value}' is unknown, allowed are {', '.join(allowed)}")


def _at_least(config: object, name: str, least: int) -> None:
    value = getattr(config, name)
    if value < least:
        raise SettingError(f"{name} is {value}, allowed are {least} and more")


def split_settings(settings: dict[str, Any]) -> tuple[TaggerConfig, TaggerTraining]:
    """Settings by name, sorted into those of the tagger and those of its training.

    Raises:
        SettingError: an unknown name, with the nearest known one; a value that is not allowed.
    """
    of_tagger, of_training = sorted_into(settings, TaggerConfig, TaggerTraining)
    config, training = TaggerConfig(**of_tagger), TaggerTraining(**of_training)
    if training.label_weights and config.output_layer == "crf":
        raise SettingError(
            "label_weights have no meaning under a CRF, which scores whole sentences",
            hint="Set output_layer to softmax",
        )
    return config, training
