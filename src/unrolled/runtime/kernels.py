"""How Numba kernels are compiled: the decorators, in one place.

Besides the code Numba writes an entry for Python and one for C. The entry for C serves callbacks
only and costs a sixth of the time that compiling takes; no kernel needs it. Division by zero gives
an infinity or NaN, as in NumPy; Python's rule would be a branch and a message in each kernel.
"""

from __future__ import annotations

from typing import Any

from unrolled.runtime.compiler import njit

_compiled: Any = njit  # its types do not know of the entries
kernel = _compiled(nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy")

# Put into its callers by Numba itself, which then knows more of the numbers than LLVM can.
inlined = _compiled(nogil=True, cache=True, inline="always")

# For a call of a microsecond, where giving back the GIL would cost as much.
short_kernel = _compiled(cache=True, no_cfunc_wrapper=True, error_model="numpy")

# Sums may be taken in any order, which lets a dot product use vector registers. Nothing else of
# fastmath is on: infinities and NaN keep their meaning.
_ANY_ORDER = {"reassoc", "contract"}
sum_kernel = _compiled(
    nogil=True, cache=True, no_cfunc_wrapper=True, error_model="numpy", fastmath=_ANY_ORDER
)
sum_part = _compiled(nogil=True, no_cfunc_wrapper=True, error_model="numpy", fastmath=_ANY_ORDER)

# Called by kernels only, never from Python: it has no entry for it.
part = _compiled(nogil=True, no_cfunc_wrapper=True, no_cpython_wrapper=True, error_model="numpy")

# Inlined into every kernel that calls it: a call passes seven numbers for each array, which takes a
# third of the time of what is called by the word. Without an entry for Python, which is a
# third of what compiling it takes; called from there it crashes.
_LEAF = {
    "nogil": True,
    "forceinline": True,
    "no_cfunc_wrapper": True,
    "no_cpython_wrapper": True,
    "error_model": "numpy",
}
leaf = _compiled(**_LEAF)

# Without reference counts, which Numba would take and give back, atomically, in inner loops: for
# what makes no array.
uncounted_leaf = _compiled(**_LEAF, _nrt=False)
uncounted_part = _compiled(
    nogil=True, no_cfunc_wrapper=True, no_cpython_wrapper=True, error_model="numpy", _nrt=False
)

# To be called through a `KeptKernel`, which keeps its code; it takes arrays, int64 and float64.
kept_kernel = uncounted_part
