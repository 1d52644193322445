"""Memory that is given back while an array is read for the last time."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from unrolled.runtime.memory import aligned_empty, drained, resident_memory


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (1, 1), (3, 5), (1000, 112)])
def test_aligned_arrays_begin_a_cache_line_and_can_be_written(rows: int, columns: int) -> None:
    arrays = [aligned_empty(rows, columns) for _ in range(5)]
    for number, array in enumerate(arrays):
        assert array.size == 0 or array.ctypes.data % 64 == 0
        array[:] = number
    for number, array in enumerate(arrays):
        assert array.shape == (rows, columns)
        assert np.all(array == number)


@pytest.mark.parametrize("size", [0, 1, 4097, 5_000_001])
def test_drained_pieces_are_the_array(size: int) -> None:
    array = np.arange(size, dtype=np.float32)
    again = np.concatenate([piece.copy() for piece in drained(array.copy())])
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


def test_tables_and_arrays_with_gaps_can_be_drained() -> None:
    table = np.arange(9_000_000).reshape(-1, 3)
    assert np.array_equal(np.concatenate([piece.copy() for piece in drained(table.copy())]), table)
    gaps = np.arange(9_000_000)
    assert np.array_equal(
        np.concatenate([piece.copy() for piece in drained(gaps[::3])]), table[:, 0]
    )
    assert np.array_equal(gaps, table.reshape(-1))  # what lies between is not lost


def test_draining_a_part_of_an_array_leaves_its_neighbours_alone() -> None:
    array = np.ones(12_000_000, np.uint64)
    for piece in drained(array[2_000_001:9_999_999]):
        assert piece.all()
    assert array[:2_000_001].all()
    assert array[9_999_999:].all()


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux takes part of an array back")
def test_what_was_drained_goes_back_to_the_system() -> None:
    array = np.ones(16_000_000, np.uint64)
    before = resident_memory()
    for _piece in drained(array):
        pass
    assert before - resident_memory() > 100_000_000
