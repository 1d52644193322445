"""Three machine instructions that Numba does not offer by name: population count, leading zeros, prefetch."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def popcount(_context: Any, _bits: Any) -> Any:
    """Number of ones in a uint64."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def leading_zeros(_context: Any, _bits: Any) -> Any:
    """Zeros above the highest one of a uint64; 64 for zero."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, array: Any, _index: Any) -> Any:
    """Ask for the cache line of ``array[index]``; never faults, whatever the index."""

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = target.make_array(signature.args[0])(target, builder, arguments[0])
        address = builder.gep(structure.data, [arguments[1]])
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(word, value) for value in (0, 3, 1))
        builder.call(instruction, [builder.bitcast(address, pointer), read, keep, data])
        return target.get_dummy_value()

    return types.void(array, types.int64), build
