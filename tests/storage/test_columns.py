"""Columns on disk give back what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import FormatError
from unrolled.storage.columns import Column, CountColumn


@given(st.lists(st.lists(st.integers(0, 2**32 - 1) | st.integers(250, 260), max_size=9)))
def test_counts_come_back_whatever_the_pieces(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[list[int]]
) -> None:
    column = CountColumn(tmp_path_factory.mktemp("counts") / "column")
    with column.writer() as writer:
        for piece in pieces:
            writer.append(np.array(piece, np.uint32))
    counts = [count for piece in pieces for count in piece]
    assert len(column) == len(counts)
    with column.reader() as reader:
        found = [int(reader.read(1)[0]) for _ in range(len(counts) // 2)]
        found += reader.read(len(counts) - len(found)).tolist()
    assert found == counts
    column.remove()
    assert list(column.small.path.parent.iterdir()) == []


def test_rows_come_back_in_chunks(tmp_path: Path) -> None:
    column, rows = Column(tmp_path / "rows", np.uint32, 3), np.arange(30, dtype=np.uint32)
    with column.writer() as writer:
        writer.append(rows.reshape(-1, 3))
    assert len(column) == 10
    assert np.concatenate(list(column.chunks())).tolist() == rows.reshape(-1, 3).tolist()


def test_a_column_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    column = Column(tmp_path / "numbers", np.int32)
    with column.writer() as writer:
        writer.append(np.arange(3, dtype=np.int32))
    with column.reader() as reader, pytest.raises(FormatError, match="ends too early"):
        reader.read(4)
