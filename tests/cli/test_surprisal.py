"""``unrolled surprisal`` as its users call it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chain_model import TEXTS
from unrolled import train_ngram

Run = Callable[..., tuple[int, str, str]]

TABLE = """\ufeffitem;condition;text\r
1;a;"The cat, sat\r
on the dog"\r
2;b;Кот ""\r
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    train_ngram(texts=TEXTS, order=3, smoothing="witten-bell").save(path)
    return path


def table_of(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out)))


def test_words_have_the_scores_of_score(run: Run, model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat is small\na bird sat\n")
    code, out, err = run("surprisal", model, text, "--eos")
    assert (code, err) == (0, "")
    _, scored, _ = run("score", model, text, "--by", "word", "--unit", "bits")
    expected = list(csv.DictReader(io.StringIO(scored), delimiter="\t"))
    rows = table_of(out)
    assert list(rows[0]) == [
        "row", "position", "word", "length", "surprisal", "entropy", "next_entropy", "oov",
        "log_frequency",
    ]  # fmt: skip
    assert [(row["row"], row["word"], row["surprisal"], row["oov"]) for row in rows] == [
        (row["sentence"], row["word"], row["bits"], row["oov"]) for row in expected
    ]


def test_tables_of_excel_in_other_formats(run: Run, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "stimuli.csv"
    table.write_bytes(TABLE.encode())
    target = tmp_path / "out.tsv.gz"
    given = ("--lower", "--no-entropy", "--punctuation", "apart", "--no-text")
    assert run("surprisal", model, table, "-o", target, *given) == (0, "", "")
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(target.read_bytes()).decode()),
                               delimiter="\t"))  # fmt: skip
    assert [(row["item"], row["condition"], row["word"], row["oov"]) for row in rows] == [
        ("1", "a", "The", "0"), ("1", "a", "cat", "0"), ("1", "a", ",", "1"),
        ("1", "a", "sat", "0"), ("1", "a", "on", "0"), ("1", "a", "the", "0"),
        ("1", "a", "dog", "0"),
        ("2", "b", "Кот", "1"), ("2", "b", '"', "1"), ("2", "b", '"', "1"),
    ]  # fmt: skip
    assert "text" not in rows[0]
    code, out, _ = run("surprisal", model, table, "--format", "jsonl", "--unknown", "skip")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert found[-1]["surprisal"] is None
    assert found[-1]["word"] == '""'
    pytest.importorskip("pyarrow")
    parquet = tmp_path / "out.parquet"
    assert run("surprisal", model, model, table, "-o", parquet)[0] == 0
    code, out, _ = run("surprisal", model, parquet, "--field", "word", "--group-by", "item")
    assert {"surprisal_small", "surprisal_small-2", "surprisal"} <= set(table_of(out)[0])


def test_standard_input_and_regions(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"item\tregion\n1\tthe cat\n1\tis small\n2\ta dog\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    code, out, _ = run(
        "surprisal", model, "-", "--field", "region", "--group-by", "item", "--by", "region"
    )
    assert code == 0
    assert [(row["item"], row["region_number"], row["word"], row["words"])
            for row in table_of(out)] == [
        ("1", "1", "the cat", "2"), ("1", "2", "is small", "2"), ("2", "1", "a dog", "2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--field", "sentence"], "there is no column 'sentence' among 'item', 'condition', "
         "'text'. Name the column of the text (--field)."),
        (["--by", "region"], "a row a region needs regions. Give the sign that separates them"),
        (["--group-by", "trial"], "there is no column 'trial' among 'item', 'condition', 'text'"),
        (["--input-format", "xls"], "--input-format is 'xls', allowed are csv, tsv, jsonl"),
        (["--format", "xls"], "--format is 'xls', allowed are csv, tsv, jsonl, parquet"),
        (["-o", "x.xls"], "x.xls: the name does not tell the format of the table. End it in .csv"),
        (["--unknown", "0"], "unknown is '0', allowed are class, each, skip, and the number"),
        (["--frequencies", "missing"], "missing: there is no such file"),
    ],
)  # fmt: skip
def test_errors_are_sentences(
    run: Run, model: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    table = tmp_path / "stimuli.csv"
    table.write_bytes(TABLE.encode())
    code, out, err = run("surprisal", model, table, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_table_without_words(run: Run, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "empty.csv"
    table.write_text("text\n")
    code, _, err = run("surprisal", model, table)
    assert (code, err) == (2, f"unrolled: {table}: the table has no words\n")
    table.write_text('text\na\n""\n" "\n')
    code, out, err = run("surprisal", model, table)
    assert (code, len(table_of(out)), err) == (0, 1, "note: 2 texts have no words and no rows\n")
