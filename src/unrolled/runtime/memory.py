"""Memory that is freed at each step and wanted again at the next."""

from __future__ import annotations

import ctypes
import platform
from contextlib import suppress

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
