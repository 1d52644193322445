"""Parquet files, read and written in batches of about 2 MiB.

A Parquet file ends with a table of what is in it, so a file that was cut off cannot be gone on
with. Finished batches are therefore written in Arrow's stream format, and become the Parquet file
in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.documents.annotation import Annotator, Judgement
from unrolled.documents.buckets import FIELD
from unrolled.documents.outputs import Output, UnfinishedFile
from unrolled.errors import SettingError
from unrolled.storage.atomic import atomic_write
from unrolled.text.records import check_parquet_column, parquet_file
from unrolled.text.tokens import first_invalid

Array = np.ndarray[Any, Any]

BATCH_BYTES = 2 << 20
_ROWS = (64, 8192)  # of a batch, at least and at most
_GROUP_BYTES = 64 << 20  # of a row group of the output
_GROUP_ROWS = 1 << 17


@dataclass(frozen=True)
class ParquetBatch:
    """Rows of a Parquet file: an Arrow record batch, and the number of rows before it."""

    data: Any
    line: int
    end: int = 0


@dataclass(frozen=True)
class ParquetRows:
    """A batch of rows and the texts in them.

    Attributes:
        batch: Arrow's record batch. texts: of each row its text in UTF-8, or None.
        problems: of rows without a text what is wrong, by their number.
    """

    batch: Any
    texts: Sequence[bytes | None]
    problems: Mapping[int, str]

    @property
    def count(self) -> int:
        """All rows."""
        return len(self.texts)

    @cached_property
    def documents(self) -> Array:
        """(D,) the numbers of the rows that are documents."""
        numbers = [number for number in range(self.count) if number not in self.problems]
        return np.array(numbers, np.int64)

    @cached_property
    def lines(self) -> Array:
        """(D,) int64 lines of each document's text."""
        texts = [self.texts[number] or b"" for number in self.documents.tolist()]
        return np.array([text.count(b"\n") + 1 for text in texts], np.int64)

    @property
    def text(self) -> bytes:
        """The texts of all documents, a newline after each line."""
        return b"".join((self.texts[number] or b"") + b"\n" for number in self.documents.tolist())


