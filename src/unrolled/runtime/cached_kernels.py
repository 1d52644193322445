"""Kernels whose machine code is kept in a file, so that they run without Numba.

Numba keeps what it compiles too, but to load that takes Numba itself, which is half a second: in
that time a quick command has long scored its text. So the kernels that score text are compiled by
Numba once, without its entry for Python, and from then on loaded by LLVM and called through ctypes.

How Numba's code takes its arguments is written in its documentation: where the result goes, where
an exception goes, then the numbers and arrays, of which an array is seven numbers or more. When
code is kept, the compiled function's own types are compared with that.

The code is kept where Numba keeps its own: in ``__pycache__`` beside the kernel or, where that may
not be written, in the user's cache; NUMBA_CACHE_DIR names another folder. It is compiled anew for
another processor or compiler, and after a change of any file that it was made from. A process that
has outlived such a change neither keeps nor loads: what it has in memory is the code of before.
"""

from __future__ import annotations

import ast
import ctypes
import json
import os
import re
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import UnrolledError

PACKAGE = Path(__file__).parent.parent
RESULTS = 8  # most numbers that a kernel may return

_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400  # of `ndarray.flags.num`
_loaded: list[Any] = []  # LLVM frees the code of an engine that nobody holds
_lock = threading.RLock()
_began = time.time_ns()


class KeptKernel:
    """A kernel made with ``kernels.kept_kernel``, called as if it were imported.

    It takes C-contiguous arrays and numbers, and returns None, a whole number or a tuple of them.
    The GIL is released meanwhile.

    Args:
        module, name: where the kernel is.
        takes: the types of its arguments, as NumPy writes them: ``i8`` and ``f8`` are numbers,
            ``u4[]`` is an array, ``f4[][]`` one of two axes, and ``f4[]!`` one that is written to.

    Raises:
        TypeError: an argument is of another type.

    >>> first_invalid = KeptKernel("unrolled.text.utf8_kernels", "first_invalid", "u1[]")
    >>> first_invalid(np.array([97, 98, 255], np.uint8))
    2
    """

    def __init__(self, module: str, name: str, takes: str) -> None:
        self.module, self.name, self.takes = module, name, takes
        self._function: _Function | None = None

    def __call__(self, *arguments: Any) -> Any:
        function = self._function or self._ready()
        return function(function.unpacked(0, arguments))

    def bind(self, *first: Any) -> Callable[..., Any]:
        """The kernel with its first arguments given, which are unpacked only once."""
        prefix: list[Any] = []

        def bound(*rest: Any) -> Any:
            function = self._function or self._ready()
            if not prefix:
                prefix.append(list(function.unpacked(0, first)))
            return function([*prefix[0], *function.unpacked(len(first), rest)])

        return bound

    def _ready(self) -> _Function:
        with _lock:
            if self._function is None:
                self._function = self._from_file() or self._compiled()
            return self._function

    @property
    def _path(self) -> Path:
        import llvmlite
        import llvmlite.binding as llvm

        machine = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
        key = f"{machine} {llvmlite.__version__} {sys.platform} {PACKAGE} {self.takes}"
        folder = _cache_folder((PACKAGE.parent / self.module.replace(".", "/")).parent)
        return folder / f"{self.module}.{self.name}-{zlib.crc32(key.encode()):08x}.kept"

    def _from_file(self) -> _Function | None:
        """The function, if its code is on hand and of today's source."""
        try:
            checksum, content = self._path.read_bytes().split(b"\n", 1)
            if int(checksum) != zlib.crc32(content):
                return None
        except (OSError, ValueError, RuntimeError):  # RuntimeError: the user has no home
            return None
        header, code = content.split(b"\n", 1)
        facts = json.loads(header)
        if not facts["sources"] or facts["sources"] != _stamps(facts["sources"]):
            return None
        return _Function(self, code, facts)

    def _compiled(self) -> _Function:
        """The function as Numba compiles it, its code kept for the next time."""
        dispatcher = getattr(import_module(self.module), self.name)
        signature = tuple(_numba_type(*kind) for kind in _kinds(self.takes))
        dispatcher.compile(signature)
        compiled = dispatcher.overloads[signature]
        code = _machine_code(compiled, self)
        facts = {
            "symbol": compiled.fndesc.llvm_func_name,
            "results": _results(compiled.signature.return_type),
            "sources": _stamps(_sources(self.module)),
        }
        if facts["sources"]:
            self._keep(json.dumps(facts).encode() + b"\n" + code)
        return _Function(self, code, facts)

    def _keep(self, content: bytes) -> None:
        from unrolled.storage.atomic import atomic_write

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                file.write(b"%d\n" % zlib.crc32(content) + content)
        except (OSError, RuntimeError, UnrolledError):
            pass  # the next process compiles it again


