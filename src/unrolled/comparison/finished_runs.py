"""Results of finished runs of an experiment, from which an interrupted one continues."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unrolled.comparison.provenance import file_facts
from unrolled.storage.atomic import atomic_write

if sys.platform != "win32":
    import fcntl

_NAME_LENGTH = 32


def parts_folder(output: Path, name: str, size: str) -> Path:
    """Where results are until an experiment of a name and size is done."""
    return output / f"{name}-{size}-parts"


@contextlib.contextmanager
def kept_parts(folder: Path) -> Iterator[None]:
    """Make the folder of results, and delete them when all is done, if no other process keeps them.

    An error leaves what is finished, for the next run.
    """
    lock, done = _shared_lock(folder), False
    try:
        yield
        done = True
    finally:
        if _is_alone(lock) and folder.is_dir():
            if done:
                _remove_results(folder)
            if not any(folder.iterdir()):
                folder.rmdir()
        if lock is not None:
            os.close(lock)


def _remove_results(folder: Path) -> None:
    """Delete what this module wrote, and nothing else."""
    for ending in (".json", ".safetensors"):
        for path in folder.glob("?" * _NAME_LENGTH + ending):
            path.unlink(missing_ok=True)


def _shared_lock(folder: Path) -> int | None:
    """A descriptor of the folder, which is made, locked beside others until it is closed."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            return None
        descriptor = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.fstat(descriptor).st_nlink:  # else another process removed it before it was locked
            return descriptor
        os.close(descriptor)


def _is_alone(lock: int | None) -> bool:
    """Whether nobody else has locked the folder, which then nobody else can."""
    if sys.platform != "win32" and lock is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


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

    def _path(self, job: Any) -> Path:
        everything = json.dumps([_plain(job), self._common], sort_keys=True).encode()
        return self.folder / f"{hashlib.sha256(everything).hexdigest()[:_NAME_LENGTH]}.json"


def _files(path: Path, pattern: str = "*") -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob(pattern) if file.is_file())


def _plain(job: Any) -> Any:
    return dataclasses.asdict(job) if dataclasses.is_dataclass(job) else job  # type: ignore[arg-type]
