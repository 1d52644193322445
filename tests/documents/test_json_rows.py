"""Rows of JSONL: every row that Python reads is read alike, and only new fields are added."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unrolled.documents.json_rows import JsonRows, RowFormat
from unrolled.documents.row_layout import BLANK, BROKEN, DEPTH, OK, STATUS
from unrolled.errors import SettingError

FORM = RowFormat("text", ["ppl", "oov"], [False, True])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
RECORDS = st.dictionaries(st.sampled_from(["a", "te", "textx", "é"]) | st.text(max_size=4), VALUES)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " :\r")])
PIECES = '{}[]",:\\ tu0123456789.eE+-nulltruefalseNaNInfinity\t\x01bnrf/é'
ROWS = [
    '{"text": "a", "b": [1, {"c": -1.5e+3}, null, true, NaN]}',
    '{"b": "\\u00e9\\n", "text": ""}',
]


def parse(data: bytes, first_line: int = 1, form: RowFormat = FORM) -> JsonRows:
    return form.parse(data, data.count(b"\n") + 1, lambda line: f"in.jsonl:{first_line + line}")


def added(data: bytes, ppl: float, n: float, form: RowFormat = FORM) -> bytes:
    rows = parse(data, 1, form)
    count = len(rows.documents)
    values, places = np.array([[ppl] * count, [n] * count]), np.arange(count)
    bounds = np.stack([places, places + 1], 1)
    return bytes(form.write(rows, np.ones(count, bool), values, bounds, np.full(count, -1)))


@given(RECORDS, st.text() | VALUES, st.booleans(), SEPARATORS)
@settings(max_examples=120, deadline=None)
def test_rows_of_python_and_their_texts(record, text, ascii_only, separators):
    record["text"] = text
    row = json.dumps(record, ensure_ascii=ascii_only, separators=separators)
    data = row.encode(errors="replace")
    text = json.loads(data)["text"]
    rows = parse(data + b"\n")
    if not isinstance(text, str):
        assert rows.table[0, STATUS] == BROKEN and rows.text == b""
        return
    assert rows.table[0, STATUS] == OK
    assert rows.text == text.encode(errors="replace") + b"\n"
    assert rows.lines.tolist() == [text.count("\n") + 1]
    assert added(data, 2.5, 7) == data[:-1] + b', "ppl": 2.5, "oov": 7}\n'


@given(
    st.text(PIECES, max_size=30),
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["", *PIECES])), max_size=3),
    st.sampled_from(ROWS),
)
@example('"\\ud83d\\ude00\\ud83d x\\udc00"', [], ROWS[0])
@example("[" * 5 + "]" * 5, [], ROWS[0])
@settings(max_examples=350, deadline=None)
def test_what_python_refuses_is_broken(piece, edits, row):
    for place, letter in edits:
        row = row[:place] + letter + row[place + 1 :]
    for each in (row, piece, f'{{"text": "x", "y":{piece}}}', f'{{"text": {piece}}}'):
        rows = parse(each.encode())
        if not each.strip(" \t\r"):
            assert (rows.table[:, STATUS] == BLANK).all()
            continue
        try:
            found = json.loads(each)
            text = found["text"] if isinstance(found, dict) else None
        except (ValueError, KeyError):
            text = None
        assert (rows.table[0, STATUS] == OK) == isinstance(text, str)
        assert rows.text == (f"{text}\n".encode(errors="replace") if isinstance(text, str) else b"")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"{", "the line is not JSON (Expecting property name enclosed in double quotes)"),
        (b"[1]", "the line is JSON but not an object"),
        (b'{"a": 1}', "the field 'text' is missing among the fields 'a'"),
        (b'{"text": null}', "the field 'text' is not a string"),
        (b'{"text": "\xff"}', "byte 0xff at column 11 is not UTF-8"),
        (
            b'{"text": "a", "b": ' + b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1) + b"}",
            f"the line is nested more than {DEPTH} levels deep",
        ),
    ],
)
def test_what_is_wrong_with_a_row(row, problem):
    data = b'{"text": "a"}\n\n' + row + b'\n{"text": "b"}'
    rows = parse(data)
    assert rows.broken("text") == [(2, problem, row)]
    assert rows.text == b"a\nb\n"
    assert added(data, 1, 2).count(b"\n") == 2


def test_the_last_of_fields_that_come_twice_counts_and_names_may_be_escaped():
    data = b'{"text": "long text", "te\\u0078t": "a"}'
    assert parse(data).text == b"a\n"
    assert parse(b'{"text": "a", "text": 1}').text == b""


@given(st.floats())
@example(-0.0)
@example(1e12)
@example(123456.7891234)
@example(9.9999999e300)
@settings(max_examples=300, deadline=None)
def test_numbers_have_six_decimals(number):
    shown = json.loads(added(b'{"text": ""}', number, 3))["ppl"]
    if math.isfinite(number):
        assert shown == pytest.approx(number, rel=1e-6, abs=5.1e-7)
        assert abs(number) >= 1e9 or shown == round(number, 6) or round(number, 6) != number
    else:
        assert shown is None


@pytest.mark.parametrize("number", [0, 7, 10, 999_999_999_999])
def test_integers_are_integers(number):
    assert added(b'{"text": ""}', 1, number).endswith(b', "oov": %d}\n' % number)


def test_fields_that_exist_are_refused_or_replaced():
    data = b'{"text": "a"}\n{"ppl" :1,"x": 1e5, "text":"b" , "oov": [2], "oov": {}}\n'
    with pytest.raises(SettingError) as error:
        parse(data, 11)
    assert str(error.value) == (
        "in.jsonl:12: the row has the field 'ppl' already. Replace such fields with --overwrite, "
        "or name the new ones with --names."
    )
    form = RowFormat("text", ["ppl", "oov"], [False, True], overwrite=True)
    assert added(data, 1.5, 2, form) == (
        b'{"text": "a", "ppl": 1.5, "oov": 2}\n{"x": 1e5, "text":"b", "ppl": 1.5, "oov": 2}\n'
    )
    with pytest.raises(SettingError, match="in.jsonl:1: the row has the field 'oov' already"):
        parse(b'{"\\u006fov": 1, "text": ""}')


def test_the_kernels_stay_within_their_arrays():
    from unrolled.documents.json_rows import _SCAN, _WRITE

    rng = np.random.default_rng(1)
    block = np.frombuffer(b'{"text": "a"}\n' * 3, np.uint8)
    field = np.frombuffer(b"text", np.uint8)
    names, ends, stack = np.frombuffer(b"oov", np.uint8), np.array([1]), np.empty(4, np.uint8)
    small: Any = _SCAN(
        block, field, names, ends, stack, np.empty(9, np.uint8), np.empty((9, 5), int)
    )
    assert small == (-1, -1)
    small = _SCAN(block, field, names, ends, stack, np.empty(99, np.uint8), np.empty((2, 5), int))
    assert small == (-1, -1)
    for _ in range(200):
        table = rng.integers(-50, 50, (2, 5))
        out = np.empty(60, np.uint8)
        written = _WRITE(
            block, table, np.ones((1, 2)), rng.integers(-3, 4, (2, 2)), 1, ends,
            names, ends, np.array([0, 0]), out,
        )  # fmt: skip
        assert -1 <= written <= 60
