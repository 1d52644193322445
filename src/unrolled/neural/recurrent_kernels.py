"""All steps of a recurrent layer at once, forwards and backwards, for a part of a batch.

A step of a hundred units takes a few microseconds, less than threads take to meet after it. Texts
are independent, so each thread takes a few of them through all steps. Going back, the errors of a
few steps stay in the cache until the weights' gradients are summed from them.

Arrays are of rows of single precision: a step's texts one after the other, T steps of B texts. H
units and N gates are rounded up to multiples of `WIDTH`, and what is added is zero. Weights are in
blocks of `BLOCK` columns, a block after the other (see `pack`).

The gates of a GRU are n, r, z and the state's part of n, so that inputs meet the first three and
states the last three; a recurrent layer of another kind has them as its weights are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.neural.recurrent_steps import GRU, activate, bound_errors, send_back
from unrolled.neural.tiles import (
    add_half_tile,
    add_tile,
    eight_rows,
    four_broadcast,
    plus_products,
    plus_tile,
    prefetch_row,
    store_half_tile,
    store_tile,
)
from unrolled.runtime.kernels import REASSOCIATE, kernel, no_refcount
from unrolled.runtime.simd import WIDTH, add, add_product, broadcast, load

Array = np.ndarray[Any, Any]

BLOCK = 2 * WIDTH  # columns of weights together
_CHUNK = 1 << 14  # numbers of the errors that stay in the cache, at most


@kernel
def pack(weight: Array, packed: Array) -> None:
    """Weights (K, N), with N a multiple of `WIDTH`, to blocks (ceil(N / BLOCK) K, BLOCK).

    The second half of an odd last block repeats its first half, so that both write the same.
    """
    rows, width = weight.shape
    for block in range(packed.shape[0] // rows):
        for row in range(rows):
            for column in range(BLOCK):
                at = BLOCK * block + column
                at = at if at < width else at - WIDTH
                packed[block * rows + row, column] = weight[row, at]


@kernel
def pack_transposed(weight: Array, packed: Array) -> None:
    """The transpose of weights (N, K) to the same blocks."""
    width, rows = weight.shape
    for block in range(packed.shape[0] // rows):
        for column in range(BLOCK):
            at = BLOCK * block + column
            at = at if at < width else at - WIDTH
            for row in range(rows):
                packed[block * rows + row, column] = weight[at, row]


@kernel
def run(
    kind: int, x: Array, from_x: Array, from_h: Array, bias: Array, skipped: int, pieces: Any,
    units: int, mask: Array, y: Array, gates: Array, cells: Array,
) -> None:  # fmt: skip
    """The states after each step, of some pieces of the batch.

    Args:
        x: (T B, E). from_x, from_h: W (E, N) and U (H, N) in blocks, those of U without the first
            `skipped` ones, whose gates do not depend on the state; W may lack the last ones.
        bias: (1, N).
        pieces: texts of a piece, number of the first piece, and of the one after the last.
        units: H before it was rounded up.
        mask: of dropout, (T B, H), for an LSTM's updates; no rows where there is none.
        y: (B + T B, H), of which the first B rows are the state before; the others out.
        gates: (T B, N) out; of an Elman layer y without its first B rows.
        cells: likewise as y, of an LSTM.
    """
    batch = y.shape[0] - gates.shape[0]
    size, first, end = pieces
    for piece in range(first, end):
        low = piece * size
        count = min(size, batch - low)
        for at in range(low, gates.shape[0], batch):
            _step(x, from_x, y, units, from_h, bias, skipped, gates, at, count)
            for row in range(at, at + count):
                prefetch_row(gates, row + batch)
                activate(kind, gates, y, cells, mask, row, row + batch, row)


@kernel
def run_back(
    kind: int, x: Array, y: Array, gates: Array, cells: Array, dy: Array, back_to_h: Array,
    back_to_x: Array, limits: Any, pieces: Any, units: int, keep: float, errors_of_state: Array,
    errors_of_cell: Array, dx: Array, dfrom_x: Array, dfrom_h: Array,
) -> None:  # fmt: skip
    """Gradients of some pieces of the batch, the errors of all steps accumulated.

    Args:
        dy: (T B, units) gradients by the states from above; no rows where there are none.
        back_to_h, back_to_x: U (N, H) and W (N, E) in blocks, without the gates they do not reach;
            the latter without rows where dx has none.
        limits: of each error's size (element-wise), of a text's error's norm, and steps after which
            errors go no further back, counted from the end; 0 for none.
        keep: share of an LSTM's updates that were not dropped.
        errors_of_state, errors_of_cell: (B, H) by the last state; then by the state before.
        dx: (T B, E) out, E a multiple of `WIDTH`, or no rows.
        dfrom_x, dfrom_h: (P (E + 1), N), the last row of each for the bias, and (P H, N) out, zeros
            first: sums of each of P pieces.
    """
    width = gates.shape[1]
    batch = y.shape[0] - gates.shape[0]
    steps = gates.shape[0] // batch
    inputs, hidden = x.shape[1], y.shape[1]
    reached = width if kind != GRU else 3 * hidden  # gates that x and h each meet
    factors = units if width == hidden else reached
    offset = width - reached
    size, first, end = pieces
    most, norm, truncation = limits
    stop = 0 if truncation == 0 or dy.shape[0] > 0 else max(steps - truncation, 0)
    chunk = min(max(_CHUNK // (size * width), 1), steps)
    errors = np.empty((chunk * size, width), np.float32)
    before = np.empty((chunk * size, units), np.float32)
    inputs_of = np.ones((chunk * size, inputs + 1), np.float32)  # the bias meets a 1
    for piece in range(first, end):
        low = piece * size
        count = min(size, batch - low)
        for last in range(steps, stop, -chunk):
            begin = max(last - chunk, stop)
            for t in range(last - 1, begin - 1, -1):
                at, place = t * batch + low, (t - begin) * count
                for i in range(count):
                    if dy.shape[0] > 0:
                        _add_row(dy, at + i, errors_of_state, low + i)
                    bound_errors(errors_of_state, low + i, most, norm)
                    send_back(
                        kind, gates, cells, y, at + i, batch, errors_of_state, errors_of_cell,
                        low + i, errors, place + i, keep,
                    )  # fmt: skip
                    _copy_row(y, at + i, before, place + i)
                    _copy_row(x, at + i, inputs_of, place + i)
                    prefetch_row(gates, at + i - batch)
                if truncation > 0 and (steps - t) % truncation == 0:
                    _forget(errors_of_state, low, low + count)
                    _forget(errors_of_cell, low, min(low + count, errors_of_cell.shape[0]))
                else:
                    multiply_rows(
                        errors, place, offset, back_to_h, factors, errors_of_state, low, count,
                        kind == GRU,
                    )  # fmt: skip
            rows = (last - begin) * count
            _add_products(before, errors, rows, offset, width, dfrom_h, piece * units)
            _add_products(inputs_of, errors, rows, 0, width, dfrom_x, piece * (inputs + 1))
            if dx.shape[0] > 0:
                for t in range(begin, last):
                    at, place = t * batch + low, (t - begin) * count
                    multiply_rows(errors, place, 0, back_to_x, factors, dx, at, count, False)


@no_refcount(fastmath=REASSOCIATE)
def _add_row(rows: Array, row: int, totals: Array, at: int) -> None:
    for j in range(rows.shape[1]):
        totals[at, j] += rows[row, j]


@no_refcount
def _copy_row(rows: Array, row: int, copies: Array, at: int) -> None:
    for j in range(min(rows.shape[1], copies.shape[1])):
        copies[at, j] = rows[row, j]


@no_refcount
def _forget(errors: Array, begin: int, end: int) -> None:
    for i in range(begin, end):
        for j in range(errors.shape[1]):
            errors[i, j] = 0


@no_refcount
def _step(
    x: Array, from_x: Array, y: Array, units: int, from_h: Array, bias: Array, skipped: int,
    gates: Array, at: int, count: int,
) -> None:  # fmt: skip
    """gates[at + i] = b + W x[at + i] + U y[at + i] for i below count, 4 rows at a time."""
    width, inputs = bias.shape[1], x.shape[1]
    last = at + count - 1
    for block in range((width + BLOCK - 1) // BLOCK):
        c = BLOCK * block
        d = min(c + WIDTH, width - WIDTH)
        low, high = load(bias, 0, c), load(bias, 0, d)
        if d == c:  # 8 rows by the last `WIDTH` columns
            for i in range(at, at + count, 8):
                places = eight_rows(i, last)
                sums = (low, low, low, low, low, low, low, low)
                if block * inputs < from_x.shape[0]:
                    sums = add_half_tile(sums, x, places, 0, 0, from_x, block * inputs, inputs)
                if block >= skipped:
                    begin = (block - skipped) * units
                    sums = add_half_tile(sums, y, places, 0, 0, from_h, begin, units)
                store_half_tile(gates, places, 0, c, sums)
            continue
        for i in range(at, at + count, 4):
            j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
            sums = (low, high, low, high, low, high, low, high)
            if block * inputs < from_x.shape[0]:
                sums = add_tile(sums, x, (i, j, k, m), 0, from_x, block * inputs, inputs)
            if block >= skipped:
                begin = (block - skipped) * units
                sums = add_tile(sums, y, (i, j, k, m), 0, from_h, begin, units)
            store_tile(gates, (i, j, k, m), c, d, sums)


@no_refcount
def multiply_rows(
    rows: Array, place: int, offset: int, weights: Array, factors: int, products: Array, at: int,
    count: int, added: bool,
) -> None:  # fmt: skip
    """products[at + i] = rows[place + i, offset:] times weights, added to what is there or not.

    Args:
        weights: (factors, N) in blocks; products have N columns, at least `WIDTH`.
    """
    width = products.shape[1]
    last = count - 1
    none = broadcast(np.float32(0))
    for block in range((width + BLOCK - 1) // BLOCK):
        c = BLOCK * block
        d = min(c + WIDTH, width - WIDTH)
        if d == c and not added:
            for i in range(0, count, 8):
                places = eight_rows(i, last)
                sums = (none, none, none, none, none, none, none, none)
                sums = add_half_tile(
                    sums, rows, places, place, offset, weights, block * factors, factors
                )
                store_half_tile(products, places, at, c, sums)
            continue
        for i in range(0, count, 4):
            j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
            sums = (none, none, none, none, none, none, none, none)
            of = (place + i, place + j, place + k, place + m)
            sums = add_tile(sums, rows, of, offset, weights, block * factors, factors)
            if added:
                sums = plus_tile(sums, products, (at + i, at + j, at + k, at + m), c, d)
            store_tile(products, (at + i, at + j, at + k, at + m), c, d, sums)


@no_refcount
def _add_products(
    left: Array, errors: Array, rows: int, start: int, stop: int, totals: Array, at: int
) -> None:
    """totals[at + j] += the sum over rows of left[row, j] errors[row], columns start to stop."""
    last = left.shape[1] - 1
    none = broadcast(np.float32(0))
    for c in range(start, stop, BLOCK):
        d = min(c + WIDTH, stop - WIDTH)
        if d == c:
            _add_half_products(left, errors, rows, c, totals, at)
            continue
        for i in range(0, last + 1, 4):
            j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
            sums = (none, none, none, none, none, none, none, none)
            for row in range(rows):
                factors = four_broadcast(left[row, i], left[row, j], left[row, k], left[row, m])
                sums = plus_products(sums, factors, load(errors, row, c), load(errors, row, d))
            places = (at + i, at + j, at + k, at + m)
            store_tile(totals, places, c, d, plus_tile(sums, totals, places, c, d))


@no_refcount
def _add_half_products(
    left: Array, errors: Array, rows: int, c: int, totals: Array, at: int
) -> None:
    """As `_add_products`, of `WIDTH` columns."""
    last = left.shape[1] - 1
    none = broadcast(np.float32(0))
    for i in range(0, last + 1, 8):
        r0, r1, r2, r3, r4, r5, r6, r7 = eight_rows(i, last)
        s0, s1, s2, s3, s4, s5, s6, s7 = none, none, none, none, none, none, none, none
        for row in range(rows):
            v = load(errors, row, c)
            s0 = add_product(s0, broadcast(left[row, r0]), v)
            s1 = add_product(s1, broadcast(left[row, r1]), v)
            s2 = add_product(s2, broadcast(left[row, r2]), v)
            s3 = add_product(s3, broadcast(left[row, r3]), v)
            s4 = add_product(s4, broadcast(left[row, r4]), v)
            s5 = add_product(s5, broadcast(left[row, r5]), v)
            s6 = add_product(s6, broadcast(left[row, r6]), v)
            s7 = add_product(s7, broadcast(left[row, r7]), v)
        places = (r0, r1, r2, r3, r4, r5, r6, r7)
        s0, s1 = add(s0, load(totals, at + r0, c)), add(s1, load(totals, at + r1, c))
        s2, s3 = add(s2, load(totals, at + r2, c)), add(s3, load(totals, at + r3, c))
        s4, s5 = add(s4, load(totals, at + r4, c)), add(s5, load(totals, at + r5, c))
        s6, s7 = add(s6, load(totals, at + r6, c)), add(s7, load(totals, at + r7, c))
        store_half_tile(totals, places, at, c, (s0, s1, s2, s3, s4, s5, s6, s7))
