"""The decorators of Numba kernels.

=================== ===========================================================================
`kernel`            Python calls it; its machine code is cached on disk
`cached_kernel`     Python calls it through a `CachedKernel`, which loads it without Numba
`device_function`   only kernels call it; a call from Python crashes
`no_refcount`       a device function that makes no arrays and counts no references to them
`inlined`           likewise, and inlined into each of its callers
=================== ===========================================================================

All release the GIL. Division by zero gives an infinity or NaN, as in NumPy. An option of
``numba.njit`` may be given to each: ``@kernel(nogil=False)``.
"""

from __future__ import annotations

from typing import Any

from unrolled.runtime.compiler import njit

# Sums may be taken in any order, which lets a dot product use vector registers. The rest of
# fastmath stays off: infinities and NaN keep their meaning.
REASSOCIATE = {"reassoc", "contract"}


def _decorator(**defaults: Any) -> Any:
    def decorate(function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda function: decorate(function, **options)
        return njit(**{**defaults, **options})(function)

    return decorate


# Numba's entry for C serves callbacks only, of which there are none: a sixth of compiling's time.
_COMMON = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
kernel = _decorator(**_COMMON, cache=True)

# The entry for Python is a third of the time that a small function takes to compile.
_DEVICE = {**_COMMON, "no_cpython_wrapper": True}
device_function = _decorator(**_DEVICE)

# Numba would count references atomically, in inner loops too.
no_refcount = _decorator(**_DEVICE, _nrt=False)
cached_kernel = no_refcount

# A call passes seven numbers for each array, a third of the time of a function that reads one word.
inlined = _decorator(**_DEVICE, _nrt=False, forceinline=True)
