"""What this package takes from Numba. Nothing else imports Numba, which takes half a second.

Commands that only read a model run without it: see `cached_kernels`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, njit, types
from numba.core import caching, cgutils, errors, event
from numba.core.compiler import CompileResult
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
