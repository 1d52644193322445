"""Columns of numbers on disk, written and read from the front to the back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from unrolled.errors import FormatError
from unrolled.storage.atomic import OutputFile

Array = np.ndarray[Any, Any]

LARGE = 255  # a count of that or more is stored in a second file
CHUNK = 1 << 20


class Column:
    """Numbers of one type in a file.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> column = Column(Path(folder.name) / "numbers", np.int32)
    >>> with column.writer() as writer:
    ...     writer.append(np.arange(5, dtype=np.int32))
    >>> with column.reader() as reader:
    ...     reader.read(2).tolist(), reader.read(3).tolist()
    ([0, 1], [2, 3, 4])
    >>> folder.cleanup()
    """

    def __init__(self, path: Path, dtype: Any, columns: int = 1) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.columns = columns

    def __len__(self) -> int:
        return int(self.path.stat().st_size // (self.dtype.itemsize * self.columns))

    def writer(self) -> ColumnWriter:
        """Open it to be written anew."""
        return ColumnWriter(self)

    def reader(self) -> ColumnReader:
        """Open it to be read from the front."""
        return ColumnReader(self)

    def chunks(self) -> Iterator[Array]:
        """All of it, a chunk at a time."""
        with self.reader() as reader:
            left = len(self)
            while left:
                yield reader.read(min(CHUNK, left))
                left -= min(CHUNK, left)

    def remove(self) -> None:
        """Remove its file."""
        self.path.unlink(missing_ok=True)


class ColumnWriter:
    """Appends to a column."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._file = OutputFile(column.path, "w", str(column.path))

    def append(self, values: Array) -> None:
        """Append numbers (N,) or rows (N, columns) of the column's type."""
        data = np.ascontiguousarray(values, self._column.dtype).reshape(-1).view(np.uint8).data
        written = 0
        while written < len(data):  # one call writes at most 2 GB
            written += self._file.write(data[written:])

    def close(self) -> None:
        """End writing."""
        self._file.close()

    def __enter__(self) -> ColumnWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ColumnReader:
    """Reads a column from the front."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._file = column.path.open("rb", buffering=0)

    def read(self, count: int) -> Array:
        """The next numbers, (count,) or (count, columns)."""
        column = self._column
        shape = (count,) if column.columns == 1 else (count, column.columns)
        values = np.empty(shape, column.dtype)
        data, filled = values.reshape(-1).view(np.uint8).data, 0
        while filled < len(data):
            got = self._file.readinto(data[filled:])
            if not got:
                raise FormatError("a temporary file ends too early", where=str(column.path))
            filled += got
        return values

    def skip(self, count: int) -> None:
        """Leave out the next numbers."""
        self._file.seek(count * self._column.dtype.itemsize * self._column.columns, os.SEEK_CUR)

    def __enter__(self) -> ColumnReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class CountColumn:
    """Counts (uint32), most of them small: a byte each, and those of 255 and more apart."""

    def __init__(self, path: Path) -> None:
        self.small = Column(path, np.uint8)
        self.large = Column(path.with_name(path.name + ".large"), np.uint32)

    def __len__(self) -> int:
        return len(self.small)

    def writer(self) -> CountWriter:
        """Open it to be written anew."""
        return CountWriter(self)

    def reader(self) -> CountReader:
        """Open it to be read from the front."""
        return CountReader(self)

    def remove(self) -> None:
        """Remove its files."""
        self.small.remove()
        self.large.remove()


class CountWriter:
    """Appends to a column of counts."""

    def __init__(self, column: CountColumn) -> None:
        self._small, self._large = column.small.writer(), column.large.writer()

    def append(self, counts: Array) -> None:
        """Append counts (N,)."""
        self._small.append(np.minimum(counts, LARGE).astype(np.uint8))
        self._large.append(counts[counts >= LARGE])

    def __enter__(self) -> CountWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._small.__exit__(*error)
        self._large.__exit__(*error)


class CountReader:
    """Reads a column of counts from the front."""

    def __init__(self, column: CountColumn) -> None:
        self._small, self._large = column.small.reader(), column.large.reader()

    def read(self, count: int) -> Array:
        """The next counts, (count,) uint32."""
        small = self._small.read(count)
        counts = small.astype(np.uint32)
        large = np.flatnonzero(small == LARGE)
        counts[large] = self._large.read(large.size)
        return counts

    def __enter__(self) -> CountReader:
        return self

    def __exit__(self, *error: Any) -> None:
        self._small.__exit__(*error)
        self._large.__exit__(*error)
