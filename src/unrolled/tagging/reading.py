"""A tagger from its file, each part checked before it is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.neural.model import NeuralModel, read_net
from unrolled.settings import stored_config, with_current_names
from unrolled.storage.model_file import ModelFile, arrays_under
from unrolled.tagging.config import TAG_SCHEMES, TaggerConfig, TaggerTraining
from unrolled.tagging.data.features import Columns, Lexicon, checked_texts
from unrolled.tagging.data.tags import TagSet
from unrolled.tagging.net.language_states import LanguageStates
from unrolled.tagging.net.network import TaggerNet
from unrolled.tagging.net.vectors import VectorTable
from unrolled.tagging.neural_tagger import NeuralTagger
from unrolled.text.vocabulary import Vocabulary


def read_tagger(file: ModelFile) -> NeuralTagger:
    """Tagger of an opened file.

    Raises:
        FormatError: arrays or settings that are missing or contradict each other.
    """
    where, settings = str(file.path), with_current_names(file.config, TaggerConfig)
    config = stored_config(settings, TaggerConfig, where)
    tags = _tags(settings, where)
    characters = checked_texts(settings.get("known_characters"), "characters", where)
    columns = Columns(
        [
            checked_texts(values, "values of columns", where)
            for values in _list(settings.get("column_values"), where)
        ]
    )
    if len(columns.values) != len(config.columns):
        raise FormatError("the columns and their values are not as many", where=where)
    allowed = None
    if config.output_layer == "crf":
        file.array("net.crf.transitions", np.float32, (len(tags), len(tags)))
        allowed = tags.allowed()  # takes time for each pair of tags
    net = read_net(
        lambda: TaggerNet(
            config, characters=len(characters) + 2, columns=columns.sizes, tags=len(tags),
            allowed=allowed,
        ),
        file,
        modules=config.layers + len(config.columns),
    )  # fmt: skip
    vocabulary = Vocabulary.from_arrays(arrays_under("words.", file.arrays), where)
    width = config.embedding
    vectors = VectorTable(
        file.array("vectors.trained", np.float32, (None, width)),
        file.array("vectors.given", np.float16, (None, width)),
    )
    if len(vectors.trained) + len(vectors.given) != len(vocabulary):
        raise FormatError(
            f"there are {len(vectors.trained) + len(vectors.given)} vectors for "
            f"{len(vocabulary)} words",
            where=where,
        )
    lexicon = Lexicon(
        vocabulary, trained=len(vectors.trained), case=config.case, digits=config.normalise_digits
    )
    known = {character: number for number, character in enumerate(characters, 2)}
    training = settings.get("training")
    if isinstance(training, dict):
        settings["training"] = with_current_names(training, TaggerTraining)
    rest = {
        name: value
        for name, value in settings.items()
        if name in ("training", "scores", "overlap", "curve", "task")
    }
    return NeuralTagger(
        net, lexicon, vectors, known, columns, tags,
        language=_language(file, config.language_model_dim),
        settings=rest, provenance=file.provenance, path=where,
    )  # fmt: skip


def _language(file: ModelFile, width: int) -> LanguageStates | None:
    """The language model within the file, if the tagger reads one."""
    settings = file.config.get("language_model")
    if settings is None and not width:
        return None
    if not isinstance(settings, dict):
        raise FormatError("the language model is missing", where=str(file.path))
    arrays = arrays_under("language.", file.arrays)
    states = LanguageStates(
        NeuralModel.from_file(replace(file, kind="net", config=settings, arrays=arrays))
    )
    if states.width != width:
        raise FormatError(
            f"the language model's states have {states.width} numbers, and the tagger reads "
            f"{width}",
            where=str(file.path),
        )
    return states


def _tags(settings: dict[str, Any], where: str) -> TagSet:
    names = checked_texts(settings.get("tags"), "tags", where)
    scheme, output_scheme = settings.get("tag_scheme"), settings.get("output_scheme")
    if not names or len(set(names)) != len(names) or scheme not in TAG_SCHEMES[2:]:
        raise FormatError("the tags are damaged", where=where)
    try:
        return TagSet(names, str(scheme), str(output_scheme))
    except SettingError:
        raise FormatError("the tags are damaged", where=where) from None


def _list(given: Any, where: str) -> list[Any]:
    if not isinstance(given, list):
        raise FormatError("the columns are damaged", where=where)
    return given
