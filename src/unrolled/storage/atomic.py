"""Files that appear whole or not at all: written under a temporary name, renamed at the end.

A temporary file is locked as long as its process lives. What a killed process left behind is not,
and is removed by the next one that writes in the same folder.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from unrolled.errors import SettingError, UnrolledError

if sys.platform != "win32":  # which removes no open file, and renames none
    import fcntl

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BUFFER_BYTES = 1 << 20
STANDARD_OUTPUT = str(Path("/dev/stdout"))  # of Windows too, which has no such file
_FULL = {errno.ENOSPC, errno.EDQUOT}

unfinished: set[Path] = set()  # temporary files and folders of this process


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike[str],
    *,
    compress: bool | None = None,
    size: int | None = None,
    sync: bool = False,
    threads: int | None = None,
) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it changes only when the block ends without an exception.

    The bytes go to a hidden temporary file in the same folder, which is renamed over `path` at the
    end. On any exception, Ctrl-C and a full disk included, it is removed, and what stood at `path`
    before stays as it was. A symbolic link is followed; an existing file's permissions are kept.
    A device or a pipe cannot be renamed over and is written directly, and so is ``/dev/stdout``,
    whatever it is.

    Args:
        path: the file to make; its folder must exist.
        compress: gzip it, see `gzip_members`; None means: if the name ends in ``.gz``.
        size: bytes that will be written, where known; only the message of a full disk uses it.
        sync: wait until the bytes are on the disk, so that the file survives a power cut.
        threads: that compress; all cores by default.

    Yields:
        A buffered binary file. It can seek, unless it is compressed, a device or a pipe.

    Raises:
        SettingError: `path` is a folder, its folder is missing, or one of them may not be written.
        UnrolledError: writing fails, as on a full disk.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "notes.txt"
    >>> with atomic_write(path) as file:
    ...     _ = file.write(b"whole")
    ...     path.exists()
    False
    >>> path.read_bytes()
    b'whole'
    >>> folder.cleanup()
    """
    shown = os.fspath(path)
    if compress is None:
        compress = shown.lower().endswith(".gz")
    layers = partial(_layers, compress=compress, threads=threads)
    mode = check_target(shown)
    target = Path(os.path.realpath(shown))
    if mode is not None and not stat.S_ISREG(mode):
        # A file that is standard output may have been written to before.
        place = 1 if shown == STANDARD_OUTPUT else Path(shown)
        with (
            _open(place, "w", shown, size) as raw,
            layers(raw) as file,
        ):
            yield file
        return
    with _temporary(target.parent, shown) as temporary:
        with (
            _open(temporary, "w", shown, size) as raw,
            layers(raw, sync=sync) as file,
        ):
            yield file
        _replace(temporary, target, mode, shown)
        if sync:
            _sync_folder(target.parent)


def remove_unfinished() -> None:
    """Remove all temporary files of this process, which is about to end at once."""
    for path in list(unfinished):
        remove(path)


@contextlib.contextmanager
def _temporary(folder: Path, shown: str) -> Iterator[Path]:
    """A new file that is locked, and removed at the end unless it has been renamed."""
    _remove_abandoned(folder)
    # Not named after the target: a name that is nearly too long would become too long.
    path = folder / f".unrolled-{secrets.token_hex(6)}.tmp"
    unfinished.add(path)
    lock = None
    try:
        try:
            lock = _create_locked(path)
        except OSError as error:
            raise SettingError(f"cannot be written: {reason(error)}", where=shown) from error
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        unfinished.discard(path)
        if lock is not None:
            os.close(lock)


def _create_locked(path: Path) -> int | None:
    """Create the file and lock it; the lock ends with the process or when this is closed."""
    while True:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if sys.platform == "win32":
            os.close(file)
            return None
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:  # else another process removed it before it was locked
            return file
        os.close(file)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files and folders whose process was killed: those that nobody has locked."""
    for path, _ in abandoned(folder):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it can be."""
    with contextlib.suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def abandoned(folder: Path) -> Iterator[tuple[Path, int]]:
    """Temporary files and folders that nobody had locked, with the descriptors that now do."""
    if sys.platform == "win32":
        return
    for path in folder.glob(".unrolled-*.tmp"):
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path, file
            finally:
                os.close(file)


