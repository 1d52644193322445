"""Tables of texts in every format, and what is wrong with some."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import SettingError, TextError
from unrolled.text.tables import read_table, write_table

ROWS = [
    {"item": "1", "text": "the cat\nsat", "note": 'a "b", c'},
    {"item": "2", "text": "你好 мир\u2028x", "note": ""},
]


def as_bytes(rows: list[dict[str, Any]], format: str) -> bytes:
    file = io.BytesIO()
    write_table(file, list(rows[0]), rows, format=format, decimals={})
    return file.getvalue()


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_are_read_as_they_were_written(tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table.{format}"
    path.write_bytes(as_bytes(ROWS, format))
    rows = list(read_table(path))
    assert [dict(row.values) for row in rows] == ROWS
    assert [row.text for row in rows] == [row["text"] for row in ROWS]
    assert [row.text for row in read_table(path, field="note")] == ['a "b", c', ""]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_separators_and_signatures(
    tmp_path: Path, newline: str, separator: str, bom: bytes
) -> None:
    lines = [separator.join(cells) for cells in (["n", "sentence"], ["1", '"a, ""b"";\tc"'])]
    path = tmp_path / "table.csv"
    path.write_bytes(bom + newline.join([*lines, ""]).encode())
    assert [row.text for row in read_table(path)] == ['a, "b";\tc']
    assert [row.place for row in read_table(path)] == [f"{path}:2"]


def test_files_without_a_suffix_are_recognised_by_their_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.txt"
    for content, texts in (
        ('{"text": "a b"}\n{"text": "c"}\n', ["a b", "c"]),
        ("item,text\n1,a b\n", ["a b"]),
        ("item\tsentence\n1\ta b\n", ["a b"]),
        ("Item;Sentence\n1;a b\n", ["a b"]),
        ("the text, of lines\n\nb\n", ["the text, of lines", "", "b"]),
        ("", []),
    ):
        path.write_text(content)
        assert [row.text for row in read_table(path)] == texts
    path.write_text("item,stimulus\n1,a b\n")
    assert [row.text for row in read_table(path, field="stimulus")] == ["a b"]
    assert [row.text for row in read_table(path, format="text")] == ["item,stimulus", "1,a b"]


def test_quotes_may_be_characters(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text('n\ttext\n1\t"Go" she said\n2\t"the end\n')
    texts = [row.text for row in read_table(path, quotes=False)]
    assert texts == ['"Go" she said', '"the end']
    with pytest.raises(TextError, match=r"tsv:2: the quotes of the row are wrong .* --no-quotes"):
        list(read_table(path))


def test_texts_mappings_and_data_frames() -> None:
    assert [(row.values, row.text) for row in read_table(["a", "b"])] == [({}, "a"), ({}, "b")]
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for frame in (pandas.DataFrame(ROWS), polars.DataFrame(ROWS)):
        assert [dict(row.values) for row in read_table(frame)] == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", r"csv:1: there is no column 'text' or 'sentence' among 'a', 'b'. Name"),
        ("text,text\nx,y\n", "csv:1: two columns are called 'text'. Rename one"),
        ("text,b\nx\n", "csv:2: the row has 1 cells, and the header has 2. Quote cells"),
        ('text,b\nx,y\n"x,y\nz,\n', "csv:3: the quotes of the row are wrong"),
        (b"text,b\nx\xff,\n", "csv:2: byte 0xff at offset 8 is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TextError, match=message):
        list(read_table(path))


def test_other_errors(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    for line, message in (
        ('{"text": 3}', "jsonl:2: the column 'text' is 3, not a text"),
        ('{"text": null}', "jsonl:2: the column 'text' has no value"),
        ("[1]", "jsonl:2: the line is JSON but not an object"),
        ("{", "jsonl:2: the line is not JSON"),
    ):
        path.write_text(f'{{"text": "a"}}\n{line}\n')
        with pytest.raises(TextError, match=message):
            list(read_table(path))
    with pytest.raises(TextError, match="there is no column 'x' among 'text'"):
        list(read_table(path, field="x"))
    with pytest.raises(TextError, match="plain text, which has no column 'x'"):
        list(read_table(path, field="x", format="text"))
    with pytest.raises(SettingError, match="the format is 'xls', allowed are csv, tsv"):
        read_table(path, format="xls")
    with pytest.raises(TextError, match="no such file"):
        list(read_table(tmp_path / "missing.csv"))
    with pytest.raises(TextError, match="no such file"):
        list(read_table(tmp_path / "missing.parquet"))
    with pytest.raises(TextError, match="a row has the column 'b', which the first rows lack"):
        write_table(io.BytesIO(), ["a"], [{"a": 1, "b": 2}], format="csv", decimals={})


def test_cells_of_tables() -> None:
    row = {"a": 0.1, "b": 1 / 3, "c": None, "d": [1], "e": float("inf")}
    file = io.BytesIO()
    write_table(file, list(row), [row], format="csv", decimals={"b": 3, "e": 3})
    assert file.getvalue().decode() == "a,b,c,d,e\n0.1,0.333,,[1],inf\n"
    file = io.BytesIO()
    write_table(file, list(row), [row], format="jsonl", decimals={})
    assert json.loads(file.getvalue()) == {**row, "e": None, "infinite": True}


def test_a_first_line_too_long_for_a_header_is_text(tmp_path):
    path = tmp_path / "long"
    path.write_text("word " * 40_000 + "\nthe cat\n")
    assert [row.text[:7] for row in read_table(path)] == ["word wo", "the cat"]
