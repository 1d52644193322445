"""The ids of a text while it is read: in memory, or from some size on in a file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.runtime.threads import run_slices
from unrolled.storage.columns import Column, ColumnWriter

Ids = npt.NDArray[np.int32]


class IdStore:
    """Pieces of ids, laid end to end.

    Args:
        limit: how many ids are held in memory at most; without one, all.
        spill: makes the column that holds them once they are more.
        check: called after each piece that goes to the column.

    Attributes:
        size: how many ids there are.
        column: where they are, or None while they are in memory.
        crc32: of the final ids in a file.
    """

    def __init__(
        self,
        limit: int | None = None,
        spill: Callable[[], Column] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.size = 0
        self.column: Column | None = None
        self.crc32 = 0
        self._limit, self._spill, self._check = limit, spill, check
        self._pieces: list[Ids] = []
        self._sizes: list[int] = []
        self._writer: ColumnWriter | None = None

    @classmethod
    def of_column(cls, column: Column, crc32: int) -> IdStore:
        """The ids that an earlier process left in a file."""
        store = cls()
        store.column, store.crc32 = column, crc32
        return store

    def append(self, piece: Ids) -> None:
        """Append a piece, which the caller does not use again."""
        self.size += piece.size
        self._sizes.append(piece.size)
        if self._writer is not None:
            self._writer.append(piece)
            self._check()
            return
        self._pieces.append(piece)
        if self._limit is not None and self._spill is not None and self.size > self._limit:
            self.column = self._spill()
            self._writer = self.column.writer()
            for held in self._pieces:
                self._writer.append(held)
            self._pieces.clear()

    def finish(self, mappings: list[Ids] | None = None, *, threads: int = 1) -> Ids:
        """End reading: the ids in memory, (T,) int32; none where they are in a file.

        Args:
            mappings: for each piece the final id of each of its ids.
            threads: that lay the pieces in memory end to end.
        """
        if self._writer is None:
            ids = np.empty(self.size, np.int32)
            borders = np.cumsum(self._sizes)[:-1]
            parts = np.split(ids, borders) if self._sizes else []
            if mappings is None:
                run_slices(np.copyto, list(zip(parts, self._pieces, strict=True)), threads)
            else:
                work = zip(self._pieces, mappings, parts, strict=True)
                run_slices(_renumber, list(work), threads)
            self._pieces.clear()
            return ids
        self._writer.close()
        self._writer = None
        if mappings is None:
            for block in self.blocks():
                self.crc32 = zlib.crc32(block.view(np.uint8).data, self.crc32)
        else:
            self._rewrite(mappings)
        return np.empty(0, np.int32)

    def move(self, ids: Ids) -> None:
        """Move the finished ids, which `finish` returned, to the column."""
        assert self._spill is not None
        self.column, self.crc32 = self._spill(), zlib.crc32(ids.view(np.uint8).data)
        with self.column.writer() as writer:
            writer.append(ids)

    def blocks(self) -> Iterator[Ids]:
        """The ids in the file, a block at a time."""
        assert self.column is not None
        return self.column.chunks()

    def _rewrite(self, mappings: list[Ids]) -> None:
        assert self.column is not None
        with self.column.path.open("r+b", buffering=0) as file:
            for mapping, size in zip(mappings, self._sizes, strict=True):
                piece: Any = np.empty(size, np.int32)
                file.readinto(piece.view(np.uint8).data)
                _renumber(piece, mapping, piece)
                data = piece.view(np.uint8).data
                file.seek(-len(data), 1)
                file.write(data)
                self.crc32 = zlib.crc32(data, self.crc32)


def _renumber(ids: Ids, mapping: Ids, out: Ids) -> None:
    """``out = mapping[ids]``; NumPy would copy the ids to 64 bits first."""
    from unrolled.text.encoding_kernels import renumber

    renumber(ids, mapping, out)
