"""Eight numbers at once, for kernels whose sums have to stay in registers.

LLVM makes vectors of a loop by itself unless several arrays are written in it, which might overlap;
and it reads and writes memory at each turn. Any processor can run these: LLVM splits what is wider
than its registers. Arrays are (M, N), contiguous, float32 or float64.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, errors, types

from unrolled.intrinsics import intrinsic

WIDTH = 8


class Vector(types.Type):
    """Numba's type of eight numbers of one dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"eight {dtype}")


@extending.register_model(Vector)
class _Model(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, _kind(vector.dtype))  # type: ignore[no-untyped-call]


def _kind(dtype: Any) -> Any:
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), WIDTH)


def _require_matrix(array: Any) -> None:
    if not isinstance(array, types.Array) or (array.ndim, array.layout) != (2, "C"):
        raise errors.TypingError(f"vectors are of contiguous arrays of two axes, not of {array}")


def _address(target: Any, builder: Any, array_type: Any, arguments: Any) -> Any:
    array, row, column = arguments[:3]
    structure = target.make_array(array_type)(target, builder, array)
    place = builder.add(builder.mul(row, builder.extract_value(structure.shape, 1)), column)
    if target.enable_boundscheck:
        last = builder.add(place, ir.IntType(64)(WIDTH - 1))
        for index in (place, last):
            cgutils.do_boundscheck(target, builder, index, structure.nitems)  # type: ignore[no-untyped-call]
    pointer = _kind(array_type.dtype).as_pointer()
    return builder.bitcast(builder.gep(structure.data, [place]), pointer)


@intrinsic  # type: ignore[untyped-decorator]
def load(_context: Any, array: Any, _row: Any, _column: Any) -> Any:
    """``array[row, column : column + 8]``; all eight must be inside."""
    _require_matrix(array)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], arguments)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.int64, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def store(_context: Any, array: Any, _row: Any, _column: Any, vector: Any) -> Any:
    """``array[row, column : column + 8] = vector``, likewise."""
    _require_matrix(array)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], arguments)
        builder.store(arguments[3], address, align=array.dtype.bitwidth // 8)
        return target.get_dummy_value()

    return types.void(array, types.int64, types.int64, vector), build


@intrinsic  # type: ignore[untyped-decorator]
def eight(_context: Any, number: Any) -> Any:
    """A number eight times."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_kind(number), ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.IntType(32)(0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return builder.shuffle_vector(first, undefined, everywhere)

    return Vector(number)(number), build


@intrinsic  # type: ignore[untyped-decorator]
def add_product(_context: Any, total: Any, a: Any, b: Any) -> Any:
    """``total + a b``, in one instruction where there is one."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = _kind(total.dtype)
        name = f"llvm.fmuladd.v{WIDTH}f{total.dtype.bitwidth}"
        shape = ir.FunctionType(kind, [kind, kind, kind])
        function = cgutils.get_or_insert_function(builder.module, shape, name)  # type: ignore[no-untyped-call]
        return builder.call(function, [arguments[1], arguments[2], arguments[0]])

    return total(total, a, b), build
