"""The state of a training as one safetensors file: arrays, and a place as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import FormatError, SettingError
from unrolled.storage.model_file import read_model, write_model

VERSION = 3


def write_checkpoint(
    path: Path,
    kind: str,
    *,
    identity: Mapping[str, Mapping[str, Any]],
    place: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> None:
    """Write all of it or nothing.

    Args:
        kind: what is trained. identity: settings and data, which a resumed training must share.
        place: where training is, as JSON knows it.

    Raises:
        UnrolledError: the disk is full or fails; an earlier checkpoint stays as it was.
    """
    config = {"version": VERSION, "place": place, **_as_json(identity)}
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
    write_model(path, kind=f"{kind}-checkpoint", config=config, arrays=arrays)


def read_checkpoint(
    path: Path, kind: str, identity: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The place and the tensors of a checkpoint.

    Raises:
        FormatError: the file is damaged, no checkpoint of this kind, or of another version.
        SettingError: it was written with other settings or other data.
    """
    file = read_model(path, verify=True)
    where = str(path)
    if file.kind != f"{kind}-checkpoint":
        raise FormatError(f"it holds a {file.kind}, not a checkpoint of a {kind}", where=where)
    if file.config.get("version") != VERSION:
        raise FormatError(
            f"the checkpoint has version {file.config.get('version')}, and this program reads "
            f"version {VERSION}",
            where=where,
            hint="Train anew without --resume",
        )
    for part, wanted in _as_json(identity).items():
        found = file.config.get(part)
        if not isinstance(found, dict):
            raise FormatError(f"the checkpoint lacks its '{part}'", where=where)
        for name, value in wanted.items():
            if found.get(name) != value:
                raise SettingError(
                    f"the checkpoint was written with {part} {name} {found.get(name)}, "
                    f"and now it is {value}",
                    where=where,
                    hint="Use the same settings and data, or train anew without --resume",
                )
    place = file.config.get("place")
    if not isinstance(place, dict):
        raise FormatError("the checkpoint lacks its 'place'", where=where)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in file.arrays.items()}
    return place, tensors


def _as_json(identity: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same with lists for tuples, as a file gives them back."""
    result: dict[str, dict[str, Any]] = json.loads(json.dumps(identity))
    return result
