"""The cache of compiled kernels on disk: where it is, and which of its files may be run.

The folder is that of ``NUMBA_CACHE_DIR``, else ``__pycache__`` of this package, else the user's
cache. What can be read but not written is read all the same: an image of a container may hold all
kernels, compiled by root.

Machine code can do whatever the user can. So a file is loaded only if it and its folder belong to
the user or to root, and nobody else can write to them or replace a folder above. It is valid for
the versions, the processor and the contents of the source files that it was compiled from. A
process that outlives a change of those files writes nothing: it runs the code of before.
"""

from __future__ import annotations

import ast
import json
import os
import stat
import sys
import time
import warnings
import zlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UnrolledWarning
from unrolled.version import __version__

NO_FOLDER = (
    "compiled kernels cannot be cached, so that every process compiles them anew; set "
    "NUMBA_CACHE_DIR to a folder that you, and nobody else, can write to"
)
PACKAGE = Path(__file__).parent.parent
_started = time.time_ns()


def read(name: str, key: str) -> tuple[dict[str, Any], bytes] | None:
    """The header and the code of a cached file; None if no trusted folder has a valid one."""
    for folder in _folders():
        try:
            with _path(folder, name, key).open("rb") as file:
                if not _is_private(os.fstat(file.fileno())):
                    continue
                checksum, content = file.read().split(b"\n", 1)
            if int(checksum) != zlib.crc32(content):
                continue
            header, code = content.split(b"\n", 1)
            facts: dict[str, Any] = json.loads(header)
            if facts["key"] == key and facts["sources"] == _checksums(facts["sources"]):
                return facts, code
        except (OSError, ValueError, LookupError, TypeError):
            continue  # what is wrong with it does not matter: the kernel is compiled anew
    return None


def write(name: str, key: str, facts: dict[str, Any], code: bytes, module: str) -> None:
    """Cache the code of a kernel of a module, in the first folder that can be written to.

    Warns once in each process if there is no such folder.
    """
    sources = _checksums(_sources(module))
    if sources is None:
        return
    header = json.dumps({**facts, "key": key, "sources": sources}).encode()
    content = header + b"\n" + code
    for folder in _folders():
        path = _path(folder, name, key)
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            _remove_unfinished(folder)
            unfinished.write_bytes(b"%d\n" % zlib.crc32(content) + content)
            unfinished.chmod(0o644)
            unfinished.replace(path)
            return
        except OSError:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
    _warn_of_no_folder()


def key_of(signature: str) -> str:
    """What the code of a kernel depends on besides its sources, for these types of arguments."""
    settings = sorted(
        item
        for item in os.environ.items()
        if item[0].startswith("NUMBA_") and item[0] not in ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
    )
    return f"{signature} {settings} {_versions()}"


def folder() -> Path | None:
    """The folder in which this process would cache code; None if there is none."""
    for candidate in _folders():
        above = next(place for place in (candidate, *candidate.parents) if place.exists())
        if above.is_dir() and os.access(above, os.W_OK):
            return candidate
    return None


@cache
def _versions() -> str:
    import llvmlite
    import llvmlite.binding as llvm

    # Numba's version, without loading Numba.
    numba = find_spec("numba")
    assert numba is not None and numba.origin is not None
    described = Path(numba.origin).with_name("_version.py").read_bytes()
    versions = f"{__version__} {zlib.crc32(described)} {llvmlite.__version__} {np.__version__}"
    machine = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return f"{versions} {sys.version} {sys.platform} {machine} {PACKAGE}"


@cache
def _remove_unfinished(folder: Path) -> None:
    """Remove files of an hour ago whose process was killed while it wrote to the cache."""
    for path in folder.glob("*.[0-9]*"):
        with suppress(OSError):  # another process was quicker
            if path.suffix[1:].isdecimal() and path.stat().st_mtime < time.time() - 3600:
                path.unlink()


def _path(folder: Path, name: str, key: str) -> Path:
    return folder / f"{name}-{zlib.crc32(key.encode()):08x}.code"


def _folders() -> tuple[Path, ...]:
    return _trusted_folders(os.environ.get("NUMBA_CACHE_DIR"))


@cache
def _trusted_folders(named: str | None) -> tuple[Path, ...]:
    """The folders that may hold code, the preferred one first."""
    if named:
        folder = Path(named, "unrolled")
        if _is_trusted(folder):
            return (folder,)
        warnings.warn(
            f"{folder}: not used as a cache of compiled kernels, because others than you can write "
            "to it or to a folder above; set NUMBA_CACHE_DIR to a folder of your own",
            UnrolledWarning,
            stacklevel=2,
        )
    folders = [PACKAGE / "__pycache__" / "kernels"]
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folders.append(Path(home, "unrolled"))
    except RuntimeError:  # the user has no home
        pass
    return tuple(folder for folder in folders if _is_trusted(folder))


@cache
def _warn_of_no_folder() -> None:
    warnings.warn(NO_FOLDER, UnrolledWarning, stacklevel=2)


def _is_trusted(folder: Path) -> bool:
    """Whether nobody but this user and root can change what is in a folder, or replace it."""
    try:
        real = folder.resolve()
        for place in (real, *real.parents):
            if place.exists() and not _is_private(place.stat(), sticky_allowed=place != real):
                return False
    except OSError:
        return False
    return True


def _is_private(status: os.stat_result, *, sticky_allowed: bool = False) -> bool:
    if not hasattr(os, "geteuid"):
        return True
    if status.st_uid not in (0, os.geteuid()):
        return False
    if sticky_allowed and status.st_mode & stat.S_ISVTX:
        return True  # as /tmp: others cannot rename or remove what is the user's
    shared_group = status.st_mode & stat.S_IWGRP and not _is_of_one_user(status.st_gid)
    return not (shared_group or status.st_mode & stat.S_IWOTH)


@cache
def _is_of_one_user(group: int) -> bool:
    """Whether a group is the user's private one, which many systems let write by default."""
    import grp
    import pwd

    try:
        members, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return members.gr_name == user and set(members.gr_mem) <= {user}


@cache
def _sources(module: str) -> frozenset[str]:
    """The package's files that a kernel is compiled from: its module's and those it imports."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop().removeprefix("unrolled.").replace(".", "/") + ".py"
        if name in found or not (PACKAGE / name).is_file():
            continue
        found.add(name)
        for statement in ast.parse((PACKAGE / name).read_bytes()).body:
            if isinstance(statement, ast.ImportFrom) and statement.module:
                waiting.append(statement.module)
                waiting += [f"{statement.module}.{name.name}" for name in statement.names]
    return frozenset(found)


def _checksums(names: Iterable[str]) -> dict[str, int] | None:
    """Checksums of source files; None if there are none or one changed since this process began."""
    checksums = {name: _checksum(name) for name in names}
    return None if not checksums or None in checksums.values() else checksums  # type: ignore[return-value]


@cache
def _checksum(name: str) -> int | None:
    path = PACKAGE / name
    return None if path.stat().st_ctime_ns > _started else zlib.crc32(path.read_bytes())
