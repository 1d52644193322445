"""Where annotated rows go: a file that a killed run goes on writing, or a pipe.

An unfinished file ``OUT`` is a folder ``OUT.partial`` beside it. Files in it only grow, and a state
says how many bytes of them hold, and of the input are done; it is replaced as a whole, after the
bytes are on the disk. A run that finds the folder cuts the files off at those sizes and goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from unrolled.errors import SettingError, UnrolledError
from unrolled.storage.atomic import OutputFile, atomic_write, check_target, reason

if sys.platform != "win32":
    import fcntl

COMMIT_SECONDS = 2.0


class UnfinishedFile:
    """Files that together become the output, and the state of the run that writes them.

    Args:
        output: where the rows go in the end.
        settings: of the run; a run with other settings must not go on with these files.

    Attributes:
        state: what was given to the last `commit`; empty at the beginning.
        has_rejected: whether there is a file for broken rows.

    Raises:
        SettingError: the output cannot be written, another process writes it, or an unfinished one
            has other settings.
    """

    has_rejected = True

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        mode = check_target(str(output))
        if mode is not None and not stat.S_ISREG(mode):
            raise SettingError(
                "is a device or a pipe, and rows are written to a file",
                where=str(output),
                hint="Let them go to standard output: -o -",
            )
        self.folder = output.with_name(output.name + ".partial")
        self.output = output
        self._state_file = self.folder / "state.json"
        self._files: dict[str, OutputFile] = {}
        self._committed = time.monotonic()
        with _sentences(output):
            self.folder.mkdir(exist_ok=True)
        self._lock = self._locked()
        self._settings = json.loads(json.dumps(settings))  # as they are read again
        self.state: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        if self._state_file.exists():
            try:
                self._go_on()
            except BaseException:
                self._lock.close()
                raise

    def _locked(self) -> IO[bytes]:
        lock = (self.folder / "lock").open("wb")
        if sys.platform != "win32":
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.close()
                raise SettingError(
                    "another process writes this file", where=str(self.output)
                ) from None
        return lock

    def _go_on(self) -> None:
        try:
            stored = json.loads(self._state_file.read_bytes())
            settings, state, sizes = stored["settings"], stored["state"], stored["sizes"]
        except (OSError, ValueError, KeyError, TypeError):
            raise SettingError(
                "the state of an unfinished run cannot be read",
                where=str(self._state_file),
                hint=f"Remove the folder {self.folder} to begin anew",
            ) from None
        if settings != self._settings:
            names = {**settings, **self._settings}
            changed = [one for one in names if settings.get(one) != self._settings.get(one)]
            raise SettingError(
                f"an unfinished run had another {', '.join(changed)}",
                where=str(self.output),
                hint=f"Give it what it had, or remove the folder {self.folder} to begin anew",
            )
        self.state, self._sizes = state, sizes

    def append(self, name: str, data: Any) -> None:
        """Write bytes to the end of one of the files."""
        if name not in self._files:
            with _sentences(self.output):
                path = self.folder / name
                path.touch()
                file = OutputFile(path, "r+", str(self.output))
                file.truncate(self._sizes.get(name, 0))
                file.seek(0, os.SEEK_END)
                self._files[name] = file
        view = memoryview(data)
        while view.nbytes:
            view = view[self._files[name].write(view) :]

    def commit(self, state: Mapping[str, Any], *, now: bool = False) -> None:
        """Keep the state, and all that was written up to now, for a run that goes on.

        Without ``now`` this is done every two seconds only.
        """
        if not now and time.monotonic() - self._committed < COMMIT_SECONDS:
            return
        for name, file in self._files.items():
            os.fsync(file.fileno())
            self._sizes[name] = file.tell()
        self.state = dict(state)
        stored = {"settings": self._settings, "state": self.state, "sizes": self._sizes}
        with atomic_write(self._state_file, sync=True) as out:
            out.write(json.dumps(stored).encode())
        self._committed = time.monotonic()

    def finish(self, targets: Mapping[str, Path]) -> None:
        """Give the files their places and remove the folder; to be repeated if it was killed.

        Args:
            targets: the file for each name; one of a name that was not written is removed.
        """
        for file in self._files.values():
            file.close()
        with _sentences(self.output):
            for name, target in targets.items():
                path = self.folder / name
                if target.exists() and not target.is_file():
                    continue  # a device keeps nothing
                if self._sizes.get(name) is None:
                    target.unlink(missing_ok=True)
                elif path.exists():
                    if target.exists():
                        path.chmod(target.stat().st_mode)
                    _move(path, target)
            shutil.rmtree(self.folder)

    def discard(self) -> None:
        """Let nothing be left by `close`."""
        self._state_file.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files, and let another run go on with them, if something is done yet."""
        for file in self._files.values():
            file.close()
        if not self._state_file.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def _move(path: Path, target: Path) -> None:
    """Give a file its place, on another disk too."""
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with path.open("rb") as file, atomic_write(target, compress=False) as copy:
            shutil.copyfileobj(file, copy)


class Stream:
    """A pipe: what is written has gone, and nothing can be resumed.

    Args:
        rows: gets the rows. rejected: gets the broken ones.
    """

    def __init__(self, rows: IO[bytes], rejected: Path | None) -> None:
        self.state: dict[str, Any] = {}
        self._files: dict[str, Any] = {"rows": rows}
        self.has_rejected = rejected is not None
        if rejected is not None:  # not `atomic_write`: what is in it shall survive Ctrl-C
            with _sentences(rejected):
                self._files["rejected"] = OutputFile(rejected, "w", str(rejected))

    def append(self, name: str, data: Any) -> None:
        """Write and flush, for the reader to have it."""
        if name in self._files:
            self._files[name].write(data)
            self._files[name].flush()

    def discard(self) -> None:
        """Nothing to do."""

    def commit(self, state: Mapping[str, Any], *, now: bool = False) -> None:
        """Nothing to do."""

    def finish(self, targets: Mapping[str, Path]) -> None:
        """Nothing more to do."""

    def close(self) -> None:
        """Nothing more to do."""


Output = UnfinishedFile | Stream


@contextlib.contextmanager
def _sentences(output: Path) -> Iterator[None]:
    """Turn the system's errors into sentences."""
    try:
        yield
    except UnrolledError:
        raise
    except OSError as error:
        raise SettingError(f"cannot be written: {reason(error)}", where=str(output)) from error
