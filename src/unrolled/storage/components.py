"""Several models in the file of one: how mixtures store those that they are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.storage.loading import Model, StoredModel, model_of, require_kind
from unrolled.storage.model_file import ModelFile, arrays_under, prefixed

Array = np.ndarray[Any, Any]


def components_contents(
    models: Sequence[StoredModel],
) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """What each model's part of a header says, and the arrays of all.

    Raises:
        SettingError: a model that cannot be stored.
    """
    parts = [model.contents() for model in models]
    arrays: dict[str, Array] = {}
    for number, part in enumerate(parts):
        arrays |= prefixed(f"{number}/", part.pop("arrays"))
    return parts, arrays


def components_of(file: ModelFile, kind: type[Model], purpose: str) -> list[Model]:
    """The models within a file, of one class, their arrays still on disk.

    Args:
        file: its settings have as ``models`` what `components_contents` gave.
        kind, purpose: see `require_kind`.

    Raises:
        FormatError: a model that makes no sense. SettingError: one of another class. LookupError,
            TypeError, ValueError: parts that make no sense; see `understood`.
    """
    models = []
    for number, part in enumerate(file.config["models"]):
        inner = replace(
            file, kind=part["kind"], config=dict(part["config"]),
            provenance=dict(part["provenance"]),
            arrays=arrays_under(f"{number}/", file.arrays), crc32={},
        )  # fmt: skip
        models.append(require_kind(model_of(inner), kind, purpose))
        models[-1].path = None  # it is not what that file holds
    return models


@contextlib.contextmanager
def understood(file: ModelFile) -> Iterator[None]:
    """What goes wrong while a mixture is made of its file is the file's fault.

    Raises:
        FormatError: of every such error.
    """
    try:
        yield
    except (
        LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        where = str(file.path)
        raise FormatError(f"the mixture is not understood: {error}", where=where) from None
