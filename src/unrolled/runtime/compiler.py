"""What we take from Numba, imported here and nowhere else, so that a command is told of it.

Most commands on models that exist need no compiler (`kept_kernels`), and to import it takes longer
than many of them do.
"""

from __future__ import annotations

from typing import Any

from unrolled.compilation import before_numba, kernel_compiles

before_numba()

from llvmlite import ir  # noqa: E402
from numba import extending, njit, types  # noqa: E402
from numba.core import cgutils, errors, event  # noqa: E402
from numba.np.arrayobj import populate_array  # noqa: E402
from numba.np.numpy_support import from_dtype  # noqa: E402

__all__ = [
    "cgutils",
    "errors",
    "extending",
    "from_dtype",
    "ir",
    "njit",
    "populate_array",
    "types",
]


class _Announcer(event.Listener):
    def on_start(self, event: Any) -> None:
        kernel_compiles()

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]
