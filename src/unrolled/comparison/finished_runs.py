"""Results of finished runs of an experiment, from which an interrupted one continues."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unrolled.comparison.provenance import file_facts
from unrolled.storage.atomic import atomic_write

_NAME_LENGTH = 32


def parts_folder(output: Path, name: str, size: str) -> Path:
    """Where results are until an experiment of a name and size is done."""
    return output / f"{name}-{size}-parts"


def remove_parts(folder: Path) -> None:
    """Delete all results in a folder, and the folder if nothing else is in it."""
    for ending in (".json", ".safetensors"):
        for path in folder.glob("?" * _NAME_LENGTH + ending):
            path.unlink(missing_ok=True)
    remove_if_empty(folder)


def remove_if_empty(folder: Path) -> None:
    """Delete a folder, if it is there and has nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


class FinishedRuns:
    """One small JSON file for each finished run, named by a hash of all that it depends on.

    These are the job (a dataclass, with its settings), the content of the data, and this program:
    an earlier result is found only where a new run would give the same.

    Args:
        folder: made when the first run is done. data: files and folders that are read.
    """

    def __init__(self, folder: Path, data: Iterable[Path | str]) -> None:
        self.folder = folder
        program = Path(__file__).parents[1]
        read = [file for path in data for file in _files(Path(path)) if folder not in file.parents]
        self._paths: set[Path] = set()
        self._common = [file_facts(str(file)) for file in [*_files(program, "*.py"), *read]]

    def find(self, job: Any) -> Any | None:
        """The result of a job that was done earlier, if its model file is still there."""
        output = getattr(job, "output", "")
        if output and not Path(output).is_file():
            return None
        try:
            return json.loads(self._path(job).read_bytes())["result"]
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def save(self, job: Any, result: Any) -> Any:
        """Write a result, and return it as `find` will."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"job": _plain(job), "result": result})
        with atomic_write(self._path(job)) as file:
            file.write(text.encode())
        return json.loads(text)["result"]

    def checkpoint(self, job: Any) -> Path:
        """Where a job that is not done may save its state; the folder is made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._path(job).with_suffix(".safetensors")

    def remove(self) -> None:
        """Delete the results and states of the jobs that were asked for, and no others.

        The folder goes if nothing else is in it.
        """
        for path in self._paths:
            path.unlink(missing_ok=True)
            path.with_suffix(".safetensors").unlink(missing_ok=True)
        remove_if_empty(self.folder)

    def _path(self, job: Any) -> Path:
        everything = json.dumps([_plain(job), self._common], sort_keys=True).encode()
        path = self.folder / f"{hashlib.sha256(everything).hexdigest()[:_NAME_LENGTH]}.json"
        self._paths.add(path)
        return path


def _files(path: Path, pattern: str = "*") -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob(pattern) if file.is_file())


def _plain(job: Any) -> Any:
    return dataclasses.asdict(job) if dataclasses.is_dataclass(job) else job  # type: ignore[arg-type]
