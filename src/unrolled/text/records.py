"""Rows of JSONL and Parquet: the text of a field, and whole rows."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unrolled.errors import MissingExtraError, TextError, UnrolledError
from unrolled.text.blocks import Block

DEFAULT_FIELD = "text"
_FIELD_HINT = "Name it: --field NAME, --set field=NAME, or TextOptions(field=NAME)"


def json_blocks(blocks: Iterable[Block], field: str) -> Iterator[Block]:
    """Blocks of JSONL -> blocks of the texts in a field of their rows."""
    import numpy as np

    for block in blocks:
        texts: list[str] = []
        numbers: list[int] = []
        for rank, line in enumerate(block.data.split(b"\n")):
            if line and not line.isspace():
                try:
                    text = json_text(line, field)
                except TextError as error:
                    error.where = block.place(rank)
                    raise
                texts.append(text)
                numbers += [block.first_line + rank] * (text.count("\n") + 1)
        data = "".join(f"{text}\n" for text in texts).encode(errors="surrogatepass")
        lines = np.array(numbers, np.int64)
        yield Block(data, block.source, block.first_line, block.offset, lines)


def json_text(row: bytes, field: str) -> str:
    """The text of one row of JSONL.

    Raises:
        TextError: the row is no JSON object, or its field is no string.
    """
    record = json_object(row)
    value = record.get(field)
    if not isinstance(value, str):
        found = ", ".join(sorted(map(repr, record))[:8]) or "none"
        what = "is not a string" if field in record else f"is missing among the fields {found}"
        raise TextError(f"the field {field!r} {what}", hint=_FIELD_HINT)
    return value


def json_object(line: bytes | str, where: str | None = None) -> dict[str, Any]:
    """The fields of a line of JSON.

    Raises:
        TextError: it is no JSON, or no object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        detail = getattr(error, "msg", None) or type(error).__name__
        raise TextError(f"the line is not JSON ({detail})", where=where) from None
    if not isinstance(record, dict):
        raise TextError("the line is JSON but not an object", where=where)
    return record


def load_pyarrow() -> Any:
    """The package that reads and writes Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("text", "pyarrow") from None
    return pyarrow


@contextlib.contextmanager
def parquet_file(path: str | os.PathLike[str]) -> Iterator[Any]:
    """An opened Parquet file (`pyarrow.parquet.ParquetFile`).

    Raises:
        TextError: there is none, or it is broken, which may be found while it is read.
        MissingExtraError: pyarrow is not installed.
    """
    if not Path(path).is_file():
        raise TextError("there is no such file", where=str(path))
    pyarrow = load_pyarrow()
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except UnrolledError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # text that is not UTF-8 too
        detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise TextError(f"the Parquet file is broken ({detail})", where=str(path)) from None


def check_parquet_column(schema: Any, column: str, where: str) -> None:
    """Refuse a schema that has no such column, or one of another type.

    Raises:
        TextError: with the columns that there are, or the type.
    """
    import pyarrow

    if column not in schema.names:
        found = ", ".join(map(repr, schema.names[:8]))
        raise TextError(
            f"the column {column!r} is missing among {found}",
            where=where,
            hint=_FIELD_HINT,
        )
    kind = schema.field(column).type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise TextError(f"the column {column!r} is {kind}, not string", where=where)


def parquet_blocks(path: Path, column: str) -> Iterator[Block]:
    """Blocks of the texts of a column.

    Raises:
        TextError: as `parquet_file` and `check_parquet_column`; a row has no text.
    """
    with parquet_file(path) as file:
        check_parquet_column(file.schema_arrow, column, str(path))
        yield from _row_blocks(file, str(path), column)


def _row_blocks(file: Any, name: str, column: str) -> Iterator[Block]:
    import numpy as np

    row, offset = 1, 0
    for batch in file.iter_batches(batch_size=4096, columns=[column]):
        texts = batch.column(0).to_pylist()
        if None in texts:
            raise TextError(
                f"the column {column!r} has no value", where=f"{name}:{row + texts.index(None)}"
            )
        counts = [text.count("\n") + 1 for text in texts]
        lines = np.repeat(np.arange(row, row + len(texts), dtype=np.int64), counts)
        data = "".join(f"{text}\n" for text in texts).encode(errors="surrogatepass")
        yield Block(data, name, row, offset, lines)
        row, offset = row + len(texts), offset + len(data)