class _Function:
    """Loaded code."""

    def __init__(self, kernel: KeptKernel, code: bytes, facts: dict[str, Any]) -> None:
        self._name, self._kinds = kernel.name, _kinds(kernel.takes)
        self._results, self._single = facts["results"]
        words: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
        for dtype, axes, _ in self._kinds:
            number = ctypes.c_double if dtype == np.float64 and not axes else ctypes.c_int64
            words += [number] * len(_passed(dtype, axes))
        address = _loaded_address(code, facts["symbol"])
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *words)(address)

    def unpacked(self, first: int, arguments: Sequence[Any]) -> Iterator[Any]:
        """What the code takes for these arguments, of which the first has this number."""
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
        result, exception = (ctypes.c_int64 * RESULTS)(), ctypes.c_void_p()
        status = self._call(ctypes.addressof(result), ctypes.addressof(exception), *words)
        if status != 0:
            raise RuntimeError(f"kernel {self._name} raised an exception (status {status})")
        return result[0] if self._single else tuple(result[: self._results]) or None


def _kinds(takes: str) -> list[tuple[np.dtype[Any], int, int]]:
    """Each argument's dtype, axes, and the flags that an array must have."""
    kinds = []
    for word in takes.split():
        flags = _C_CONTIGUOUS | _ALIGNED | _WRITEABLE * word.endswith("!")
        kinds.append((np.dtype(word.split("[")[0]), word.count("["), flags))
    return kinds


def _passed(dtype: np.dtype[Any], axes: int) -> list[str]:
    """LLVM's types of the numbers that an argument is passed as."""
    if axes == 0:
        return ["double" if dtype == np.float64 else "i64"]
    return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * (2 * axes)]


def _loaded_address(code: bytes, symbol: str) -> int:
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _loaded.append(engine)
    address: int = engine.get_function_address(symbol)
    assert address, symbol
    return address


def _target_machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(llvm.get_host_cpu_name(), features, opt=3, jit=True)


def _machine_code(compiled: Any, kernel: KeptKernel) -> bytes:
    """Object code of a compiled function that needs nothing of Numba's at run time."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(compiled.library.get_llvm_str())
    function = module.get_function(compiled.fndesc.llvm_func_name)
    taken = [re.sub(r".*\*$", "ptr", str(some.type)) for some in function.arguments]
    kinds = _kinds(kernel.takes)
    expected = ["ptr", "ptr", *(part for kind in kinds for part in _passed(*kind[:2]))]
    declared = [some.name for some in module.functions if some.is_declaration]
    foreign = [name for name in declared if not name.startswith("llvm.")]
    if foreign or taken != expected:
        raise UnrolledError(
            f"kernel {kernel.name} cannot run without Numba: it needs "
            f"{', '.join(foreign) or 'other arguments'}",
            hint="Report it, with Numba's version",
        )
    code: bytes = _target_machine().emit_object(module)
    return code


def _numba_type(dtype: np.dtype[Any], axes: int, flags: int) -> Any:
    from unrolled.runtime.compiler import from_dtype, types

    number = from_dtype(dtype)
    return types.Array(number, axes, "C", readonly=not flags & _WRITEABLE) if axes else number


def _results(numba_type: Any) -> tuple[int, bool]:
    """How many whole numbers are returned, and whether it is one by itself."""
    from unrolled.runtime.compiler import types

    if numba_type == types.none:
        return 0, False
    if numba_type == types.int64:
        return 1, True
    count = getattr(numba_type, "count", 0)
    if 0 < count <= RESULTS and str(numba_type) == f"UniTuple(int64 x {count})":
        return count, False
    raise TypeError(f"kept kernels do not return {numba_type}")


def _sources(module: str) -> set[str]:
    """The package's files that a kernel is made from: its module's, and what that imports from."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop().removeprefix("unrolled.").replace(".", "/") + ".py"
        if name not in found and (PACKAGE / name).is_file():
            found.add(name)
            statements = ast.parse((PACKAGE / name).read_bytes()).body
            imports = (some for some in statements if isinstance(some, ast.ImportFrom))
            waiting += [some.module for some in imports if some.module]
    return found


def _stamps(names: Iterable[str]) -> dict[str, list[int]]:
    """Size and time of files; nothing, if one has changed since this process began."""
    try:
        facts = {name: (PACKAGE / name).stat() for name in names}
    except OSError:
        return {}
    if any(some.st_ctime_ns > _began for some in facts.values()):
        return {}
    return {name: [some.st_size, some.st_mtime_ns] for name, some in facts.items()}


def _cache_folder(beside: Path) -> Path:
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        return Path(named)
    if os.access(beside, os.W_OK):
        return beside / "__pycache__"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unrolled"
