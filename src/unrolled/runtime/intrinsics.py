"""Instructions that Numba offers under no name: bits counted, eight bytes at once, prefetch."""

from __future__ import annotations

from typing import Any

from unrolled.runtime.compiler import cgutils, extending, ir, populate_array, types

# Numba's own type of it takes the typing context for an argument of the caller's.
intrinsic: Any = extending.intrinsic


def _address(target: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    structure = target.make_array(array_type)(target, builder, array)
    return builder.gep(structure.data, [index])


@intrinsic  # type: ignore[untyped-decorator]
def eight_bytes(_context: Any, array: Any, index: Any) -> Any:
    """``array[index : index + 8]`` of a uint8 array as one little-endian uint64; aligned or not.

    The caller must have checked that all eight are inside.
    """

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], *arguments)
        wide = builder.bitcast(address, ir.IntType(64).as_pointer())
        return builder.load(wide, align=1)

    return types.uint64(array, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def put_eight_bytes(_context: Any, array: Any, index: Any, _bits: Any) -> Any:
    """``array[index : index + 8]`` of a uint8 array becomes a little-endian uint64, likewise."""

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)
        return target.get_dummy_value()

    return types.void(array, types.int64, types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(_context: Any, _bits: Any) -> Any:
    """Zeros below the lowest one of a uint64; 64 for zero."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def leading_zeros(_context: Any, _bits: Any) -> Any:
    """Zeros above the highest one of a uint64; 64 for zero."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def popcount(_context: Any, _bits: Any) -> Any:
    """Number of ones in a uint64."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), build


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_context: Any, array: Any, _index: Any) -> Any:
    """Ask for the cache line of ``array[index]``; never faults, whatever the index."""

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(target, builder, signature.args[0], *arguments)
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        instruction = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        read, keep, data = (ir.Constant(word, value) for value in (0, 3, 1))
        builder.call(instruction, [builder.bitcast(address, byte), read, keep, data])
        return target.get_dummy_value()

    return types.void(array, types.int64), build


def _check(target: Any, builder: Any, index: Any, size: Any) -> None:
    """The check that NUMBA_BOUNDSCHECK asks for, which Numba leaves to its own look-ups."""
    if target.enable_boundscheck:
        cgutils.do_boundscheck(target, builder, index, size)  # type: ignore[no-untyped-call]


@intrinsic  # type: ignore[untyped-decorator]
def at(_context: Any, array: Any, _index: Any) -> Any:
    """``array[index]`` of one axis, for an index that the caller knows not to be negative.

    Numba's own look-up adds the array's size to a negative index: two more instructions each time.
    """

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = target.make_array(signature.args[0])(target, builder, arguments[0])
        _check(target, builder, arguments[1], structure.nitems)
        return builder.load(builder.gep(structure.data, [arguments[1]]))

    return array.dtype(array, types.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def put(_context: Any, array: Any, _index: Any, _value: Any) -> Any:
    """``array[index] = value``, likewise."""

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = target.make_array(signature.args[0])(target, builder, arguments[0])
        _check(target, builder, arguments[1], structure.nitems)
        builder.store(arguments[2], builder.gep(structure.data, [arguments[1]]))
        return target.get_dummy_value()

    return types.void(array, types.int64, array.dtype), build


@intrinsic  # type: ignore[untyped-decorator]
def bits_from(_context: Any, _packed: Any, _bit: Any) -> Any:
    """At least 57 bits of a uint64 array from bit number ``bit`` on, in one load.

    The caller must have checked that eight bytes from that bit's own are inside.
    """

    def build(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        structure = target.make_array(signature.args[0])(target, builder, arguments[0])
        wide = ir.IntType(64)
        byte = builder.lshr(arguments[1], ir.Constant(wide, 3))
        last = builder.sub(builder.mul(structure.nitems, wide(8)), wide(7))
        _check(target, builder, byte, last)
        place = builder.gep(builder.bitcast(structure.data, ir.IntType(8).as_pointer()), [byte])
        loaded = builder.load(builder.bitcast(place, wide.as_pointer()), align=1)
        return builder.lshr(loaded, builder.and_(arguments[1], wide(7)))

    return types.uint64(_packed, types.int64), build


def filled_array(target: Any, builder: Any, kind: Any, address: Any, size: Any) -> Any:
    """The array of a Numba type with one axis whose numbers are at an address."""
    array = target.make_array(kind)(target, builder)
    width = target.get_constant(types.intp, kind.dtype.bitwidth // 8)
    populate_array(  # type: ignore[no-untyped-call]
        array,
        data=builder.inttoptr(address, array.data.type),
        shape=[size],
        strides=[width],
        itemsize=width,
        meminfo=None,
    )
    return array._getvalue()


@intrinsic  # type: ignore[untyped-decorator]
def array_at(_context: Any, _address: Any, _size: Any, kind: Any) -> Any:
    """The array of ``size`` numbers of a NumPy type, such as ``np.float32``, at an address.

    The caller keeps the memory. A kernel is called sooner with an address than with an array.
    """
    result = types.Array(kind.dtype, 1, "C")

    def build(target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return filled_array(target, builder, result, arguments[0], arguments[1])

    return result(types.int64, types.int64, kind), build


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def stack_array(_context: Any, size: Any, kind: Any) -> Any:
    """An array of ``size`` numbers, written as a number in the code, that a call's end frees.

    What it holds at first is undefined, and whoever makes one in a loop always has the same.
    """
    if not isinstance(size, types.IntegerLiteral):
        return None
    result = types.Array(kind.dtype, 1, "C")

    def build(target: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        number = target.get_data_type(kind.dtype)
        memory = cgutils.alloca_once(builder, number, size=size.literal_value)  # type: ignore[no-untyped-call]
        address = builder.ptrtoint(memory, ir.IntType(64))
        return filled_array(target, builder, result, address, ir.IntType(64)(size.literal_value))

    return result(size, kind), build


@intrinsic  # type: ignore[untyped-decorator]
def float_of_bits(_context: Any, _bits: Any) -> Any:
    """The float32 whose bits are the low half of an int64."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.trunc(arguments[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.int64), build