def check_target(shown: str) -> int | None:
    """Refuse a path that cannot be written, before hours of work are spent on its content.

    Returns:
        The mode of what is there (`os.stat_result.st_mode`), or None if nothing is.

    Raises:
        SettingError: as in `atomic_write`.
    """
    if shown == STANDARD_OUTPUT:
        return stat.S_IFIFO  # or what it is; it is open already
    if shown == "-":
        raise SettingError(
            "this is written to a file, not to standard output",
            hint=f"Name a file, or {STANDARD_OUTPUT}",
        )
    if not shown or "\0" in shown:
        raise SettingError(f"{shown!r} is not a file name", hint="Give the file to write a name")
    try:
        mode = Path(shown).stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise SettingError(f"cannot be written: {reason(error)}", where=shown) from error
    if shown.endswith(("/", os.sep)) or (mode is not None and stat.S_ISDIR(mode)):
        raise SettingError("is a folder", where=shown, hint="Name the file to write in it")
    folder = Path(os.path.realpath(shown)).parent
    if not folder.is_dir():
        raise SettingError(f"the folder {folder} does not exist", where=shown, hint="Make it first")
    # The rename would replace a read-only file too, and whoever made it so will not like that.
    forbidden = Path(shown) if mode is not None and not os.access(shown, os.W_OK) else None
    if forbidden is None and not os.access(folder, os.W_OK | os.X_OK):
        forbidden = None if mode is not None and not stat.S_ISREG(mode) else folder
    if forbidden is not None:
        raise SettingError(f"{forbidden} may not be written by this user", where=shown)
    return mode


def check_different(*outputs: str | os.PathLike[str] | None) -> None:
    """Refuse one name for several outputs; None is no output.

    Raises:
        SettingError: two are the same file.
    """
    seen: set[str] = set()
    for output in outputs:
        if output is None or (Path(output).exists() and not Path(output).is_file()):
            continue  # a device takes all that is written
        real = os.path.realpath(output)
        if real in seen:
            raise SettingError("two outputs have this name", where=os.fspath(output))
        seen.add(real)


def reason(error: OSError) -> str:
    """What the operating system says is wrong, in lower case and without number and path."""
    return (error.strerror or type(error).__name__).lower()


class OutputFile(io.FileIO):
    """A file, or a descriptor that stays open: turns the system's errors into sentences.

    It does so here, not in `atomic_write`, because an OSError of the block's own making (a corpus
    that cannot be read) must not be reported as a failure of this file.
    """

    def __init__(self, path: Path | int, mode: str, shown: str, size: int | None = None) -> None:
        super().__init__(path, mode, closefd=not isinstance(path, int))
        self._is_shared = isinstance(path, int)
        self.failed: UnrolledError | None = None
        self.abandoned = False
        self._shown = shown
        self._size = size
        self._written = 0

    def seekable(self) -> bool:
        """Whether it can seek; others may have written to a descriptor before."""
        return not self._is_shared and super().seekable()

    def write(self, data: ReadableBuffer, /) -> int:
        if self.abandoned or self.failed:
            # The layers above flush what they hold when they are closed: into nothing.
            return memoryview(data).nbytes
        try:
            count = super().write(data)
        except BrokenPipeError:
            self.abandoned = True  # `| head` is no failure: the command line ends quietly on it
            raise
        except OSError as error:
            self.failed = self._sentence(error)
            raise self.failed from error
        self._written += count
        return count

    def _sentence(self, error: OSError) -> UnrolledError:
        """What a failed write means to the user."""
        if error.errno not in _FULL:
            return UnrolledError(f"cannot be written: {reason(error)}", where=self._shown)
        needed = f"{self._size:,} bytes are needed" if self._size else "more bytes are needed"
        folder = Path(os.path.realpath(self._shown)).parent
        free = ""
        with contextlib.suppress(OSError):
            # The temporary file will be gone: its bytes count as free again.
            free = f" and {shutil.disk_usage(folder).free + self._written:,} are free"
        return UnrolledError(
            f"the disk is full: {needed}{free} in {folder}",
            where=self._shown,
            hint="Free some space or write to another disk",
        )


def _open(path: Path | int, mode: str, shown: str, size: int | None) -> OutputFile:
    """Open the file to write."""
    try:
        return OutputFile(path, mode, shown, size)
    except OSError as error:
        raise SettingError(f"cannot be written: {reason(error)}", where=shown) from error


@contextlib.contextmanager
def _layers(
    raw: OutputFile, compress: bool, sync: bool = False, threads: int | None = None
) -> Iterator[BinaryIO]:
    """Buffer, and compression if asked for; flushed at the end, or thrown away on an exception."""
    with contextlib.ExitStack() as closing:
        buffered = closing.enter_context(io.BufferedWriter(raw, _BUFFER_BYTES))
        top: BinaryIO = buffered
        if compress:
            from unrolled.storage.gzip_members import GzipMembers

            packed = closing.enter_context(GzipMembers(buffered, threads))
            # A call of Python for each short line would take microseconds.
            top = closing.enter_context(io.BufferedWriter(packed, _BUFFER_BYTES))
        try:
            yield top
            top.flush()
            if compress:
                packed.finish()
            buffered.flush()
            if raw.failed is not None:
                raise raw.failed  # the block caught it, and the file is broken nevertheless
            if sync:
                os.fsync(raw.fileno())
        except BaseException:
            raw.abandoned = True
            raise


def _replace(temporary: Path, target: Path, mode: int | None, shown: str) -> None:
    """Rename the finished file over its target."""
    try:
        if mode is not None:
            temporary.chmod(stat.S_IMODE(mode))
        temporary.replace(target)
    except OSError as error:
        raise UnrolledError(f"cannot be replaced: {reason(error)}", where=shown) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder; there it is not needed
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
