"""All steps of a recurrent cell through packed rows, forwards and backwards.

Arrays have a row for each word, see `batches`; H is a multiple of `simd.WIDTH`. A step computes the
rows ``begin:end``; the first ``count`` of them continue from the rows that begin at ``before``, the
others from a state of 0: these four are a row of ``steps`` (T, 4). A direction is one call, since
two threads that came back to Python after each step would wait for one another there. Weights are
in blocks, see `recurrent_kernels.pack`: U' (H, G H) to go forwards and U (G H, H) to go back.
All is float32. exp is a polynomial that the compiler turns into vector instructions, which the C
library's is not: within 2e-7 of it, and a cell's step takes a third of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.neural.recurrent_kernels import multiply_rows
from unrolled.runtime.compiler import ir, types
from unrolled.runtime.intrinsics import intrinsic
from unrolled.runtime.kernels import inlined, kernel, no_refcount

Array = np.ndarray[Any, Any]

TANH, SIGMOID, RELU, LINEAR = 0, 1, 2, 3

_ONE, _TWO, _ZERO, _HALF = np.float32(1), np.float32(2), np.float32(0), np.float32(0.5)
_LOWEST, _HIGHEST = np.float32(-87), np.float32(87)
_PER_LN2 = np.float32(1 / np.log(2))
# ln 2 in two parts, of which the first times a small whole number has no rounding error.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(np.log(2) - 0.693359375)
_ROUND = np.float32(12582912)  # 1.5 * 2^23: what is added to it loses its fraction
_C3, _C4, _C5 = np.float32(1 / 6), np.float32(1 / 24), np.float32(1 / 120)
_C6 = np.float32(1 / 720)


@intrinsic
def _power_of_two(_context: Any, _shifted: Any) -> Any:
    """2^k of a float32 that is `_ROUND` + k: its lowest bits are those of k."""

    def build(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], ir.IntType(32))
        exponent = builder.shl(bits, ir.Constant(ir.IntType(32), 23))
        sum_ = builder.add(exponent, ir.Constant(ir.IntType(32), 127 << 23))
        return builder.bitcast(sum_, ir.FloatType())

    return types.float32(types.float32), build


@inlined
def _exp(x: float) -> float:
    """exp(x) by its series about the nearest multiple of ln 2; x is clipped to +-87."""
    x = min(max(x, _LOWEST), _HIGHEST)
    shifted = x * _PER_LN2 + _ROUND
    k = shifted - _ROUND
    r = x - k * _LN2_HIGH - k * _LN2_LOW
    series = _C3 + r * (_C4 + r * (_C5 + r * _C6))
    return (_ONE + r * (_ONE + r * (_HALF + r * series))) * _power_of_two(shifted)


@inlined
def _sigmoid(x: float) -> float:
    return _ONE / (_ONE + _exp(-x))


@inlined
def _tanh(x: float) -> float:
    return _ONE - _TWO / (_ONE + _exp(_TWO * x))


@kernel
def run_elman(h: Array, weight: Array, steps: Array, nonlinearity: int) -> None:
    """States in place of W x + b, (N, H)."""
    for begin, end, before, count in steps:
        if count > 0:
            multiply_rows(h, before, 0, weight, h.shape[1], h, begin, count, True)
        _elman_step(h, begin, end, nonlinearity)


@kernel
def run_elman_back(h: Array, dh: Array, weight: Array, steps: Array, nonlinearity: int) -> None:
    """dh (N, H) becomes the errors of the sums."""
    for step in range(len(steps) - 1, -1, -1):
        begin, end, before, count = steps[step]
        _elman_back(h, dh, begin, end, nonlinearity)
        if count > 0:
            multiply_rows(dh, begin, 0, weight, h.shape[1], dh, before, count, True)


@kernel
def run_lstm(gates: Array, c: Array, h: Array, weight: Array, steps: Array) -> None:
    """Gates (N, 4 H) in place of W x + b; c and h (N, H) out."""
    for begin, end, before, count in steps:
        if count > 0:
            multiply_rows(h, before, 0, weight, h.shape[1], gates, begin, count, True)
        _lstm_step(gates, c, h, begin, end, before, count)


@kernel
def run_lstm_back(
    gates: Array, c: Array, dh: Array, dc: Array, weight: Array, steps: Array
) -> None:
    """gates become the errors of their sums; dc (N, H) is 0 before, dh the errors of h."""
    for step in range(len(steps) - 1, -1, -1):
        begin, end, before, count = steps[step]
        _lstm_back(gates, c, dh, dc, begin, end, before, count)
        if count > 0:
            multiply_rows(gates, begin, 0, weight, gates.shape[1], dh, before, count, True)


@kernel
def run_gru(
    gates: Array, from_h: Array, bias: Array, h: Array, weight: Array, steps: Array
) -> None:
    """Gates (N, 3 H) in place of W x + b; from_h (N, 3 H) and h (N, H) out."""
    for begin, end, before, count in steps:
        if count > 0:
            multiply_rows(h, before, 0, weight, h.shape[1], from_h, begin, count, False)
        _gru_step(gates, from_h, bias, h, begin, end, before, count)


@kernel
def run_gru_back(
    gates: Array, from_h: Array, h: Array, dh: Array, weight: Array, steps: Array
) -> None:
    """gates and from_h become the errors of W x + b and of U h' (+ a)."""
    for step in range(len(steps) - 1, -1, -1):
        begin, end, before, count = steps[step]
        _gru_back(gates, from_h, h, dh, begin, end, before, count)
        if count > 0:
            multiply_rows(from_h, begin, 0, weight, from_h.shape[1], dh, before, count, True)


