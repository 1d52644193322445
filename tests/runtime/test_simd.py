"""Vectors of numbers, against NumPy one number at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from unrolled.runtime import simd as vectors
from unrolled.runtime.simd import WIDTH


@numba.njit
def _exponentials(x: Any, result: Any) -> None:
    for column in range(0, x.shape[1], WIDTH):
        vectors.store(result, 0, column, vectors.exponential(vectors.load(x, 0, column)))


@numba.njit(boundscheck=True)
def _a_vector(x: Any, result: Any, row: int, column: int) -> None:
    vectors.store(result, 0, 0, vectors.load(x, row, column))


@pytest.mark.parametrize(
    ("dtype", "lowest", "units"), [(np.float32, -87, 2), (np.float64, -700, 2)]
)
def test_exponentials_are_those_of_the_library(dtype: Any, lowest: int, units: int) -> None:
    x = np.linspace(lowest, 88, 80_000).astype(dtype).reshape(1, -1)
    found = np.empty_like(x)
    _exponentials(x, found)
    expected = np.exp(x.astype(np.longdouble))
    assert np.max(np.abs(found - expected) / expected) < units * np.finfo(dtype).eps


def test_exponentials_of_very_low_numbers_are_zero() -> None:
    x = np.array([[-np.inf, -1e30, -500, -88, 0, 1, -0.0, 1e-30]] * 2, np.float32).reshape(1, -1)
    found = np.empty_like(x)
    _exponentials(x, found)
    assert found.tolist()[0] == pytest.approx([0, 0, 0, 0, 1, np.e, 1, 1] * 2, rel=1e-6, abs=0)


@numba.njit
def _total(x: Any) -> Any:
    return vectors.sum_of(vectors.load(x, 0, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_totals_are_of_all_numbers(dtype: Any) -> None:
    x = (2.0 ** np.arange(WIDTH)).astype(dtype).reshape(1, -1)
    assert _total(x) == 2.0**WIDTH - 1


def test_what_lies_outside_is_refused_where_bounds_are_checked() -> None:
    x = np.arange(2 * (WIDTH + 4), dtype=np.float32).reshape(2, WIDTH + 4)
    found = np.empty((1, WIDTH), np.float32)
    _a_vector(x, found, 1, 4)
    assert found.tolist() == [x[1, 4:].tolist()]
    with pytest.raises(IndexError):
        _a_vector(x, found, 1, 5)


@numba.njit
def _where_positive(a: Any, b: Any, result: Any) -> None:
    for column in range(0, a.shape[1], WIDTH):
        chosen = vectors.positive(vectors.load(a, 0, column), vectors.load(b, 0, column))
        vectors.store(result, 0, column, chosen)


def test_numbers_where_others_are_above_zero() -> None:
    a = np.array([[1, 2, 3, 4, 5, 6, np.nan, np.inf] * 2], np.float32)
    b = np.array([[-1, 0, 1e-30, np.nan, np.inf, -0.0, 1, 1] * 2], np.float32)
    found = np.empty_like(a)
    _where_positive(a, b, found)
    np.testing.assert_array_equal(found, [[0, 0, 3, 0, 5, 0, np.nan, np.inf] * 2])


@numba.njit(boundscheck=True)
def _copy_first(x: Any, result: Any, row: int, column: int, count: int) -> None:
    vectors.store_first(result, 0, 0, count, vectors.load_first(x, row, column, count))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", range(1, WIDTH))
def test_a_part_of_a_vector_is_read_and_written_and_nothing_beside_it(
    dtype: Any, count: int
) -> None:
    x = np.arange(2 * WIDTH, dtype=dtype).reshape(2, WIDTH)
    found = np.full((1, count + 1), -1, dtype)
    _copy_first(x, found, 1, WIDTH - count, count)  # the last numbers of the array
    assert found.tolist() == [[*x[1, WIDTH - count :], -1]]
    with pytest.raises(IndexError):
        _copy_first(x, found, 1, WIDTH - count + 1, count)


@numba.njit
def _rest(x: Any, result: Any, count: int) -> None:
    vectors.store(result, 0, 0, vectors.load_first(x, 0, 0, count))


def test_what_is_not_read_is_zero() -> None:
    x, found = np.ones((1, WIDTH), np.float32), np.full((1, WIDTH), -1, np.float32)
    _rest(x, found, 3)
    assert found.tolist() == [[1] * 3 + [0] * (WIDTH - 3)]
