"""Kernels as built-in functions of Python, for calls that take less time than calling a kernel.

Python enters a built-in function in 25 nanoseconds; Numba takes 120 and 40 to 280 for each array or
text, ctypes takes 450. So a cached kernel gets an entry: some instructions that LLVM compiles in
each process, with the addresses of this process in them. They follow Python's protocol for built-in
functions (METH_FASTCALL): they compare the type of each argument with the one expected, take where
its bytes are and how many, call the kernel, and make an object of the number that it returns. The
function refers to what the kernel reads, so that nothing of it is freed before the function is.

Where that is not possible the kernel is called through ctypes or Numba.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from unrolled.runtime.cached_kernels import CachedKernel, address_in, target_machine
from unrolled.runtime.threads import ForkSafeLock

LONG_TEXT = 4096  # bytes for which releasing the GIL pays

_TYPES: dict[str, Any] = {"bytes": bytes, "bytearray": bytearray}  # two words of the kernel
_TYPE = object.__basicsize__ - 8  # where an object has its type,
_SIZE = object.__basicsize__  # and how many bytes it holds
_FASTCALL = 0x80
_FASTCALL_MAKER = "PyCFunction_NewEx"

_definitions: list[_MethodDefinition] = []
_lock = ForkSafeLock()


class BuiltinKernel:
    """A kernel decorated with ``cached_kernel``, to be called as a built-in function.

    The kernel takes the address of a record; then for each argument the address of its bytes and
    how many they are, or whether it is true: 0 or 1; all as int64.

    Args:
        module, name: where the kernel is.
        argument_types: words: ``bytes``, ``bytearray``, which the kernel may write to, or ``bool``
            for whatever is true or false.
        result: ``f8`` or ``i8``.
        releases_gil: for bytes of at least ``LONG_TEXT``. The kernel may then write to no bytearray
            that other threads know of.
    """

    def __init__(
        self, module: str, name: str, argument_types: str, result: str, *, releases_gil: bool
    ) -> None:
        self.name, self.kinds, self.result = name, argument_types.split(), result
        self.releases_gil = releases_gil
        words = 1 + sum(2 if kind in _TYPES else 1 for kind in self.kinds)
        self.kernel = CachedKernel(module, name, " ".join(["i8"] * words))
        self.message = f"{name} takes {', '.join(self.kinds)}"
        self._definition: _MethodDefinition | None = None

    def bind(self, record: np.ndarray[Any, Any], *kept: Any) -> Callable[..., Any]:
        """The function for one record, which points to what is ``kept``."""
        try:
            with _lock:
                if self._definition is None:
                    self._definition = _MethodDefinition(self)
            return self._definition.function((record.tobytes(), *kept))
        except _UnsupportedError:
            return self._slow_function(record, kept)

    def _slow_function(self, record: np.ndarray[Any, Any], kept: Any) -> Callable[..., Any]:
        def function(*arguments: Any, _kept: Any = kept) -> Any:
            if len(arguments) != len(self.kinds):
                raise TypeError(self.message)
            words, views = [record.ctypes.data], []
            for kind, argument in zip(self.kinds, arguments, strict=True):
                if kind == "bool":
                    words.append(int(bool(argument)))
                elif type(argument) is _TYPES[kind]:
                    views.append(np.frombuffer(argument or b"\0", np.uint8))
                    words += [views[-1].ctypes.data, len(argument)]
                else:
                    raise TypeError(self.message)
            return self.kernel(*words)

        return function


class _UnsupportedError(Exception):
    """This Python, this LLVM or the kernel does not allow an entry: calls are slower."""


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef; it must outlive the functions, and none is ever freed."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("entry", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )

    def __init__(self, kernel: BuiltinKernel) -> None:
        self._message = ctypes.create_string_buffer(kernel.message.encode())
        entry = _compiled_entry(kernel, ctypes.addressof(self._message))
        super().__init__(kernel.name.encode(), entry, _FASTCALL, None)
        _definitions.append(self)

    def function(self, bound: tuple[Any, ...]) -> Callable[..., Any]:
        """A built-in function with ``bound`` as its first argument, a module's place."""
        new = _python_function(_FASTCALL_MAKER)
        new.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        new.restype = ctypes.py_object
        made: Callable[..., Any] = new(ctypes.addressof(self), bound, None)
        return made


def _compiled_entry(kernel: BuiltinKernel, message: int) -> int:
    """The address of the entry of a kernel; ``message`` is that of its TypeError's."""
    import llvmlite.binding as llvm

    text = str(_EntryBuilder(kernel, message).module)
    try:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target_machine())
        return address_in(engine, "entry")
    except (RuntimeError, LookupError) as error:
        raise _UnsupportedError from error


