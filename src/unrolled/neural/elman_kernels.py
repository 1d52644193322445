"""All steps of an Elman net at once, for a few texts of a batch.

A step of small matrices takes tens of microseconds, about as long as threads take to meet after
it. Texts are independent, so each thread takes a few of them through all steps.

Arrays of states are (T B, H), step after step, in single precision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import REASSOCIATE, device_function, inlined, kernel
from unrolled.runtime.simd import (
    add,
    add_product,
    divide,
    eight,
    exponential,
    load,
    store,
    subtract,
)

Array = np.ndarray[Any, Any]

TANH, SIGMOID, RELU, LINEAR = range(4)


@kernel
def run(
    x: Array, start: Array, transposed: Array, kind: int, low: int, high: int, y: Array
) -> None:
    """y_t = f(x_t + U y_{t-1}) of texts low to high.

    Args:
        x: (T B, H) with W x + b in it. start: (B, H) the state before.
        transposed: (H, H), U transposed. kind: f, one of the above.
        y: (T B, H) out.
    """
    batch = start.shape[0]
    for begin in range(0, x.shape[0], batch):
        if begin == 0:
            _multiply(x, low, start, low, transposed, y, low, high - low)
        else:
            at = begin + low
            _multiply(x, at, y, at - batch, transposed, y, at, high - low)
        for i in range(begin + low, begin + high):
            _activate(y, i, kind)


@kernel
def run_back(
    y: Array, dy: Array, weight: Array, kind: int, low: int, high: int, errors: Array, total: Array
) -> None:
    """Gradients of texts low to high, all steps' errors accumulated.

    Args:
        y: (T B, H) from `run`. dy: (T B, H) gradients from above. weight: (H, H), U.
        errors: (T B, H) out, by x_t + U y_{t-1}. total: (B, H) out, by the state before.
    """
    batch = total.shape[0]
    for i in range(low, high):
        for j in range(y.shape[1]):
            total[i, j] = dy[y.shape[0] - batch + i, j]
    for begin in range(y.shape[0] - batch, -1, -batch):
        for i in range(low, high):
            _slope(y[begin + i], kind, total[i], errors[begin + i])
        if begin > 0:
            at = begin + low
            _multiply(dy, at - batch, errors, at, weight, total, low, high - low)
        else:
            for i in range(low, high):
                for j in range(y.shape[1]):
                    total[i, j] = 0
            _multiply(total, low, errors, low, weight, total, low, high - low)


@device_function(fastmath=REASSOCIATE)
def _multiply(
    base: Array, b: int, left: Array, f: int, right: Array, sums: Array, s: int, rows: int
) -> None:
    """sums[s + i] = base[b + i] + left[f + i] right for i below rows; base and sums may be one.

    Where fewer rows or columns are left than are taken together, the last ones are done again.
    """
    width = right.shape[1]
    whole = width & ~7
    for x in range(0, whole, 16):
        for i in range(0, rows, 4):
            _four_rows(base, b, left, f, right, sums, s, i, rows - 1, x, min(x + 8, whole - 8))
    for x in range(whole, width):
        for i in range(rows):
            total = base[b + i, x]
            for k in range(right.shape[0]):
                total += left[f + i, k] * right[k, x]
            sums[s + i, x] = total


@inlined
def _four_rows(
    base: Array, b: int, left: Array, f: int, right: Array, sums: Array, s: int, i: int, last: int,
    x: int, y: int,
) -> None:  # fmt: skip
    """The same for rows i to i + 3, columns x to x + 7 and y to y + 7, all sums in registers."""
    j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
    s0, s1, s2, s3 = (
        load(base, b + i, x),
        load(base, b + j, x),
        load(base, b + k, x),
        load(base, b + m, x),
    )
    t0, t1, t2, t3 = (
        load(base, b + i, y),
        load(base, b + j, y),
        load(base, b + k, y),
        load(base, b + m, y),
    )
    for row in range(right.shape[0]):
        v, w = load(right, row, x), load(right, row, y)
        factor = eight(left[f + i, row])
        s0, t0 = add_product(s0, factor, v), add_product(t0, factor, w)
        factor = eight(left[f + j, row])
        s1, t1 = add_product(s1, factor, v), add_product(t1, factor, w)
        factor = eight(left[f + k, row])
        s2, t2 = add_product(s2, factor, v), add_product(t2, factor, w)
        factor = eight(left[f + m, row])
        s3, t3 = add_product(s3, factor, v), add_product(t3, factor, w)
    store(sums, s + i, x, s0)
    store(sums, s + j, x, s1)
    store(sums, s + k, x, s2)
    store(sums, s + m, x, s3)
    store(sums, s + i, y, t0)
    store(sums, s + j, y, t1)
    store(sums, s + k, y, t2)
    store(sums, s + m, y, t3)


@device_function(fastmath=REASSOCIATE)
def _activate(y: Array, i: int, kind: int) -> None:
    """f of a row in place."""
    width = y.shape[1]
    if kind == RELU:
        for j in range(width):
            y[i, j] = np.float32(0) if y[i, j] < 0 else y[i, j]  # what is no number stays
    if kind >= RELU:
        return
    whole = width & ~7
    one, two = eight(np.float32(1)), eight(np.float32(2))
    for j in range(0, whole, 8):
        v = load(y, i, j)
        # tanh(v) = 1 - 2 / (exp(2 v) + 1), and the sigmoid is 1 - 1 / (exp(v) + 1)
        if kind == TANH:
            store(y, i, j, subtract(one, divide(two, add(exponential(add(v, v)), one))))
        else:
            store(y, i, j, subtract(one, divide(one, add(exponential(v), one))))
    for j in range(whole, width):
        y[i, j] = np.tanh(y[i, j]) if kind == TANH else 1 / (1 + np.exp(-y[i, j]))


@device_function(fastmath=REASSOCIATE)
def _slope(y: Array, kind: int, total: Array, errors: Array) -> None:
    """errors = total times f' by f's value: 1 - y^2, y (1 - y), whether y > 0, or 1."""
    if kind == TANH:
        for j in range(y.size):
            errors[j] = total[j] * (1 - y[j] * y[j])
    elif kind == SIGMOID:
        for j in range(y.size):
            errors[j] = total[j] * (y[j] * (1 - y[j]))
    elif kind == RELU:
        for j in range(y.size):
            errors[j] = total[j] if y[j] > 0 else np.float32(0)
    else:
        for j in range(y.size):
            errors[j] = total[j]
