"""Vectors of numbers, for kernels whose sums have to stay in registers.

LLVM makes vectors of a loop by itself unless several arrays are written in it, which might overlap;
and it reads and writes memory at each turn. Any processor can run these: LLVM splits what is wider
than its registers. A vector has as many float32 as a register holds, where that is known to pay;
only `sum_of` depends on how many, in the last bits. Arrays are (M, N), contiguous, float32
or float64.
"""

from __future__ import annotations

from math import factorial, log
from typing import Any

import numpy as np

from unrolled.runtime.compiler import cgutils, errors, extending, ir, types
from unrolled.runtime.intrinsics import intrinsic


def _width() -> int:
    """Numbers of a vector: 16 with AVX-512, and 8 elsewhere."""
    import llvmlite.binding as llvm

    return 16 if llvm.get_host_cpu_features().get("avx512f") else 8


WIDTH = _width()


class Vector(types.Type):
    """Numba's type of `WIDTH` numbers of one dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"{WIDTH} {dtype}")


@extending.register_model(Vector)
class _Model(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, _kind(vector.dtype))  # type: ignore[no-untyped-call]


def _kind(dtype: Any) -> Any:
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), WIDTH)


def _require_matrix(array: Any) -> None:
    if not isinstance(array, types.Array) or (array.ndim, array.layout) != (2, "C"):
        raise errors.TypingError(f"vectors are of contiguous arrays of two axes, not of {array}")


def _address(target: Any, builder: Any, array_type: Any, arguments: Any, most: Any = None) -> Any:
    """Where a vector begins, of which `most` numbers are used, or all."""
    array, row, column = arguments[:3]
    structure = target.make_array(array_type)(target, builder, array)
    place = builder.add(builder.mul(row, builder.extract_value(structure.shape, 1)), column)
    if target.enable_boundscheck:
        count = most or ir.IntType(64)(WIDTH)
        for index in (place, builder.sub(builder.add(place, count), ir.IntType(64)(1))):
            cgutils.do_boundscheck(target, builder, index, structure.nitems)  # type: ignore[no-untyped-call]
    pointer = _kind(array_type.dtype).as_pointer()
    return builder.bitcast(builder.gep(structure.data, [place]), pointer)


@intrinsic  # type: ignore[untyped-decorator]
def load(_context: Any, array: Any, _row: Any, _column: Any) -> Any:
    """``array[row, column : column + WIDTH]``; all must be inside."""
    _require_matrix(array)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], arguments)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.int64, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def store(_context: Any, array: Any, _row: Any, _column: Any, vector: Any) -> Any:
    """``array[row, column : column + WIDTH] = vector``, likewise."""
    _require_matrix(array)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], arguments)
        builder.store(arguments[3], address, align=array.dtype.bitwidth // 8)
        return target.get_dummy_value()

    return types.void(array, types.int64, types.int64, vector), build


@intrinsic  # type: ignore[untyped-decorator]
def load_first(_context: Any, array: Any, _row: Any, _column: Any, _count: Any) -> Any:
    """``array[row, column : column + count]``, and 0 for the rest; the count is below `WIDTH`."""
    _require_matrix(array)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], arguments, arguments[3])
        kind = _kind(array.dtype)
        return _masked(builder, "load", kind, [address], arguments[3], ir.Constant(kind, None))

    return Vector(array.dtype)(array, types.int64, types.int64, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def store_first(
    _context: Any, array: Any, _row: Any, _column: Any, _count: Any, vector: Any
) -> Any:
    """``array[row, column : column + count] = vector[:count]``, likewise."""
    _require_matrix(array)

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], arguments, arguments[3])
        _masked(builder, "store", ir.VoidType(), [arguments[4], address], arguments[3])
        return target.get_dummy_value()

    return types.void(array, types.int64, types.int64, types.int64, vector), build


def _masked(builder: Any, way: str, result: Any, given: list[Any], count: Any, *rest: Any) -> Any:
    """LLVM's load or store of the first numbers of a vector."""
    numbers = ir.Constant(ir.VectorType(ir.IntType(64), WIDTH), [*range(WIDTH)])
    mask = builder.icmp_signed("<", numbers, _repeated(builder, count))
    kind = given[-1].type.pointee
    name = f"llvm.masked.{way}.v{WIDTH}f{32 if kind.element == ir.FloatType() else 64}.p0"
    alignment = ir.IntType(32)(4)
    return _call(builder, name, result, *given, alignment, mask, *rest)


