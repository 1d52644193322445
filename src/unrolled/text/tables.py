"""Tables of texts: rows of CSV, TSV, JSON lines, Parquet and plain text, with all their columns.

>>> rows = list(read_table([{"item": 1, "sentence": "the cat sat"}]))
>>> rows[0].text, rows[0].values
('the cat sat', {'item': 1, 'sentence': 'the cat sat'})
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from unrolled.errors import SettingError, TextError
from unrolled.text.options import TABLE_FORMATS, TextOptions
from unrolled.text.records import json_object, load_pyarrow, parquet_file
from unrolled.text.sources import MAX_LINE, raw_blocks, suffixes_of
from unrolled.text.tokens import cut_blocks

FIELDS = ("text", "sentence")  # columns that hold the text where none is named
_BY_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
              ".parquet": "parquet"}  # fmt: skip
_SEPARATORS = ",;\t"
_FIELD_HINT = "Name the column of the text (--field)"

Table = str | os.PathLike[str] | Iterable[str] | Iterable[Mapping[str, Any]]


class Row(NamedTuple):
    """One row: its columns, the text and the name of its column, and its place for messages."""

    values: Mapping[str, Any]
    text: str
    place: str
    column: str = ""


def read_table(
    table: Table,
    *,
    field: str | None = None,
    format: str | None = None,
    quotes: bool = True,
    invalid: str = "error",
) -> Iterator[Row]:
    """The rows of a file, of texts or mappings in memory, or of a DataFrame.

    Args:
        table: a file, compressed or not, ``-`` for standard input; or texts, mappings, a DataFrame
            of pandas or polars.
        field: the column that holds the text; by default ``text`` or ``sentence``, or the only one.
        format: of `TABLE_FORMATS`; by default by the file's suffix, and else by its first line: an
            object of JSON, or the header of a CSV or TSV file that has the column.
        quotes: whether ``"`` quotes cells of CSV and TSV, or is a character like others.
        invalid: what is not UTF-8, see `TextOptions`.

    Raises:
        TextError: the file or a row cannot be read, with the place; there is no such column.
        SettingError: a format that is unknown. MissingExtraError: what reads Parquet, or unpacks
            the file, is not installed.
    """
    if not isinstance(table, (str, os.PathLike)):
        return _rows_in_memory(table, field)
    if format not in (None, *TABLE_FORMATS):
        raise SettingError(f"the format is '{format}', allowed are {', '.join(TABLE_FORMATS)}")
    kind = format or format_of(table)
    if kind == "parquet":
        return _parquet_rows(Path(table), field)
    return _rows_of_lines(table, kind, field, quotes, TextOptions(invalid=invalid))


def format_of(path: str | os.PathLike[str]) -> str | None:
    """The format that a file's name tells; None where it does not.

    >>> format_of("stimuli.csv.gz"), format_of("-")
    ('csv', None)
    """
    return _BY_SUFFIX.get(suffixes_of(Path(path))[0])


def text_column(columns: Sequence[str], field: str | None, place: str) -> str:
    """The column that holds the text.

    Raises:
        TextError: there is no such column, or none is named and it is unclear which it is.
    """
    found = ", ".join(f"'{name}'" for name in columns[:12]) or "none"
    if field is not None:
        if field in columns:
            return field
        raise TextError(f"there is no column '{field}' among {found}", where=place,
                        hint=_FIELD_HINT)  # fmt: skip
    for name in FIELDS:  # as Excel's users write them too: Text, SENTENCE
        same = next((column for column in columns if column.casefold() == name), None)
        if same is not None:
            return same
    if len(columns) == 1:
        return columns[0]
    raise TextError(f"there is no column '{FIELDS[0]}' or '{FIELDS[1]}' among {found}",
                    where=place, hint=_FIELD_HINT)  # fmt: skip


def _rows_of_lines(
    source: str | os.PathLike[str], kind: str | None, field: str | None, quotes: bool,
    options: TextOptions,
) -> Iterator[Row]:  # fmt: skip
    name = "<stdin>" if str(source) == "-" else str(source)
    blocks = cut_blocks(raw_blocks(source, plain=True), options)
    lines = (
        line
        for block in blocks
        for line in io.StringIO(block.data.decode(errors="replace"), newline="")
    )
    first = next(lines, None)
    if first is None:
        return
    kind = kind or _kind_of_line(first, field)
    every = _chained(first, lines)
    if kind == "jsonl":
        yield from _json_rows(every, field, name)
    elif kind == "text":
        if field is not None:
            raise TextError(f"it is read as plain text, which has no column '{field}'", where=name,
                            hint="Name its format, such as csv or jsonl")  # fmt: skip
        for number, line in enumerate(every, 1):
            yield Row({}, line.rstrip("\r\n"), f"{name}:{number}")
    else:
        yield from _separated_rows(every, _separator(first, kind), quotes, field, name)


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _kind_of_line(line: str, field: str | None) -> str:
    """The format of a file by its first line."""
    if line.lstrip().startswith("{"):
        return "jsonl"
    if field is not None:
        return "csv"
    names = {cell.casefold() for separator in _SEPARATORS for cell in _cells(line, separator)}
    return "csv" if names & set(FIELDS) else "text"


def _separator(header: str, kind: str) -> str:
    """What separates the cells of a header: the sign that makes most cells of it."""
    if kind == "tsv":
        return "\t"
    return max(_SEPARATORS, key=lambda sign: len(_cells(header, sign)))


def _cells(line: str, separator: str) -> list[str]:
    """The cells of a header; of a line that cannot be one, the line."""
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a cell of more than 128 kB
        return [line]


def _separated_rows(
    lines: Iterator[str], separator: str, quotes: bool, field: str | None, name: str
) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE)
    quoting: Any = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=separator, strict=True, quoting=quoting)
    columns: list[str] | None = None
    text = ""
    line = 1
    try:
        for cells in reader:
            place, line = f"{name}:{line}", reader.line_num + 1
            if not cells:
                continue
            if columns is None:
                columns = cells
                text = text_column(_distinct(columns, place), field, place)
                continue
            if len(cells) != len(columns):
                raise TextError(
                    f"the row has {len(cells)} cells, and the header has {len(columns)}",
                    where=place,
                    hint="Quote cells that hold the separator",
                )
            values = dict(zip(columns, cells, strict=True))
            yield Row(values, values[text], place, text)
    except csv.Error as error:
        raise TextError(
            f"the quotes of the row are wrong ({error})",
            where=f"{name}:{line}",
            hint="Double a quote within quotes, or read quotes as other characters: --no-quotes",
        ) from None


def _distinct(columns: list[str], place: str) -> list[str]:
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise TextError(f"two columns are called '{twice}'", where=place, hint="Rename one")
    return columns


def _json_rows(lines: Iterator[str], field: str | None, name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        yield _row(json_object(line, place), field, place)


def _rows_in_memory(table: Any, field: str | None) -> Iterator[Row]:
    # A DataFrame by itself would give its columns.
    of_polars, of_pandas = (getattr(table, name, None) for name in ("iter_rows", "to_dict"))
    if of_polars is not None:
        table = of_polars(named=True)
    elif of_pandas is not None:
        table = of_pandas("records")
    for number, each in enumerate(table, 1):
        place = f"row {number}"
        yield Row({}, each, place) if isinstance(each, str) else _row(each, field, place)


def _row(values: Mapping[str, Any], field: str | None, place: str) -> Row:
    column = text_column(list(values), field, place)
    text = values[column]
    if not isinstance(text, str):
        what = "has no value" if text is None or text != text else f"is {text!r}, not a text"
        raise TextError(f"the column '{column}' {what}", where=place)
    return Row(values, text, place, column)


def _parquet_rows(path: Path, field: str | None) -> Iterator[Row]:
    with parquet_file(path) as file:
        text_column(file.schema_arrow.names, field, str(path))
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for values in batch.to_pylist():
                number += 1
                yield _row(values, field, f"{path}:{number}")


# -- writing --------------------------------------------------------------------------------


def write_table(
    file: IO[bytes],
    columns: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    *,
    format: str,
    decimals: Mapping[str, int],
) -> None:
    """Write rows as they come, UTF-8 and with plain newlines; Parquet at the end.

    Cells that a row lacks, or that are None, are empty. JSON has no infinity: such a number is null
    and the row has ``"infinite": true``.

    Args:
        format: csv, tsv, jsonl or parquet.
        decimals: how many decimals numbers of a column have in CSV and TSV; others as Python
            writes them.

    Raises:
        SettingError: a format that cannot be written. TextError: of CSV and TSV, a row with a
            column that is not among them. MissingExtraError: Parquet without pyarrow.
    """
    if format == "parquet":
        pyarrow = load_pyarrow()
        found = list(rows)
        names = dict.fromkeys([*columns, *itertools.chain.from_iterable(found)])
        listed = [{name: row.get(name) for name in names} for row in found]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(listed), file)
    elif format == "jsonl":
        for row in rows:
            file.write(f"{json_row(row)}\n".encode(errors="replace"))
    elif format in ("csv", "tsv"):
        text = io.TextIOWrapper(file, "utf-8", "replace", newline="", write_through=True)
        writer = csv.writer(text, delimiter="," if format == "csv" else "\t", lineterminator="\n")
        writer.writerow(columns)
        places = [(name, decimals.get(name)) for name in columns]
        known = set(columns)
        for row in rows:
            if not row.keys() <= known:
                name = next(name for name in row if name not in known)
                raise TextError(
                    f"a row has the column '{name}', which the first rows lack",
                    hint="Write JSON lines, whose rows may differ",
                )
            writer.writerow([_cell(row.get(name), digits) for name, digits in places])
        text.detach()
    else:
        allowed = ", ".join(TABLE_FORMATS[:-1])
        raise SettingError(f"the format is '{format}', allowed are {allowed}")


def _cell(value: Any, decimals: int | None) -> Any:
    if value is None:
        return ""
    if decimals is not None and isinstance(value, float):
        return f"{value:.{decimals}f}"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def json_row(row: Mapping[str, Any]) -> str:
    """A row as JSON, which knows no infinity: such a number is null, and the row says so.

    >>> json_row({"word": "the", "bits": float("inf")})
    '{"word": "the", "bits": null, "infinite": true}'
    """
    infinite = [
        name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)
    ]
    if infinite:
        row = {**row, **dict.fromkeys(infinite), "infinite": True}
    return json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
