"""Vectors of eight numbers in kernels, against the same sums by NumPy, and where they may read."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from unrolled.vectors import add_product, eight, load, store


@njit  # type: ignore[untyped-decorator]
def _combine(array: Any, row: int, column: int, factor: float) -> None:
    """Add a row's eight numbers from a column on, times a factor, to the first of row 0."""
    total = add_product(load(array, 0, 0), eight(factor), load(array, row, column))
    store(array, 0, 0, total)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eight_numbers_from_any_place(dtype: Any) -> None:
    array = np.random.default_rng(1).normal(size=(3, 11)).astype(dtype)
    wanted = array.copy()
    wanted[0, :8] += dtype(1.5) * wanted[2, 3:]
    _combine(array, 2, 3, dtype(1.5))
    np.testing.assert_allclose(array, wanted, rtol=0, atol=8 * np.finfo(dtype).eps)


def test_an_infinity_stays_one() -> None:
    array = np.ones((2, 8), np.float32)
    array[1, 2], array[1, 5] = np.inf, np.nan
    _combine(array, 1, 0, np.float32(0.5))
    assert np.array_equal(array[0], [1.5, 1.5, np.inf, 1.5, 1.5, np.nan, 1.5, 1.5], equal_nan=True)


@pytest.mark.parametrize("array", [np.ones((16, 8)).T, np.ones((8, 32))[:, ::2]])
def test_arrays_with_gaps_are_refused(array: Any) -> None:
    with pytest.raises(TypingError, match="of contiguous arrays of two axes"):
        _combine(array, 1, 0, 0.5)


@pytest.mark.parametrize("place", ["1, 4", "0, -1"])
def test_bounds_are_checked_where_that_is_wished(place: str) -> None:
    code = (
        "import numpy as np\n"
        "from numba import njit\n"
        "from unrolled.vectors import load, store\n"
        "@njit\n"
        "def move(array, row, column):\n"
        "    store(array, 0, 0, load(array, row, column))\n"
        "move(np.ones((2, 11)), 1, 3)\n"
        "print('inside')\n"
        f"move(np.ones((2, 11)), {place})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1"},
    )
    assert done.stdout == "inside\n"
    assert "IndexError: index is out of bounds" in done.stderr
