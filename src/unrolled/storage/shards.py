"""A model as a folder of files, each of a size that file systems and networks like."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.storage.atomic import atomic_write
from unrolled.storage.model_file import ModelFile, read_model, write_model

Array = np.ndarray[Any, Any]

SHARD_BYTES = 256 << 20
_INDEX = "shards.json"  # written last: a folder without it is not complete


def write_shards(
    folder: str | os.PathLike[str],
    *,
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, Array | Iterable[Array]],
    provenance: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a model as a folder of model files, each with the next pieces of its arrays.

    Args:
        folder: must not exist, or be empty. kind, config, arrays, provenance: as of `write_model`.
        shard_bytes: bytes of arrays in a file, about.

    Raises:
        SettingError: the folder has files. UnrolledError: the disk is full or fails.
    """
    check_folder(folder)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    key, number = secrets.token_hex(8), 0
    for number, pieces in enumerate(_shards(arrays, shard_bytes)):
        origin = {**(provenance or {}), "shards": key}
        write_model(
            path / f"shard-{number:05}.safetensors", kind=kind, config=config, arrays=pieces,
            provenance=origin,
        )  # fmt: skip
    with atomic_write(path / _INDEX) as file:
        file.write(json.dumps({"shards": number + 1, "key": key}).encode() + b"\n")


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that `write_shards` would refuse, before the work.

    Raises:
        SettingError: it has files, or is a file.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SettingError("is there already, and not an empty folder", where=str(path))


def _shards(
    arrays: Mapping[str, Array | Iterable[Array]], shard_bytes: int
) -> Iterator[dict[str, list[Array]]]:
    """Pieces of the arrays by name, in their order, so many bytes at a time."""
    pieces: dict[str, list[Array]] = {}
    held = 0
    for name, source in arrays.items():
        whole = isinstance(source, np.ndarray)
        for made in [source] if isinstance(source, np.ndarray) else source:
            # Whoever makes the chunks may use one array for all of them, or free each.
            chunk = made if whole else made.copy()
            step = max(shard_bytes // max(chunk[:1].nbytes, 1), 1)
            for start in range(0, max(len(chunk), 1), step):
                pieces.setdefault(name, []).append(chunk[start : start + step])
                held += pieces[name][-1].nbytes
                if held >= shard_bytes:
                    yield pieces
                    pieces, held = {}, 0
    if pieces:
        yield pieces


def is_sharded(folder: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder that `write_shards` completed."""
    try:
        return (Path(folder) / _INDEX).is_file()
    except (OSError, ValueError):  # no name of a file
        return False


def read_shards(folder: str | os.PathLike[str], *, verify: bool = False) -> ModelFile:
    """A folder that `write_shards` made, as one opened file; its arrays are read into memory.

    Raises:
        FormatError: files are missing, or belong to another folder.
    """
    path = Path(folder)
    try:
        index = json.loads((path / _INDEX).read_bytes())
        count, key = int(index["shards"]), str(index["key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{_INDEX} is not that of a model in shards", where=str(path)) from error
    pieces: dict[str, list[Array]] = {}
    files = []
    for number in range(count):
        file = read_model(path / f"shard-{number:05}.safetensors", verify=verify)
        if file.provenance.get("shards") != key:
            raise FormatError("belongs to another folder of shards", where=str(file.path))
        files.append(file)
        for name, array in file.arrays.items():
            pieces.setdefault(name, []).append(array)
    if not files:
        raise FormatError("has no shards", where=str(path))
    arrays = {
        name: found[0] if len(found) == 1 else _joined(found) for name, found in pieces.items()
    }
    size = sum(file.size for file in files)
    return ModelFile(files[0].kind, files[0].config, arrays, files[0].provenance, path, size, {})


def _joined(pieces: list[Array]) -> Array:
    whole = np.concatenate(pieces)
    whole.flags.writeable = False
    return whole
