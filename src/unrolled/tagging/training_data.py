"""What a tagger is trained on: its tags, its words, and the sentences as numbers."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.tagging.config import TaggerConfig
from unrolled.tagging.data.batches import ranges
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.features import Columns
from unrolled.tagging.data.notation import notation_named
from unrolled.tagging.data.schemes import detect_scheme
from unrolled.tagging.data.tags import TagSet
from unrolled.tagging.neural_tagger import NeuralTagger

Array = np.ndarray[Any, Any]


class TrainingData(NamedTuple):
    """Training sentences as numbers: words' forms, tags and columns (N,) end to end."""

    forms: Array
    tags: Array
    columns: list[Array]
    lengths: Array
    offsets: Array

    def places(self, numbers: Array) -> Array:
        """Where the words of sentences of these numbers lie, (N,)."""
        return ranges(self.offsets[numbers], self.lengths[numbers])

    @classmethod
    def of(
        cls, train: Sequence[TaggedSentence], tagger: NeuralTagger, words: Sequence[str]
    ) -> TrainingData:
        """The numbers that a tagger gives them; a word's form is its place among the words."""
        number = {word: rank for rank, word in enumerate(words)}
        lengths = np.array([len(sentence.words) for sentence in train], np.int64)
        forms = np.array([number[word] for sentence in train for word in sentence.words], np.int64)
        return cls(
            forms,
            tagger.tags.encode([sentence.tags for sentence in train]),
            tagger.column_ids(train),
            lengths,
            np.concatenate([[0], np.cumsum(lengths)]),
        )


def check_tagged(train: Sequence[TaggedSentence], valid: Sequence[TaggedSentence]) -> None:
    """Raise unless there are sentences to train on, and all have tags.

    Raises:
        TextError: there are none, or one without tags.
    """
    if not train:
        raise TextError("there are no sentences to train on")
    for sentence in (*train, *valid):
        if len(sentence.tags) != len(sentence.words):
            raise TextError("the sentence has no tags", where=sentence.place or None)


def tag_set(train: Sequence[TaggedSentence], config: TaggerConfig) -> TagSet:
    """The tags, and those within the model as configured.

    Warns if all tags are O, or if plain labels have an O among them.

    Raises:
        TextError: the tags are of several schemes.
    """
    tags = [sentence.tags for sentence in train]
    wanted, own = config.scheme, "none"
    if wanted != "none":
        own = detect_scheme(tags, places=[sentence.place for sentence in train])
    if wanted == "auto":
        wanted = "IOBES" if config.output_layer == "crf" else "same"
    if own == "none":
        wanted = own
    elif wanted == "same":
        wanted = notation_named(own).base
    found = TagSet.of(tags, wanted, output_scheme=own)
    if found.has_spans and not found.labels:
        what = "all tags are O, so that the tagger will find nothing: are they the right column?"
        warnings.warn(what, UnrolledWarning, stacklevel=4)
    if config.scheme != "none" and not found.has_spans and {"O", "o", "_", "*"} & set(found.names):
        few = [name for name in found.names if name not in ("O", "o")][:3]
        what = (
            f"the tags ({', '.join(few)}, ...) are of no known scheme of spans, so that they are "
            "taken as plain labels: each is learned and scored for itself, without spans"
        )
        warnings.warn(what, UnrolledWarning, stacklevel=4)
    return found


def columns_of(train: Sequence[TaggedSentence], config: TaggerConfig) -> Columns:
    """The values of the columns that are inputs.

    Raises:
        SettingError: the data lack a column.
    """
    width = min(len(sentence.columns) for sentence in train)
    for column in config.columns:
        if column >= width:
            raise SettingError(
                f"columns has {column}, and the data have {width} besides words and tags",
                hint="They are counted from 0, leaving words and tags out",
            )
    return Columns(
        [
            sorted({value for sentence in train for value in sentence.columns[column]})
            for column in config.columns
        ]
    )


def unknown_chances(counts: Counter[str], ids: Array, unknown: float) -> Array:
    """(F,) with what probability each form is taken for the unknown word."""
    seen = np.zeros(int(ids.max(initial=0)) + 1)
    np.add.at(seen, ids, np.array(list(counts.values()), np.float64))
    result: Array = unknown / (unknown + seen[ids])
    return result


def metric_of(wanted: str, tags: TagSet) -> str:
    """What the best epoch is chosen by.

    Raises:
        SettingError: the tags have no such score.
    """
    if wanted == "auto":
        return "f1" if tags.has_spans else "accuracy"
    if wanted != "accuracy" and not tags.has_spans:
        raise SettingError(
            f"the metric is {wanted}, and the tags are no spans", hint="Take accuracy"
        )
    return wanted
