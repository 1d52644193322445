"""What this package takes from Numba. Nothing else imports Numba, which takes half a second.

Commands that only read a model run without it: see `cached_kernels`.
"""

# ruff: noqa: E402 (the check of memory comes before Numba is loaded)
from __future__ import annotations

import os
from typing import Any

from unrolled.runtime.memory import require_address_space

# Numba loads SciPy's OpenBLAS where it is installed, which reserves memory for each core; where it
# gets some but not all, it waits for the rest without end.
require_address_space((320 << 20) + (os.cpu_count() or 1) * (45 << 20), "loading Numba")

from llvmlite import ir
from numba import extending, njit, types
from numba.core import caching, cgutils, errors, event
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.serialize import dumps
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype

from unrolled.runtime.listeners import notify_compilation

__all__ = [
    "CompileResult",
    "caching",
    "cgutils",
    "dumps",
    "errors",
    "extending",
    "from_dtype",
    "ir",
    "njit",
    "populate_array",
    "types",
]


class _Notifier(event.Listener):
    def on_start(self, event: Any) -> None:
        notify_compilation()

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Notifier())  # type: ignore[no-untyped-call]

if hasattr(os, "register_at_fork"):
    # A process that forks waits until none of its threads compiles: in the child nobody would ever
    # release the lock of one that does.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
