"""A temporary folder for work in phases, which a later process can go on with.

The folder is locked as long as its process lives. What a killed process left is removed by the next
one that writes in the same place, or taken over by the next one that is to resume the same work.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.storage.atomic import OutputFile, abandoned, reason, remove, unfinished

if sys.platform != "win32":
    import fcntl

Array = np.ndarray[Any, Any]

_RECORD = "phases.json"


class WorkFolder:
    """A locked folder ``.unrolled-*.tmp`` and a record of the phases that are finished.

    Args:
        parent: where the folder is made.
        work: what the work is: only equal work is resumed.
        resume: go on with what a process that was stopped has finished.

    Raises:
        SettingError: the folder cannot be made there. UnrolledError: the disk is full.

    >>> import tempfile
    >>> parent = tempfile.TemporaryDirectory()
    >>> with WorkFolder(parent.name, {"text": "a.txt"}) as folder:
    ...     folder.finish("reading", {"tokens": 3}, {"ids": np.arange(3)})
    ...     folder.values("reading"), folder.arrays("reading")["ids"].tolist()
    ({'tokens': 3}, [0, 1, 2])
    >>> list(Path(parent.name).iterdir())
    []
    >>> parent.cleanup()
    """

    def __init__(
        self, parent: str | os.PathLike[str], work: Mapping[str, Any], *, resume: bool = False
    ) -> None:
        self._work = json.loads(json.dumps(work))
        self._phases: dict[str, Any] = {}
        self._lock: int | None = None
        folder = Path(parent)
        try:
            found = self._found(folder, resume)
            self.path = found or folder / f".unrolled-{secrets.token_hex(6)}.tmp"
            if found is None:
                unfinished.add(self.path)
                self.path.mkdir()
                self._lock = _locked(self.path)
        except OSError as error:
            what = f"no temporary folder can be made there: {reason(error)}"
            raise SettingError(what, where=str(parent)) from error

    def _found(self, parent: Path, resume: bool) -> Path | None:
        """The folder to go on with; others that were left behind are removed."""
        found = None
        for path, lock in abandoned(parent):
            if resume and found is None and self._same_work(path):
                found, self._lock = path, os.dup(lock)
            else:
                remove(path)
        return found

    def _same_work(self, path: Path) -> bool:
        try:
            record = json.loads((path / _RECORD).read_bytes())
            if record["work"] != self._work:
                return False
            self._phases = record["phases"]
            return True
        except (OSError, ValueError, KeyError, TypeError):
            return False

    @property
    def phases(self) -> list[str]:
        """The phases that are finished."""
        return list(self._phases)

    def has(self, phase: str) -> bool:
        """Whether a phase is finished."""
        return phase in self._phases

    def values(self, phase: str) -> dict[str, Any]:
        """What a finished phase recorded."""
        values: dict[str, Any] = self._phases[phase]
        return values

    def arrays(self, phase: str) -> dict[str, Array]:
        """The arrays that a finished phase recorded."""
        with np.load(self.path / f"{phase}.npz") as arrays:
            return dict(arrays)

    def finish(
        self,
        phase: str,
        values: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Array] | None = None,
    ) -> None:
        """Record that a phase is finished, with what later phases need of it."""
        stored: dict[str, Any] = dict(arrays or {})
        with self._file(f"{phase}.npz") as file:
            np.savez(file, **stored)
        self._phases[phase] = dict(values or {})
        with self._file(_RECORD + ".new") as file:
            file.write(json.dumps({"work": self._work, "phases": self._phases}).encode())
        (self.path / (_RECORD + ".new")).replace(self.path / _RECORD)
        unfinished.discard(self.path)  # from now on a process that is stopped leaves it

    def _file(self, name: str) -> OutputFile:
        return OutputFile(self.path / name, "w", str(self.path))

    def size(self) -> int:
        """Bytes of its files."""
        total = 0
        with os.scandir(self.path) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat().st_size
        return total

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove it, unless phases are finished and the work was stopped: the next run does."""
        if error is None or not self._phases:
            remove(self.path)
        unfinished.discard(self.path)
        if self._lock is not None:
            os.close(self._lock)


def _locked(path: Path) -> int | None:
    """A descriptor of a folder, locked until it is closed."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(path, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