@no_refcount
def _elman_step(h: Array, begin: int, end: int, nonlinearity: int) -> None:
    """h = f(h) in place; h (N, H) holds W x + U h' + b."""
    for r in range(begin, end):
        if nonlinearity == TANH:
            for k in range(h.shape[1]):
                h[r, k] = _tanh(h[r, k])
        elif nonlinearity == SIGMOID:
            for k in range(h.shape[1]):
                h[r, k] = _sigmoid(h[r, k])
        elif nonlinearity == RELU:
            for k in range(h.shape[1]):
                h[r, k] = max(h[r, k], _ZERO)


@no_refcount
def _elman_back(h: Array, dh: Array, begin: int, end: int, nonlinearity: int) -> None:
    """dh (N, H) times the slope, in place, known by f's value."""
    for r in range(begin, end):
        if nonlinearity == TANH:
            for k in range(h.shape[1]):
                dh[r, k] *= _ONE - h[r, k] * h[r, k]
        elif nonlinearity == SIGMOID:
            for k in range(h.shape[1]):
                dh[r, k] *= h[r, k] * (_ONE - h[r, k])
        elif nonlinearity == RELU:
            for k in range(h.shape[1]):
                dh[r, k] = dh[r, k] if h[r, k] > _ZERO else _ZERO


@no_refcount
def _lstm_step(
    gates: Array, c: Array, h: Array, begin: int, end: int, before: int, count: int
) -> None:
    """Gates i, f, g, o (N, 4 H) in place from their sums; c and h (N, H) out."""
    width = h.shape[1]
    for r in range(begin, end):
        # Loops begin at 0: of another start the compiler fears that it is negative, and takes the
        # elements one by one.
        for k in range(width):
            gates[r, k] = _sigmoid(gates[r, k])
            gates[r, width + k] = _sigmoid(gates[r, width + k])
            gates[r, 2 * width + k] = _tanh(gates[r, 2 * width + k])
            gates[r, 3 * width + k] = _sigmoid(gates[r, 3 * width + k])
        for k in range(width):
            c[r, k] = gates[r, k] * gates[r, 2 * width + k]
        if r - begin < count:
            old = before + r - begin
            for k in range(width):
                c[r, k] += gates[r, width + k] * c[old, k]
        for k in range(width):
            h[r, k] = gates[r, 3 * width + k] * _tanh(c[r, k])


