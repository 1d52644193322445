"""Tiles of matrix products: sums of a few rows and columns, which stay in registers; and rows asked
for ahead.

A tile is four rows of two vectors, ``(s0, t0, s1, t1, s2, t2, s3, t3)``, a half tile eight rows of
one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import inlined, no_refcount
from unrolled.runtime.simd import WIDTH, add, add_product, broadcast, load, store

Array = np.ndarray[Any, Any]

_LINE = 64  # bytes that a cache reads at once


@inlined
def add_tile(
    sums: Any, left: Array, rows: Any, offset: int, weights: Array, begin: int, count: int
) -> Any:
    """Four rows' sums of a block's columns, with left[rows, offset:] times its weights added."""
    i, j, k, m = rows
    for row in range(count):
        c = offset + row
        factors = four_broadcast(left[i, c], left[j, c], left[k, c], left[m, c])
        v, w = load(weights, begin + row, 0), load(weights, begin + row, WIDTH)
        sums = plus_products(sums, factors, v, w)
    return sums


@inlined
def four_broadcast(a: float, b: float, c: float, d: float) -> Any:
    """Vectors of four numbers."""
    return broadcast(a), broadcast(b), broadcast(c), broadcast(d)


@inlined
def plus_products(sums: Any, factors: Any, v: Any, w: Any) -> Any:
    """A tile with two vectors added to each of its rows, times the row's vector of factors."""
    s0, t0, s1, t1, s2, t2, s3, t3 = sums
    f0, f1, f2, f3 = factors
    s0, t0 = add_product(s0, f0, v), add_product(t0, f0, w)
    s1, t1 = add_product(s1, f1, v), add_product(t1, f1, w)
    s2, t2 = add_product(s2, f2, v), add_product(t2, f2, w)
    s3, t3 = add_product(s3, f3, v), add_product(t3, f3, w)
    return s0, t0, s1, t1, s2, t2, s3, t3


@inlined
def eight_rows(i: int, last: int) -> Any:
    """Eight rows from i on; where fewer are left, the last one again."""
    return (
        i, min(i + 1, last), min(i + 2, last), min(i + 3, last), min(i + 4, last),
        min(i + 5, last), min(i + 6, last), min(i + 7, last),
    )  # fmt: skip


@inlined
def add_half_tile(
    sums: Any, left: Array, rows: Any, first: int, offset: int, weights: Array, begin: int,
    count: int,
) -> Any:  # fmt: skip
    """As `add_tile`: eight rows' sums of `WIDTH` columns."""
    s0, s1, s2, s3, s4, s5, s6, s7 = sums
    r0, r1, r2, r3, r4, r5, r6, r7 = rows
    for row in range(count):
        v, column = load(weights, begin + row, 0), offset + row
        s0 = add_product(s0, broadcast(left[first + r0, column]), v)
        s1 = add_product(s1, broadcast(left[first + r1, column]), v)
        s2 = add_product(s2, broadcast(left[first + r2, column]), v)
        s3 = add_product(s3, broadcast(left[first + r3, column]), v)
        s4 = add_product(s4, broadcast(left[first + r4, column]), v)
        s5 = add_product(s5, broadcast(left[first + r5, column]), v)
        s6 = add_product(s6, broadcast(left[first + r6, column]), v)
        s7 = add_product(s7, broadcast(left[first + r7, column]), v)
    return s0, s1, s2, s3, s4, s5, s6, s7


@inlined
def store_half_tile(into: Array, rows: Any, first: int, c: int, sums: Any) -> None:
    s0, s1, s2, s3, s4, s5, s6, s7 = sums
    r0, r1, r2, r3, r4, r5, r6, r7 = rows
    store(into, first + r0, c, s0)
    store(into, first + r1, c, s1)
    store(into, first + r2, c, s2)
    store(into, first + r3, c, s3)
    store(into, first + r4, c, s4)
    store(into, first + r5, c, s5)
    store(into, first + r6, c, s6)
    store(into, first + r7, c, s7)


@inlined
def plus_tile(sums: Any, base: Array, rows: Any, c: int, d: int) -> Any:
    s0, t0, s1, t1, s2, t2, s3, t3 = sums
    i, j, k, m = rows
    return (
        add(s0, load(base, i, c)), add(t0, load(base, i, d)), add(s1, load(base, j, c)),
        add(t1, load(base, j, d)), add(s2, load(base, k, c)), add(t2, load(base, k, d)),
        add(s3, load(base, m, c)), add(t3, load(base, m, d)),
    )  # fmt: skip


@inlined
def store_tile(into: Array, rows: Any, c: int, d: int, sums: Any) -> None:
    s0, t0, s1, t1, s2, t2, s3, t3 = sums
    i, j, k, m = rows
    store(into, i, c, s0)
    store(into, i, d, t0)
    store(into, j, c, s1)
    store(into, j, d, t1)
    store(into, k, c, s2)
    store(into, k, d, t2)
    store(into, m, c, s3)
    store(into, m, d, t3)


@no_refcount
def prefetch_row(rows: Array, row: int) -> None:
    """Ask for a row that is read or written soon, where the hardware does not foresee it."""
    width = rows.shape[1]
    for j in range(0, width, _LINE // rows.itemsize):
        prefetch(rows, row * width + j)
