"""Memory: what the C library keeps when it is freed, and how much is left to take."""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UnrolledError

Array = np.ndarray[Any, Any]

_TRIM, _MMAP = -1, -3  # mallopt's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_MOST_MMAP = (1 << 30, 32 << 20)  # bytes; older versions of glibc take no more than the latter
_PIECE, _HUGE_PAGE = 16 << 20, 2 << 20
_MADV_DONTNEED = 4
_LINE = 64  # bytes of a cache line


def keep_freed_memory() -> None:
    """Have the C library keep large freed blocks instead of handing them back to the system.

    Every step of training allocates several arrays of the size of the vocabulary times the width;
    mapping them anew costs a page fault for every 4 KiB, a third of a small net's step. Only glibc
    has the switch; elsewhere nothing happens. It holds for the process: what is done with hands its
    memory back with `return_memory`.
    """
    if platform.libc_ver()[0] == "glibc":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            for most in _MOST_MMAP:
                if library.mallopt(_MMAP, most):  # 0: it is more than this glibc takes
                    break
            library.mallopt(_TRIM, 1 << 30)


def aligned_empty(rows: int, columns: int) -> Array:
    """Numbers (M, N) of single precision to write, the first at the beginning of a cache line.

    A vector of AVX-512 is a line: it is read and written in half of the time if it is not in two.
    Large arrays are in huge pages, as NumPy asks for, which take a fraction of the time.
    """
    size = rows * columns
    room = np.empty(size + _LINE // 4, np.float32)
    skipped = -room.ctypes.data % _LINE // 4
    return room[skipped : skipped + size].reshape(rows, columns)


def mapped_copy(array: Array) -> Array:
    """A copy in a memory map of its own, which goes back to the system as soon as it is dropped.

    Of what a thread frees otherwise, glibc keeps up to 64 MB for that thread.
    """
    room = mmap.mmap(-1, max(array.nbytes, 1))
    with suppress(AttributeError, OSError):  # only Linux has it, and not every kernel
        room.madvise(mmap.MADV_HUGEPAGE)  # 2 MB are cleared at a time
    copy: Array = np.frombuffer(room, array.dtype, array.size)
    copy[:] = array
    return copy


def drained(array: Array) -> Iterator[Array]:
    """Pieces of an array along its first axis, each freed when the next one is taken.

    So a large array can be written to a file in the room that it leaves: on a virtual machine a
    page that is touched for the first time takes ten times as long as one that was just freed.
    What the array held is lost. Only Linux has the call, and only for an array without gaps;
    otherwise the memory stays.
    """
    end = address = array.ctypes.data
    released = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    can_free = platform.system() == "Linux" and array.flags.c_contiguous
    step = max(_PIECE // max(array[:1].nbytes, 1), 1)
    yield array[:0]
    for start in range(0, len(array), step):
        piece = array[start : start + step]
        yield piece
        end += piece.nbytes
        whole = end // _HUGE_PAGE * _HUGE_PAGE  # half of a huge page cannot be given back
        if can_free and whole > released:
            ctypes.CDLL(None).madvise(
                ctypes.c_void_p(released), ctypes.c_size_t(whole - released), _MADV_DONTNEED
            )
            released = whole


def require_address_space(size: int, purpose: str) -> None:
    """Check that a limit of the address space (``ulimit -v``) leaves so much of it.

    Args:
        size: bytes.
        purpose: what takes them, as the subject of the error's sentence.

    Raises:
        UnrolledError: less is left.
    """
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # no such limits here, or no way to know what is taken
        return
    left = limit - pages * mmap.PAGESIZE
    if left < size:
        raise UnrolledError(
            f"out of memory: {purpose} takes {size / 1e6:.0f} MB of address space, and "
            f"{max(left, 0) / 1e6:.0f} MB are left",
            hint="Allow this process more (ulimit -v)",
        )


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its control group if fewer.

    Raises:
        OSError: the system does not tell.
    """
    free = [_available()]
    for folder, limit, usage, cache in _control_groups():
        with suppress(OSError, ValueError):  # "max" where there is no limit
            most, used = (int((folder / name).read_text()) for name in (limit, usage))
            lines = (folder / "memory.stat").read_text().splitlines()
            statistics = dict(line.split() for line in lines)
            free.append(max(most - used + int(statistics.get(cache, 0)), 0))
    return min(free)


def resident_memory() -> int:
    """Bytes of this process that are in memory; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * mmap.PAGESIZE
    return 0


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise OSError("the system does not tell how much memory is available")


def _control_groups() -> Iterator[tuple[Path, str, str, str]]:
    """This process's control groups and those above them, with the names of their files."""
    root = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            if not controllers:
                names = ("memory.max", "memory.current", "inactive_file")
            top = root / controllers
            folder = top / path.lstrip("/")
            for group in (folder, *folder.parents):
                if group.is_relative_to(top):
                    yield (group, *names)