class ParquetFile:
    """A Parquet source, and how its rows are written.

    Args:
        source, annotator, output, progress: as of `JsonlFile`.

    Raises:
        SettingError: the output is no Parquet file, or the file has such columns already.
        TextError: the file is broken or has no such column.
    """

    rejected_suffix = ".rejected.parquet"

    def __init__(
        self,
        source: str,
        annotator: Annotator,
        output: str,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        if Path(output).suffix.lower() != ".parquet":
            raise SettingError(
                "rows of Parquet are written as Parquet",
                where=output or "standard output",
                hint="Name an output that ends in .parquet",
            )
        self.source, self._annotator, self._progress = source, annotator, progress
        self._field = annotator.annotation.field
        with parquet_file(source) as file:
            self._schema = file.schema_arrow
            check_parquet_column(self._schema, self._field, source)
            self._bytes = Path(source).stat().st_size / max(file.metadata.num_rows, 1)
        existing = [name for name in annotator.new_fields if name in self._schema.names]
        if existing and not annotator.annotation.overwrite:
            raise SettingError(
                f"the file has the column {existing[0]!r} already",
                where=source,
                hint="Replace such columns with --overwrite, or name the new ones with --names",
            )

    def place(self, line: int) -> str:
        """The place of a row, counted from 0."""
        return f"{self.source}:{line + 1}"

    def groups(self, _offset: int, line: int) -> Iterator[Iterable[ParquetBatch]]:
        """Batches after so many rows, all in one group."""
        yield self._batches(line)

    def _batches(self, line: int) -> Iterator[ParquetBatch]:
        before = 0
        with parquet_file(self.source) as file:
            for group in range(file.metadata.num_row_groups):
                facts = file.metadata.row_group(group)
                if before + facts.num_rows <= line:
                    before += facts.num_rows
                    continue
                row_bytes = max(facts.total_byte_size // max(facts.num_rows, 1), 1)
                size = int(np.clip(BATCH_BYTES // row_bytes, *_ROWS))
                for batch in file.iter_batches(batch_size=size, row_groups=[group]):
                    if before >= line:
                        yield ParquetBatch(batch, before)
                        if self._progress is not None:
                            self._progress(int(self._bytes * batch.num_rows))
                    before += batch.num_rows

    def read(self, batch: ParquetBatch) -> ParquetRows:
        """The rows of a batch, and their texts."""
        import pyarrow

        column = batch.data.column(self._schema.names.index(self._field))
        texts = column.cast(pyarrow.large_binary()).to_pylist()
        problems = {}
        if None in texts or first_invalid(b"\n".join(texts)) >= 0:
            for number, text in enumerate(texts):
                if text is None:
                    problems[number] = f"the column {self._field!r} has no value"
                elif first_invalid(text) >= 0:
                    problems[number] = f"the column {self._field!r} is not UTF-8"
        return ParquetRows(batch.data, texts, problems)

    def broken(self, rows: ParquetRows) -> list[tuple[int, str]]:
        """Of each broken row its number in the batch, and what is wrong."""
        return list(rows.problems.items())

    def rejected(self, rows: ParquetRows, line: int) -> bytes:
        """The broken rows in the file of those, with their numbers and what is wrong."""
        import pyarrow

        found = self.broken(rows)
        batch = rows.batch.take(pyarrow.array([number for number, _ in found], pyarrow.int64()))
        columns = {
            "row_number": pyarrow.array([line + number + 1 for number, _ in found]),
            "problem": pyarrow.array([problem for _, problem in found]),
        }
        return _stream(_with_columns(batch, columns))

    def write(self, rows: ParquetRows, judged: Judgement) -> bytes:
        """The rows that are kept, with their new columns."""
        import pyarrow

        kept = np.flatnonzero(judged.kept)
        if kept.size == 0:
            return b""
        batch = rows.batch.take(pyarrow.array(rows.documents[kept]))
        return _stream(_with_columns(batch, self._columns(judged, kept)))

    def _columns(self, judged: Judgement, kept: Array) -> dict[str, Any]:
        """The new columns of the documents of these numbers."""
        import pyarrow

        annotator, scores, columns = self._annotator, judged.scores, {}
        bounds = scores.bounds[kept]
        sizes = bounds[:, 1] - bounds[:, 0]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        places = np.repeat(bounds[:, 0] - offsets[:-1], sizes) + np.arange(offsets[-1])
        for name, integer, values in zip(
            annotator.names, annotator.scorer.integers, scores.values, strict=True
        ):
            own = pyarrow.array(values[places].astype(np.int64 if integer else np.float64))
            if annotator.annotation.by == "paragraph":
                own = pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), own)
            columns[name] = own
        if annotator.buckets is not None:
            names = annotator.buckets.names
            columns[FIELD] = pyarrow.array([names[one] for one in judged.buckets[kept].tolist()])
        return columns

    def conclude(self, output: Output, rows: Path | None, rejected: Path | None) -> None:
        """Make the Parquet files of the streams."""
        import pyarrow

        assert rows is not None and isinstance(output, UnfinishedFile)  # as __init__ has checked
        none = np.zeros(0, np.int64)
        nothing = pyarrow.RecordBatch.from_pylist([], self._schema)
        judged = self._annotator.judge(b"", none)
        empty = _with_columns(nothing, self._columns(judged, none)).schema
        _write_parquet(output.folder / "rows", rows, empty)
        if rejected is not None:
            aside = output.folder / "rejected"
            if rejected.is_file():  # a device stays
                rejected.unlink()
            if aside.exists() and aside.stat().st_size:
                _write_parquet(aside, rejected, None)
        output.finish({})


def _with_columns(batch: Any, columns: Mapping[str, Any]) -> Any:
    """A record batch with columns at its end, in place of those of the same names."""
    import pyarrow

    stay = [number for number, name in enumerate(batch.schema.names) if name not in columns]
    fields = [batch.schema.field(number) for number in stay]
    fields += [pyarrow.field(name, array.type) for name, array in columns.items()]
    schema = pyarrow.schema(fields, batch.schema.metadata)
    arrays = [*(batch.column(number) for number in stay), *columns.values()]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _stream(batch: Any) -> bytes:
    """A record batch with all that is needed to read it."""
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _record_batches(path: Path) -> Iterator[Any]:
    """The record batches of streams one after the other."""
    import pyarrow

    with pyarrow.OSFile(str(path), "rb") as file:
        size = file.size()
        while file.tell() < size:
            with pyarrow.ipc.open_stream(file) as stream:
                yield from stream


def _write_parquet(streams: Path, target: Path, schema: Any) -> None:
    """Write record batches as Parquet, in row groups of many of them."""
    import pyarrow.parquet

    writer, waiting, rows, size = None, [], 0, 0
    with atomic_write(target, compress=False) as file:
        for batch in _record_batches(streams):
            waiting.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            writer = writer or pyarrow.parquet.ParquetWriter(file, batch.schema)
            if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pyarrow.Table.from_batches(waiting))
                waiting, rows, size = [], 0, 0
        if writer is None:
            writer = pyarrow.parquet.ParquetWriter(file, schema)
        if waiting:
            writer.write_table(pyarrow.Table.from_batches(waiting))
        writer.close()