@intrinsic  # type: ignore[untyped-decorator]
def broadcast(_context: Any, number: Any) -> Any:
    """A vector whose numbers are all the same."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _repeated(builder, arguments[0])

    return Vector(number)(number), build


def _repeated(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(ir.VectorType(number.type, WIDTH), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, undefined, everywhere)


@intrinsic  # type: ignore[untyped-decorator]
def add_product(_context: Any, total: Any, a: Any, b: Any) -> Any:
    """``total + a b``, in one instruction where there is one."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = _kind(total.dtype)
        name = f"llvm.fmuladd.v{WIDTH}f{total.dtype.bitwidth}"
        return _call(builder, name, kind, arguments[1], arguments[2], arguments[0])

    return total(total, a, b), build


@intrinsic  # type: ignore[untyped-decorator]
def sum_of(_context: Any, vector: Any) -> Any:
    """The sum of a vector's numbers, in any order."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number = _kind(vector.dtype).element
        name = f"llvm.vector.reduce.fadd.v{WIDTH}f{vector.dtype.bitwidth}"
        shape = ir.FunctionType(number, [number, _kind(vector.dtype)])
        function = cgutils.get_or_insert_function(builder.module, shape, name)  # type: ignore[no-untyped-call]
        return builder.call(function, [number(-0.0), arguments[0]], fastmath=["reassoc"])

    return vector.dtype(vector), build


@intrinsic  # type: ignore[untyped-decorator]
def exponential(_context: Any, x: Any) -> Any:
    """``exp(x)`` within two units in the last place; 0 below -87 in float32, as at -inf.

    In float32 exp(n log 2 + r) = 2^n exp(r) with Taylor's polynomial, for LLVM knows no vectors of
    it and would call the C library for each number, as it does in float64.
    """
    single = x.dtype == types.float32

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return (_single_exponential if single else _exponential)(builder, arguments[0])

    return x(x), build


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    shape = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, shape, name)  # type: ignore[no-untyped-call]
    return builder.call(function, arguments)


def _exponential(builder: Any, x: Any) -> Any:
    return _call(builder, f"llvm.exp.v{WIDTH}f64", x.type, x)


def _single_exponential(builder: Any, x: Any) -> Any:
    kind, whole = x.type, ir.VectorType(ir.IntType(32), WIDTH)

    def all_of(number: float) -> Any:
        return ir.Constant(kind, [float(np.float32(number))] * WIDTH)

    def add_product(total: Any, a: Any, b: Any) -> Any:
        return _call(builder, f"llvm.fmuladd.v{WIDTH}f32", kind, a, b, total)

    low, high = builder.fcmp_ordered("<", x, all_of(-87)), builder.fcmp_ordered(">", x, all_of(88))
    bounded = builder.select(high, all_of(88), builder.select(low, all_of(-87), x))
    # Numbers from 1.5 2^23 on have no bits for fractions: n, rounded, stands in the lowest bits.
    shift = all_of(1.5 * 2**23)
    shifted = add_product(shift, bounded, all_of(1 / log(2)))
    n = builder.fsub(shifted, shift)
    coarse = 0.693359375  # log 2 in so few bits that n times it is exact
    r = add_product(add_product(bounded, n, all_of(-coarse)), n, all_of(coarse - log(2)))
    total = all_of(1 / factorial(7))
    for power in reversed(range(7)):
        total = add_product(all_of(1 / factorial(power)), total, r)
    lowest = builder.shl(builder.bitcast(shifted, whole), ir.Constant(whole, [23] * WIDTH))
    exponent = builder.add(lowest, ir.Constant(whole, [127 << 23] * WIDTH))
    scale = builder.bitcast(exponent, kind)
    return builder.select(low, all_of(0), builder.fmul(total, scale))


def _binary(instruction: str) -> Any:
    def operation(_context: Any, a: Any, b: Any) -> Any:
        def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return a(a, b), build

    operation.__name__ = instruction[1:]
    return intrinsic(operation)


add, subtract, multiply, divide = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic  # type: ignore[untyped-decorator]
def positive(_context: Any, a: Any, b: Any) -> Any:
    """``a`` where ``b`` is above 0, else 0."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        none = ir.Constant(arguments[0].type, [0.0] * WIDTH)
        return builder.select(builder.fcmp_ordered(">", arguments[1], none), arguments[0], none)

    return a(a, b), build
