"""Outputs that are refused before the work: files that are read, and names of other formats."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import unrolled
from cli.conftest import Run

TEXT = "the cat sat\nthe dog sat\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("t.txt", "v.txt", "w.txt", "c.toml", "books/b.txt", "hyps", "refs", "items.csv"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT)
    Path("c.toml").write_text("order = 2\n")
    Path("hyps").write_text("u-1 the cat\nu-2 the dog\n")
    Path("refs").write_text("u the cat\n")
    Path("items.csv").write_text("sentence\nthe cat\n")
    Path("rows.jsonl").write_text('{"text": "the cat"}\n')
    unrolled.train_ngram("t.txt", order=2, smoothing="witten-bell").save("m.safetensors")
    return tmp_path


READ = [
    "train ngram t.txt -o t.txt",
    "train ngram ./t.txt -o books/../t.txt",
    "train ngram books -o books/b.txt",
    "train ngram t.txt --vocabulary w.txt -o w.txt",
    "train ngram t.txt --config c.toml -o c.toml",
    "train net t.txt -o t.txt",
    "train net t.txt --valid v.txt -o v.txt",
    "train tagger t.txt --valid v.txt -o v.txt",
    "train tagger t.txt --vectors w.txt -o w.txt",
    "train net t.txt -o new.safetensors --set checkpoint=t.txt",
    "train tagger t.txt -o new.safetensors --set checkpoint=t.txt",
    "count t.txt -o t.txt",
    "count t.txt --from-counts -o t.txt",
    "generate m.safetensors -o m.safetensors",
    "mix m.safetensors m.safetensors --tune v.txt -o v.txt",
    "mix m.safetensors --cache 100 -o m.safetensors",
    "filter m.safetensors w.txt --words w.txt",
    "export m.safetensors m.safetensors",
    "rescore m.safetensors hyps --format kaldi -o hyps",
    "rescore m.safetensors hyps --format kaldi --references refs --scores refs",
    "surprisal m.safetensors items.csv -o items.csv",
    "annotate m.safetensors rows.jsonl -o rows.jsonl",
    "annotate m.safetensors rows.jsonl -o new.jsonl --rejected rows.jsonl",
]


@pytest.mark.parametrize("words", READ)
def test_a_file_that_is_read_is_not_written_over(folder: Path, run: Run, words: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "it is read, and would be written over" in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_link_to_a_text_is_the_text(folder: Path, run: Run) -> None:
    Path("link.txt").symlink_to("t.txt")
    os.link("t.txt", "same.txt")
    for name in ("link.txt", "same.txt"):
        code, _, err = run("count", "t.txt", "-o", name)
        assert code == 2
        assert err.startswith(f"unrolled: {name}: it is read")
    assert Path("t.txt").read_text() == TEXT


@pytest.mark.parametrize("words", ["prune {0} {0} --order 1", "convert {0} {0} --quantize 8"])
def test_a_model_may_be_changed_in_its_place(folder: Path, run: Run, words: str) -> None:
    assert run(*words.format("m.safetensors").split())[0] == 0
    assert unrolled.load("m.safetensors").order in (1, 2)


def test_python_does_not_write_over_a_text_either(folder: Path) -> None:
    for write in (unrolled.train_ngram_file, unrolled.count_into_file):
        with pytest.raises(unrolled.SettingError, match="it is read"):
            write("t.txt", "t.txt", order=2)
    assert Path("t.txt").read_text() == TEXT


@pytest.mark.parametrize("name", ["m.gz", "m.zst", "m.safetensors.XZ", "m.pt", "-"])
@pytest.mark.parametrize(
    "words", ["train ngram t.txt", "train net t.txt", "train tagger t.txt", "mix m.safetensors"]
)
def test_names_of_what_is_no_model(folder: Path, run: Run, words: str, name: str) -> None:
    code, _, err = run(*words.split(), "-o", name)
    assert code == 2
    assert ".safetensors" in err
    assert not Path(name).exists()


def test_a_model_is_not_written_to_a_pipe(folder: Path, run: Run) -> None:
    os.mkfifo("pipe")
    code, _, err = run("train", "net", "t.txt", "-o", "pipe")
    assert (code, err) == (2, "unrolled: pipe: is a pipe, and a model needs a file\n")


def test_arpa_by_its_name_in_any_case(folder: Path, run: Run) -> None:
    assert run("convert", "m.safetensors", "m.ARPA")[0] == 0
    assert Path("m.ARPA").read_text().startswith("#")
    assert unrolled.load("m.ARPA").order == 2
    with pytest.raises(unrolled.SettingError, match="the name of an ARPA file"):
        unrolled.load("m.safetensors").save("new.arpa")


@pytest.mark.parametrize(
    "words", ["generate m.safetensors --seed 1", "rescore m.safetensors hyps --format kaldi"]
)
def test_a_hyphen_is_standard_output(folder: Path, run: Run, words: str) -> None:
    printed = run(*words.split())
    assert printed[0] == 0
    assert run(*words.split(), "-o", "-") == printed
    assert not Path("-").exists()


def test_annotated_rows_keep_their_format(folder: Path, run: Run) -> None:
    for name in ("new.parquet", "new.csv"):
        code, _, err = run("annotate", "m.safetensors", "rows.jsonl", "-o", name)
        assert code == 2
        assert err.endswith("End the name in .jsonl.\n")
    assert run("annotate", "m.safetensors", "rows.jsonl", "-o", "new.data")[0] == 0