def _python_function(name: str) -> Any:
    """A function of Python's C interface."""
    try:
        return ctypes.pythonapi[name]
    except AttributeError as error:
        raise _UnsupportedError from error


class _EntryBuilder:
    """Writes an entry as instructions of LLVM, to which every object is a number: its address."""

    def __init__(self, kernel: BuiltinKernel, message: int) -> None:
        from llvmlite import ir

        self.module, self.word, self.real = ir.Module(), ir.IntType(64), ir.DoubleType()
        self.function_type, self.status, self.flag = ir.FunctionType, ir.IntType(32), ir.IntType(1)
        entry = ir.Function(self.module, self.function_type(self.word, [self.word] * 3), "entry")
        self.builder = ir.IRBuilder(entry.append_basic_block())
        self.refused, self.failed = entry.append_basic_block(), entry.append_basic_block()
        self._write(kernel, *entry.args)
        self.builder.position_at_end(self.refused)
        self._python("PyErr_SetString", self.word(id(TypeError)), self.word(message))
        self.builder.branch(self.failed)
        self.builder.position_at_end(self.failed)  # with an exception that is set
        self.builder.ret(self.word(0))

    def _write(self, kernel: BuiltinKernel, bound: Any, arguments: Any, count: Any) -> None:
        self._require(count, "==", len(kernel.kinds), self.refused)
        record = self._python("PyTuple_GetItem", bound, self.word(0))
        words, long = [self._python("PyBytes_AsString", record)], self.flag(0)
        for place, kind in enumerate(kernel.kinds):
            words += self._converted(self._load(arguments, 8 * place), kind)
            if kind == "bytes" and kernel.releases_gil:
                large = self.builder.icmp_signed(">=", words[-1], self.word(LONG_TEXT))
                long = self.builder.or_(long, large)
        result = self._without_gil(long, lambda: self._kernel(kernel, words))
        make = "PyFloat_FromDouble" if kernel.result == "f8" else "PyLong_FromLongLong"
        self.builder.ret(self._python(make, result))

    def _require(self, value: Any, comparison: str, wanted: int, otherwise: Any) -> None:
        """Go on only if the comparison holds."""
        fits = self.builder.icmp_signed(comparison, value, value.type(wanted))
        onwards = self.builder.append_basic_block()
        self.builder.cbranch(fits, onwards, otherwise)
        self.builder.position_at_end(onwards)

    def _converted(self, argument: Any, kind: str) -> list[Any]:
        """What the kernel takes for an argument."""
        if kind == "bool":
            truth = self.builder.trunc(self._python("PyObject_IsTrue", argument), self.status)
            self._require(truth, ">=", 0, self.failed)
            return [self.builder.zext(truth, self.word)]
        self._require(self._load(argument, _TYPE), "==", id(_TYPES[kind]), self.refused)
        data = "PyBytes_AsString" if kind == "bytes" else "PyByteArray_AsString"
        return [self._python(data, argument), self._load(argument, _SIZE)]

    def _kernel(self, kernel: BuiltinKernel, words: list[Any]) -> Any:
        """Call the kernel as `cached_kernels` says."""
        number = self.real if kernel.result == "f8" else self.word
        result, exception = self.builder.alloca(number), self.builder.alloca(self.word)
        places = [result.type, exception.type, *[self.word] * len(words)]
        try:
            address = kernel.kernel.address
        except LookupError as error:  # it does not run without Numba
            raise _UnsupportedError from error
        function = self._function(address, self.status, places)
        self.builder.call(function, [result, exception, *words])
        return self.builder.load(result)

    def _without_gil(self, released: Any, write: Callable[[], Any]) -> Any:
        """What ``write`` writes, without the GIL if it is to be released."""
        saved = self.builder.alloca(self.word)
        with self.builder.if_then(released, likely=False):
            self.builder.store(self._python("PyEval_SaveThread"), saved)
        result = write()
        with self.builder.if_then(released, likely=False):
            self._python("PyEval_RestoreThread", self.builder.load(saved))
        return result

    def _load(self, address: Any, offset: int) -> Any:
        place = self.builder.add(address, self.word(offset))
        return self.builder.load(self.builder.inttoptr(place, self.word.as_pointer()))

    def _python(self, name: str, *arguments: Any) -> Any:
        """Call a function of Python's C interface."""
        address = ctypes.cast(_python_function(name), ctypes.c_void_p).value
        types = [argument.type for argument in arguments]
        return self.builder.call(self._function(address, self.word, types), arguments)

    def _function(self, address: Any, result: Any, arguments: list[Any]) -> Any:
        kind = self.function_type(result, arguments).as_pointer()
        return self.builder.inttoptr(self.word(address), kind)
