"""Parquet: the same fields as of JSONL, every other column unchanged, killed or not."""

from __future__ import annotations

import datetime
import json
import os

import numpy as np
import pytest

from unrolled import Annotation, SettingError, TextError, annotate_file
from unrolled.documents import outputs, parquet_files
from unrolled.documents.outputs import UnfinishedFile

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = ["the cat sat", "The Dog\nsat on the cat\n\nthe mat", "", "a zebra é日 the"] * 40


def table(texts=TEXTS):
    count = len(texts)
    return pyarrow.table(
        {
            "id": pyarrow.array(range(count), pyarrow.uint32()),
            "text": pyarrow.array(texts, pyarrow.string()),
            "when": [datetime.datetime(2020, 1, 1 + n % 28) for n in range(count)],
            "nested": [{"a": [n, None], "b": b"\xff"} for n in range(count)],
            "kind": pyarrow.array([f"k{n // 50}" for n in range(count)]).dictionary_encode(),
        }
    ).replace_schema_metadata({"author": "somebody"})


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "_ROWS", (8, 16))
    path = tmp_path / "in.parquet"
    parquet.write_table(table(), path, row_group_size=50)
    return path


@pytest.mark.parametrize(
    "settings",
    [{}, {"by": "paragraph"}, {"by": "worst", "keep": "oov < 2"}, {"buckets": ("a", "b", "c")}],
)
def test_columns_are_those_of_jsonl(models, source, tmp_path, write_rows, settings):
    output, lines = tmp_path / "out.parquet", tmp_path / "out.jsonl"
    annotation = Annotation(**settings)
    annotate_file([models["words"]], source, output, annotation)
    rows = write_rows({"id": number, "text": text} for number, text in enumerate(TEXTS))
    annotate_file([models["words"]], rows, lines, annotation)
    expected = [json.loads(line) for line in lines.read_text().splitlines()]
    found = parquet.read_table(output)
    new = [name for name in expected[0] if name not in ("id", "text")]
    assert found.select(["id", "text", *new]).to_pylist() == expected
    kept = [row["id"] for row in expected]
    assert found.drop_columns(new).equals(table().take(kept))
    assert found.schema.metadata == {b"author": b"somebody"}
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob("*rejected*"))


def test_a_pipe_for_broken_rows_stays(models, source, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    annotate_file([models["words"]], source, tmp_path / "out.parquet", rejected=pipe)
    assert pipe.is_fifo()


def test_rows_without_text_are_set_aside(models, tmp_path):
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    broken = table(["a", None, "b", None])
    column = pyarrow.array([b"a", None, b"\xff", b"b"]).cast(pyarrow.string(), safe=False)
    for texts, numbers in ((broken, [2, 4]), (broken.set_column(1, "text", column), [2, 3])):
        parquet.write_table(texts, source)
        done = annotate_file([models["words"]], source, output)
        assert (done.rows, done.kept, done.rejected) == (2, 2, 2)
        aside = parquet.read_table(tmp_path / "out.parquet.rejected.parquet")
        assert aside.column("row_number").to_pylist() == numbers
        assert aside.column("id").to_pylist() == [number - 1 for number in numbers]
        assert aside.column("problem")[0].as_py() == "the column 'text' has no value"
    before = output.read_bytes()
    parquet.write_table(table([None, None]), source)
    with pytest.raises(TextError, match="all rows are broken: nothing is written"):
        annotate_file([models["words"]], source, output)
    assert output.read_bytes() == before
    parquet.write_table(broken.slice(0, 0), source)
    annotate_file([models["words"]], source, output)
    assert parquet.read_table(output).num_rows == 0
    assert parquet.read_schema(output).names[-4:] == ["perplexity", "log_prob", "tokens", "oov"]


def test_killed_and_run_again_it_makes_the_same(models, source, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "COMMIT_SECONDS", 0)
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    annotate_file([models["words"]], source, whole)
    rng, append = np.random.default_rng(1), UnfinishedFile.append
    stops = 0
    while not output.exists():
        left = int(rng.integers(1, 6))

        def fails(*arguments):
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            append(*arguments)

        monkeypatch.setattr(UnfinishedFile, "append", fails)
        try:
            annotate_file([models["words"]], source, output)
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 2
    assert output.read_bytes() == whole.read_bytes()


def test_what_is_refused(models, source, tmp_path):
    model = models["words"]
    with pytest.raises(SettingError, match="rows of Parquet are written as Parquet"):
        annotate_file([model], source, tmp_path / "out.jsonl")
    with pytest.raises(TextError, match="the column 'body' is missing among 'id', 'text'"):
        annotate_file([model], source, tmp_path / "out.parquet", Annotation(field="body"))
    with pytest.raises(TextError, match="the column 'id' is uint32, not string"):
        annotate_file([model], source, tmp_path / "out.parquet", Annotation(field="id"))
    annotate_file([model], source, tmp_path / "out.parquet")
    with pytest.raises(SettingError, match="has the column 'perplexity' already"):
        annotate_file([model], tmp_path / "out.parquet", tmp_path / "again.parquet")
    replaced = Annotation(overwrite=True)
    annotate_file([model], tmp_path / "out.parquet", tmp_path / "again.parquet", replaced)
    first, second = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("out", "again"))
    assert first.equals(second)
    source.write_bytes(b"PAR1 and more that is none of it PAR1")
    with pytest.raises(TextError, match="the Parquet file is broken"):
        annotate_file([model], source, tmp_path / "out.parquet")
