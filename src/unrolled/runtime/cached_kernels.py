"""Kernels whose machine code is cached in such a form that they run without Numba.

Numba caches what it compiles too, but to load that takes Numba itself, which is half a second: in
that time a quick command has long scored its text. So the kernels that score text are compiled by
Numba once, without its entry for Python, and from then on loaded by LLVM and called through ctypes.
Where that is not possible, for whatever reason, Numba compiles and calls them as any other kernel.

How Numba's code takes its arguments is written in its documentation: where the result goes, where
an exception goes, then the numbers and arrays, of which an array is seven numbers or more. Before
code is cached, the compiled function's own types are compared with that.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from unrolled.runtime import code_cache
from unrolled.runtime.threads import ForkSafeLock

MAX_RESULTS = 8  # numbers that a kernel may return

_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400  # of `ndarray.flags.num`
_engines: list[Any] = []  # LLVM frees the code of an engine that nobody refers to
_lock = ForkSafeLock()


class CachedKernel:
    """A kernel decorated with ``cached_kernel``, called as if it were imported.

    It takes C-contiguous arrays and numbers, and returns None, a number or a tuple of integers. The
    GIL is released meanwhile.

    Args:
        module, name: where the kernel is.
        argument_types: as NumPy writes them: ``i8`` and ``f8`` are numbers, ``u4[]`` is an array,
            ``f4[][]`` one of two axes, and ``f4[]!`` one that is written to.

    Raises:
        TypeError: an argument is of another type.

    >>> first_invalid = CachedKernel("unrolled.text.utf8_kernels", "first_invalid", "u1[]")
    >>> first_invalid(np.array([97, 98, 255], np.uint8))
    2
    """

    def __init__(self, module: str, name: str, argument_types: str) -> None:
        self.module, self.name, self.argument_types = module, name, argument_types
        self._function: _NativeFunction | _NumbaFunction | None = None

    def __call__(self, *arguments: Any) -> Any:
        function = self._function or self._load()
        return function(function.unpack(0, arguments))

    def bind(self, *first: Any) -> Callable[..., Any]:
        """The kernel with its first arguments given, which are unpacked only once."""
        prefix: list[list[Any]] = []

        def bound(*rest: Any) -> Any:
            function = self._function or self._load()
            if not prefix:
                prefix.append(list(function.unpack(0, first)))
            return function([*prefix[0], *function.unpack(len(first), rest)])

        return bound

    @property
    def address(self) -> int:
        """Where the machine code is: Numba's code without its entry for Python.

        Raises:
            LookupError: there is none that runs without Numba.
        """
        function = self._function or self._load()
        if not isinstance(function, _NativeFunction):
            raise LookupError(f"kernel {self.name} does not run without Numba")
        return function.address

    def _load(self) -> _NativeFunction | _NumbaFunction:
        with _lock:
            if self._function is None:
                try:
                    self._function = self._cached() or self._compiled()
                except Exception:  # Numba changes its internals; nobody shall wait for us to follow
                    self._function = _NumbaFunction(self)
            return self._function

    def _cached(self) -> _NativeFunction | None:
        found = code_cache.read(f"{self.module}.{self.name}", code_cache.key_of(self._signature))
        return found and _NativeFunction(self, found[1], found[0])

    def _compiled(self) -> _NativeFunction:
        dispatcher = getattr(import_module(self.module), self.name)
        signature = tuple(_numba_type(*kind) for kind in _kinds(self.argument_types))
        dispatcher.compile(signature)
        compiled = dispatcher.overloads[signature]
        code = _object_code(compiled, self)
        facts = {
            "symbol": compiled.fndesc.llvm_func_name,
            "results": _results(compiled.signature.return_type),
        }
        function = _NativeFunction(self, code, facts)
        name, key = f"{self.module}.{self.name}", code_cache.key_of(self._signature)
        code_cache.write(name, key, facts, code, self.module)
        return function

    @property
    def _signature(self) -> str:
        return f"native {self.argument_types}"


class _NumbaFunction:
    """The kernel as Numba calls it."""

    def __init__(self, kernel: CachedKernel) -> None:
        from unrolled.runtime import kernels

        self._function = kernels.kernel(getattr(import_module(kernel.module), kernel.name).py_func)

    def unpack(self, _first: int, arguments: Sequence[Any]) -> Sequence[Any]:
        return arguments

    def __call__(self, arguments: Iterable[Any]) -> Any:
        return self._function(*arguments)


class _NativeFunction:
    """Loaded machine code."""

    def __init__(self, kernel: CachedKernel, code: bytes, facts: dict[str, Any]) -> None:
        self._name, self._kinds = kernel.name, _kinds(kernel.argument_types)
        self._results = facts["results"].split()
        words: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
        for dtype, axes, _ in self._kinds:
            number = ctypes.c_double if dtype == np.float64 and not axes else ctypes.c_int64
            words += [number] * len(_llvm_types(dtype, axes))
        self.address = _address(code, facts["symbol"])
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *words)(self.address)

    def unpack(self, first: int, arguments: Sequence[Any]) -> Iterator[Any]:
        """The words in which the code takes these arguments, of which the first has this number."""
        kinds = self._kinds[first : first + len(arguments)]
        if len(kinds) != len(arguments):
            raise TypeError(f"kernel {self._name} takes {len(self._kinds)} arguments")
        for number, ((dtype, axes, flags), value) in enumerate(
            zip(kinds, arguments, strict=True), first
        ):
            if axes == 0:
                yield value
            elif value.dtype != dtype or value.ndim != axes or value.flags.num & flags != flags:
                raise TypeError(
                    f"argument {number} of kernel {self._name} is {value.dtype} with "
                    f"{value.ndim} axes and flags {value.flags.num:#x}, not {dtype} with "
                    f"{axes} and {flags:#x}"
                )
            else:
                yield from (0, 0, value.size, value.itemsize, value.ctypes.data)
                yield from value.shape
                yield from value.strides

    def __call__(self, words: Iterable[Any]) -> Any:
        result, exception = (ctypes.c_int64 * MAX_RESULTS)(), ctypes.c_void_p()
        status = self._call(ctypes.addressof(result), ctypes.addressof(exception), *words)
        if status != 0:
            raise RuntimeError(f"kernel {self._name} raised an exception (status {status})")
        if self._results == ["f8"]:
            return ctypes.c_double.from_buffer(result).value
        numbers = tuple(result[: len(self._results)])
        return numbers[0] if len(numbers) == 1 else numbers or None


def _kinds(argument_types: str) -> list[tuple[np.dtype[Any], int, int]]:
    """Each argument's dtype, axes, and the flags that an array must have."""
    kinds = []
    for word in argument_types.split():
        flags = _C_CONTIGUOUS | _ALIGNED | _WRITEABLE * word.endswith("!")
        kinds.append((np.dtype(word.split("[")[0]), word.count("["), flags))
    return kinds


