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

import pickle
from contextlib import suppress
from typing import Any

from unrolled.runtime import code_cache
from unrolled.runtime.compiler import CompileResult, caching, dumps, njit

# Sums may be taken in any order, which lets a dot product use vector registers. The rest of
# fastmath stays off: infinities and NaN keep their meaning.
REASSOCIATE = {"reassoc", "contract"}


# Their types do not know of all options, and of what is private nothing.
_njit: Any = njit
_restore: Any = CompileResult._rebuild
_pickle: Any = dumps


class _DiskCache(caching._Cache):
    """What Numba asks of the cache of a function. Its own would trust any folder, and fail if it
    finds none; it does not notice changes in the device functions that a kernel calls."""

    def __init__(self, function: Any) -> None:
        self._module = function.__module__
        self._name = f"{function.__module__}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        return str(code_cache.folder())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            target_context.refresh()
            found = code_cache.read(self._name, self._key(sig, target_context.codegen()))
            return found and _restore(target_context, *pickle.loads(found[1]))
        except Exception:
            return None  # whatever is wrong with it, the kernel is compiled anew

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):  # the next process compiles it again
            if not data.library.has_dynamic_globals:
                code = _pickle(data._reduce())
                code_cache.write(self._name, self._key(sig, data.codegen), {}, code, self._module)

    def _key(self, signature: Any, codegen: Any) -> str:
        return code_cache.key_of(f"{signature} {codegen.magic_tuple()}")

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...


def _decorator(*, cached: bool = False, **defaults: Any) -> Any:
    def decorate(function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda function: decorate(function, **options)
        dispatcher = _njit(**{**defaults, **options})(function)
        if cached:
            dispatcher._cache = _DiskCache(function)
        return dispatcher

    return decorate


def _if_known(**options: bool) -> dict[str, Any]:
    """Options that Numba does not document: they only save time, and may go away."""
    known = _njit(lambda: None).targetdescr.options
    return {name: value for name, value in options.items() if name in dir(known)}


# Numba's entry for C serves callbacks only, of which there are none: a sixth of compiling's time.
_COMMON: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    **_if_known(no_cfunc_wrapper=True),
}
kernel = _decorator(cached=True, **_COMMON)

# The entry for Python is a third of the time that a small function takes to compile.
_DEVICE = {**_COMMON, **_if_known(no_cpython_wrapper=True)}
device_function = _decorator(**_DEVICE)

# Numba would count references atomically, in inner loops too.
_NO_REFCOUNT = {**_DEVICE, **_if_known(_nrt=False)}
no_refcount = _decorator(**_NO_REFCOUNT)
cached_kernel = no_refcount

# A call passes seven numbers for each array, a third of the time of a function that reads one word.
inlined = _decorator(**_NO_REFCOUNT, forceinline=True)
