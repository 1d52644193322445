"""Several models in the file of one: how mixtures store those that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.storage.loading import Model, StoredModel, model_of, require_kind
from unrolled.storage.model_file import ModelFile, arrays_under, prefixed

Array = np.ndarray[Any, Any]


def components_contents(
    models: Sequence[StoredModel],
) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """What each model's part of a header says, and the arrays of all.

    An array that a model has in common with the first one, such as the word vectors of taggers that
    were trained from several seeds, is stored once.

    Raises:
        SettingError: a model that cannot be stored.
    """
    parts = [model.contents() for model in models]
    first = parts[0]["arrays"]
    arrays: dict[str, Array] = {}
    for number, part in enumerate(parts):
        own = part.pop("arrays")
        if number:
            part["common"] = [
                name for name in own if name in first and _same(own[name], first[name])
            ]
        kept = {name: array for name, array in own.items() if name not in part.get("common", ())}
        arrays |= prefixed(f"{number}/", kept)
    return parts, arrays


def components_of(
    file: ModelFile, parts: Sequence[dict[str, Any]], kind: type[Model], purpose: str
) -> list[Model]:
    """The models within a file, of one class, their arrays still on disk.

    Args:
        file, parts: what `components_contents` gave, as it was read. kind, purpose: see
            `require_kind`.

    Raises:
        FormatError: a model that makes no sense. SettingError: one of another class. KeyError,
            TypeError, ValueError: parts that make no sense.
    """
    first = arrays_under("0/", file.arrays)
    models = []
    for number, part in enumerate(parts):
        own = arrays_under(f"{number}/", file.arrays)
        own |= {name: first[name] for name in part.get("common", ())}
        inner = replace(
            file, kind=part["kind"], config=part["config"], provenance=part["provenance"],
            arrays=own, crc32={},
        )  # fmt: skip
        models.append(require_kind(model_of(inner), kind, purpose))
        models[-1].path = None  # it is not what that file holds
    return models


def _same(one: Array, other: Array) -> bool:
    """Whether arrays are equal to the last bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    one_bytes, other_bytes = (array.reshape(-1).view(np.uint8) for array in (one, other))
    return np.array_equal(one_bytes, other_bytes)
