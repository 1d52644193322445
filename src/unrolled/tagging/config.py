"""Settings of taggers and of their training; nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingError
from unrolled.neural.config import CELLS, NONLINEARITIES
from unrolled.settings import check_settings, configure, setting
from unrolled.training.settings import TrainingSettings

TAG_SCHEMES = ("auto", "same", "IO", "IOB1", "BIO", "IOE1", "IOE2", "IOBES", "none")

# Defaults where there is a file of word vectors.
WITH_VECTORS: dict[str, Any] = {"rate": 0.002, "character_units": 30}


@dataclass(frozen=True)
class TaggerConfig:
    """Architecture of a tagger; docs/settings.md lists the fields.

    Raises:
        SettingError: a value that is not allowed.
    """

    cell: str = setting(
        "lstm", "Recurrent cell, in both directions.", group="Layers", choices=CELLS
    )
    nonlinearity: str = setting("tanh", "Nonlinearity of elman cells.", choices=NONLINEARITIES)
    hidden: int = setting(200, "Units of a layer in each direction.", minimum=1)
    layers: int = setting(
        1, "Bidirectional layers; 0: each word's tag depends on its inputs alone.", minimum=0
    )
    output_from: str = setting(
        "last",
        "Layers that the output sees: the last, or all.",
        choices=("last", "all"),
        former="read",
    )
    pooling: str = setting(
        "none",
        "max: the output also sees each unit's maximum over the sentence, so that a word's tag can "
        "depend on distant words.",
        choices=("none", "max"),
        former="summary",
    )
    output_layer: str = setting(
        "crf",
        "crf scores whole sequences of tags, softmax each tag alone.",
        choices=("crf", "softmax"),
        former="output",
    )
    scheme: str = setting(
        "auto",
        "Tag scheme within the model: auto is IOBES under a CRF and that of the data otherwise, "
        "same that of the data.",
        choices=TAG_SCHEMES,
    )
    embedding: int = setting(
        100,
        "Width of word vectors, where no file of vectors gives one.",
        group="Inputs",
        minimum=1,
    )
    case: str = setting(
        "exact-then-lower",
        "How words are looked up.",
        choices=("exact-then-lower", "exact", "lower"),
    )
    normalise_digits: bool = setting(
        True,
        "Look words that are unknown up once more with all digits as 0.",
        former="digits",
    )
    casing_dim: int = setting(
        8,
        "Width of the vector for a word's casing (Capital, CAPITALS, digits ...); 0 for none.",
        minimum=0,
        former="capitals",
    )
    characters: str = setting(
        "cnn", "Net over the characters of a word.", choices=("cnn", "rnn", "none")
    )
    character_dim: int = setting(
        30, "Width of character vectors.", minimum=1, former="character_width"
    )
    # Without a file of vectors 100 filters are better than 30 by 1.1 F1 on 3,000 sentences of news
    # and by 0.7 on 1,000. With one, all sentences of CoNLL-2003 have 94.3 on development data with
    # 100 filters (20 epochs) and 94.8 with 30 (30 epochs).
    character_units: int = setting(
        100,
        "Filters of the CNN, or units of the RNN in each direction.",
        minimum=1,
        shown_default=f"100, with a file of vectors {WITH_VECTORS['character_units']}",
    )
    character_window: int = setting(
        3,
        "Characters that a filter of the CNN spans.",
        minimum=1,
        allowed="1, 3, 5 and so on",
        check=lambda value: value % 2 == 1,
    )
    columns: tuple[int, ...] = setting(
        (),
        "Further columns that are inputs, by their rank among the columns that are neither words "
        "nor tags: '0 1'.",
        minimum=0,
    )
    column_dim: int = setting(
        20, "Width of the vector of such a column.", minimum=1, former="column_width"
    )
    column_window: int = setting(
        0,
        "Above 0: columns are no inputs of the net; each value at a word, and at so many words to "
        "both sides, has a weight for each tag, as in a CRF of indicator features.",
        minimum=0,
        former="window",
    )
    language_model_dim: int = setting(
        0,
        "Width of the language model's states, set by the trainer.",
        minimum=0,
        former="states",
        internal=True,
    )
    dropout_input: float = setting(
        0.5,
        "Share of input units dropped, the same ones at all words of a sentence.",
        group="Dropout",
        minimum=0,
        below=1,
    )
    dropout_layers: float = setting(0.3, "Share dropped between layers.", minimum=0, below=1)
    dropout_output: float = setting(
        0.5, "Share dropped before the output layer.", minimum=0, below=1
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class TaggerTraining(TrainingSettings):
    """Training of a tagger; docs/settings.md lists the fields.

    Raises:
        SettingError: a value that is not allowed.
    """

    epochs: int = setting(30, "Passes over the sentences, at most.", group="Training", minimum=1)
    batch: int = setting(16, "Sentences of a batch.", minimum=1)
    # Vectors that begin as random numbers need larger steps than those of a file. F1 on development
    # data of CoNLL-2003 at 0.005 and 0.002: without a file 77.4 and 75.0 (1,000 sentences, 30
    # epochs), with one 87.2 and 87.2; of all sentences with one, 94.2 (18 epochs) and 94.8 (30).
    rate: float = setting(
        0.005,
        "Learning rate, of the mean loss of a sentence under a CRF and of a word otherwise.",
        above=0,
        shown_default=f"0.005, with a file of vectors {WITH_VECTORS['rate']}",
    )
    clip_norm: float = setting(5.0, "Largest norm of a gradient; 0 for none.", minimum=0)
    warmup: int = setting(100, "Steps of rising rate.", minimum=0)
    freeze_vectors: bool = setting(
        False, "Do not train those vectors; words without one are then all unknown."
    )
    vector_words: int = setting(
        200_000,
        "Words of that file that are kept besides those of the training data, the first ones.",
        minimum=0,
    )
    metric: str = setting(
        "auto",
        "What the best epoch is chosen by: f1 of exact spans, proportional overlap, accuracy of "
        "tags; auto: f1 where tags are spans.",
        group="Tagging",
        choices=("auto", "f1", "proportional", "accuracy"),
    )
    word_dropout: float = setting(
        0.25,
        "A word seen c times is replaced by the unknown word with probability a / (a + c), of "
        "which this is a (Kiperwasser and Goldberg 2016).",
        minimum=0,
        former="unknown",
    )
    label_weights: dict[str, float] | None = setting(  # noqa: RUF009
        None, "Weights of the loss on tags: 'O=0.6 B=1'; softmax only.", minimum=0
    )
    language_model: str = setting(
        "",
        "File of a net of `unrolled train net`, whose states are further inputs; it is not "
        "trained, and is stored within the tagger.",
    )


def split_settings(settings: dict[str, Any]) -> tuple[TaggerConfig, TaggerTraining]:
    """Settings by name, sorted into those of the tagger and those of its training.

    Raises:
        SettingError: an unknown name, with the nearest known one; a value that is not allowed.
    """
    if settings.get("vectors"):
        settings = {**WITH_VECTORS, **settings}
    config, training = configure(settings, TaggerConfig, TaggerTraining)
    if training.label_weights and config.output_layer == "crf":
        raise SettingError(
            "label_weights have no meaning under a CRF, which scores whole sentences",
            hint="Set output_layer to softmax",
        )
    return config, training