@no_refcount
def _lstm_back(
    gates: Array, c: Array, dh: Array, dc: Array, begin: int, end: int, before: int, count: int
) -> None:
    """gates (N, 4 H) become the errors of their sums; dc (N, H) of the step before is written.

    Args:
        dh: errors of h. dc: errors of c that come from later steps, 0 where there are none.
    """
    width = dh.shape[1]
    for r in range(begin, end):
        old = before + r - begin if r - begin < count else -1
        for k in range(width):
            enter, forget = gates[r, k], gates[r, width + k]
            new, out = gates[r, 2 * width + k], gates[r, 3 * width + k]
            squashed = _tanh(c[r, k])
            error = dc[r, k] + dh[r, k] * out * (_ONE - squashed * squashed)
            gates[r, k] = error * new * enter * (_ONE - enter)
            gates[r, 2 * width + k] = error * enter * (_ONE - new * new)
            gates[r, 3 * width + k] = dh[r, k] * squashed * out * (_ONE - out)
            dc[r, k] = error * forget
            gates[r, width + k] = error * forget * (_ONE - forget)
        if old >= 0:
            for k in range(width):
                gates[r, width + k] *= c[old, k]
                dc[old, k] = dc[r, k]
        else:
            for k in range(width):
                gates[r, width + k] = _ZERO


@no_refcount
def _gru_step(
    gates: Array,
    from_h: Array,
    bias: Array,
    h: Array,
    begin: int,
    end: int,
    before: int,
    count: int,
) -> None:
    """Gates r, z, n (N, 3 H) in place from W x + b; h (N, H) out.

    Args:
        from_h: (N, 3 H) U h', read for the first ``count`` rows; its last third becomes U h' + a.
        bias: (H,) a.
    """
    width = h.shape[1]
    for r in range(begin, end):
        old = before + r - begin
        if r - begin >= count:
            for k in range(3 * width):
                from_h[r, k] = _ZERO
        for k in range(2 * width):
            gates[r, k] = _sigmoid(gates[r, k] + from_h[r, k])
        for k in range(width):
            from_h[r, 2 * width + k] += bias[k]
        for k in range(width):
            inner = gates[r, 2 * width + k] + gates[r, k] * from_h[r, 2 * width + k]
            gates[r, 2 * width + k] = _tanh(inner)
        for k in range(width):
            h[r, k] = (_ONE - gates[r, width + k]) * gates[r, 2 * width + k]
        if r - begin < count:
            for k in range(width):
                h[r, k] += gates[r, width + k] * h[old, k]


@no_refcount
def _gru_back(
    gates: Array,
    from_h: Array,
    h: Array,
    dh: Array,
    begin: int,
    end: int,
    before: int,
    count: int,
) -> None:
    """gates and from_h (N, 3 H) become the errors of W x + b and of U h' (+ a).

    Args:
        dh: (N, H) errors of h; what goes straight to h' is added to the rows before.
    """
    width = h.shape[1]
    for r in range(begin, end):
        old = before + r - begin if r - begin < count else -1
        for k in range(width):
            reset, update = gates[r, k], gates[r, width + k]
            new, inner = gates[r, 2 * width + k], from_h[r, 2 * width + k]
            state = h[old, k] if old >= 0 else _ZERO
            error = dh[r, k] * (_ONE - update) * (_ONE - new * new)
            to_reset = error * inner * reset * (_ONE - reset)
            to_update = dh[r, k] * (state - new) * update * (_ONE - update)
            gates[r, k], from_h[r, k] = to_reset, to_reset
            gates[r, width + k], from_h[r, width + k] = to_update, to_update
            gates[r, 2 * width + k] = error
            from_h[r, 2 * width + k] = error * reset
            if old >= 0:
                dh[old, k] += dh[r, k] * update