def _llvm_types(dtype: np.dtype[Any], axes: int) -> list[str]:
    """LLVM's types of the words that an argument is passed as."""
    if axes == 0:
        return ["double" if dtype == np.float64 else "i64"]
    return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * axes)]


def _address(code: bytes, symbol: str) -> int:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    return address_in(engine, symbol)


def address_in(engine: Any, symbol: str) -> int:
    """The address of a function of an LLVM engine, whose code is never freed."""
    engine.finalize_object()
    address: int = engine.get_function_address(symbol)
    if not address:
        raise LookupError(symbol)
    _engines.append(engine)
    return address


def target_machine() -> Any:
    """LLVM's description of this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(llvm.get_host_cpu_name(), features, opt=3, jit=True)


def _object_code(compiled: Any, kernel: CachedKernel) -> bytes:
    """Object code of a compiled function that needs nothing of Numba's at run time."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(compiled.library.get_llvm_str())
    function = module.get_function(compiled.fndesc.llvm_func_name)
    types = [re.sub(r".*\*$", "ptr", str(argument.type)) for argument in function.arguments]
    kinds = _kinds(kernel.argument_types)
    expected = ["ptr", "ptr", *(word for kind in kinds for word in _llvm_types(*kind[:2]))]
    declared = [function.name for function in module.functions if function.is_declaration]
    foreign = [name for name in declared if not name.startswith("llvm.")]
    if foreign or types != expected:
        raise TypeError(f"{kernel.name} cannot run without Numba: {foreign or types}")
    code: bytes = target_machine().emit_object(module)
    return code


def _numba_type(dtype: np.dtype[Any], axes: int, flags: int) -> Any:
    from unrolled.runtime.compiler import from_dtype, types

    number = from_dtype(dtype)
    return types.Array(number, axes, "C", readonly=not flags & _WRITEABLE) if axes else number


def _results(numba_type: Any) -> str:
    """The numbers that are returned, as `CachedKernel` writes types."""
    from unrolled.runtime.compiler import types

    for known, words in ((types.none, ""), (types.int64, "i8"), (types.float64, "f8")):
        if numba_type == known:
            return words
    count = getattr(numba_type, "count", 0)
    if 1 < count <= MAX_RESULTS and str(numba_type) == f"UniTuple(int64 x {count})":
        return " ".join(["i8"] * count)
    raise TypeError(f"cached kernels do not return {numba_type}")
