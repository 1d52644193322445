"""Memory that the C library should keep when it is freed, or should give back."""

from __future__ import annotations

import ctypes
import mmap
import platform
from contextlib import suppress
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_TRIM, _MMAP = -1, -3  # mallopt's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_MOST_MMAP = 32 << 20  # glibc takes no more on 64 bits


def keep_freed_memory() -> None:
    """Have the C library keep large freed blocks instead of handing them back to the system.

    Every step of training allocates several arrays of the size of the vocabulary times the width;
    mapping them anew costs a page fault for every 4 KiB, a third of a small net's step. Only glibc
    has the switch; elsewhere nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP, _MOST_MMAP)
            library.mallopt(_TRIM, 1 << 30)


def mapped_copy(array: Array) -> Array:
    """A copy in a memory map of its own, which goes back to the system as soon as it is dropped.

    Of what a thread frees otherwise, glibc keeps up to 64 MB for that thread.
    """
    copy: Array = np.frombuffer(mmap.mmap(-1, max(array.nbytes, 1)), array.dtype, array.size)
    copy[:] = array
    return copy
