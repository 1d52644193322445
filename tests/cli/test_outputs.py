"""Outputs that are refused before the work: files that are read, and names of other formats."""

from __future__ import annotations

import os
import subprocess
import sys
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
    Path("cut.json").write_text('{"a": 5}')
    Path("m.fst.txt").write_text("")
    Path("c.csv").write_text("the\t1\n")
    Path("pieces.model").write_text("")
    Path("lattices").mkdir()
    Path("m.gradients.jsonl").write_text('{"text": "the cat"}\n')
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
    "train tagger t.txt --set language_model=m.safetensors -o m.safetensors",
    "train ngram t.txt --tokens pieces.model -o pieces.model",
    "count t.txt --tokens pieces.model -o pieces.model",
    "train net t.txt -o new.safetensors --set checkpoint=t.txt",
    "train tagger t.txt -o new.safetensors --set checkpoint=t.txt",
    "train net m.gradients.jsonl -o m --set monitor=true",
    "train net t.txt --valid m.gradients.jsonl -o m --set monitor=true",
    "count t.txt -o t.txt",
    "train ngram t.txt --from-counts -o t.txt",
    "generate m.safetensors -o m.safetensors",
    "mix m.safetensors m.safetensors --tune v.txt -o v.txt",
    "filter m.safetensors w.txt --words w.txt",
    "export m.safetensors m.safetensors",
    "rescore m.safetensors hyps --format kaldi -o hyps",
    "rescore m.safetensors hyps --format kaldi --references refs --scores refs",
    "rescore m.safetensors hyps --format kaldi --acoustic refs -o refs",
    "prune m.safetensors w.txt --order 1 --history w.txt",
    "convert m.safetensors m.fst.txt --symbols m.fst.txt",
    "surprisal m.safetensors items.csv --frequencies c.csv -o c.csv",
    "surprisal m.safetensors items.csv -o items.csv",
    "annotate m.safetensors rows.jsonl -o rows.jsonl",
    "annotate m.safetensors rows.jsonl -o new.jsonl --rejected rows.jsonl",
    "annotate m.safetensors rows.jsonl -o new.jsonl --buckets a,b --cutoffs cut.json "
    "--rejected cut.json",
    "rescore m.safetensors lattices --format slf -o lattices",
    "rescore m.safetensors lattices --format srilm -o lattices",
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


def test_standard_input_is_a_file_that_is_read(folder: Path) -> None:
    for words in ("count - -o t.txt", "train ngram - -o t.txt"):
        command = [sys.executable, "-m", "unrolled", *words.split()]
        with Path("t.txt").open("rb") as text:
            done = subprocess.run(command, stdin=text, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "it is read" in done.stderr
    assert Path("t.txt").read_text() == TEXT


def test_a_model_may_be_changed_in_its_place(folder: Path, run: Run) -> None:
    assert run("convert", "m.safetensors", "m.safetensors", "--quantize", 8)[0] == 0
    assert unrolled.load("m.safetensors").trie.quantized
    Path("w.txt").write_text("the\ncat\n")
    assert run("filter", "m.safetensors", "m.safetensors", "--words", "w.txt")[0] == 0
    assert list(unrolled.load("m.safetensors").vocabulary)[3:] == ["the", "cat"]
    assert run("prune", "m.safetensors", "m.safetensors", "--order", 1)[0] == 0
    assert unrolled.load("m.safetensors").order == 1
    assert run("mix", "m.safetensors", "--cache", 9, "-o", "m.safetensors")[0] == 0
    assert unrolled.load("m.safetensors").kind == "mixture"


def test_counts_may_be_added_to_in_their_place(folder: Path, run: Run) -> None:
    assert run("count", "t.txt", "-o", "all", "--order", 1)[0] == 0
    assert run("count", "all", "all", "--from-counts", "-o", "all")[0] == 0
    assert "the\t4\n" in Path("all").read_text()


@pytest.mark.parametrize("name", ["word", "word.d/m.safetensors", ".hidden/m.safetensors"])
def test_a_model_is_trained_anew_where_it_was(folder: Path, run: Run, name: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    for order in (1, 2):
        options = ("--smoothing", "witten-bell", "--order", order)
        assert run("train", "ngram", "books", "-o", name, *options)[0] == 0
        assert unrolled.load(name).order == order


def test_a_hidden_output_is_in_no_folder_of_texts(folder: Path, run: Run) -> None:
    Path("books/.out").mkdir()
    for _ in range(2):
        assert run("count", "books", "-o", "books/.out/counts")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        "train net t.txt -o n.safetensors --set checkpoint=n.safetensors",
        "train tagger t.txt -o n.safetensors --set checkpoint=./n.safetensors",
        "train net t.txt -o n --set monitor=true --set checkpoint=n.gradients.jsonl",
        "annotate m.safetensors rows.jsonl -o n.jsonl --rejected n.jsonl",
        "annotate m.safetensors rows.jsonl -o n.jsonl --buckets a,b --save-cutoffs n.jsonl",
        "rescore m.safetensors hyps --format kaldi -o n --scores n",
    ],
)
def test_two_outputs_have_two_names(folder: Path, run: Run, words: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "two outputs have" in err
    assert not list(folder.glob("n*"))


def test_python_does_not_write_over_a_text_either(folder: Path) -> None:
    for write in (unrolled.train_ngram_file, unrolled.count_into_file):
        with pytest.raises(unrolled.SettingError, match="it is read"):
            write("t.txt", "t.txt", order=2)
    assert Path("t.txt").read_text() == TEXT


def _no_work(*_: object, **__: object) -> None:
    raise AssertionError("the work has begun")


@pytest.mark.parametrize("name", ["m.gz", "m.zst", "m.safetensors.XZ", "m.pt", "-"])
@pytest.mark.parametrize("what", ["ngram", "net", "tagger"])
def test_names_of_what_is_no_model(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, what: str, name: str
) -> None:
    monkeypatch.setattr("unrolled.cli.progress.Stages.__enter__", _no_work)
    code, _, err = run("train", what, "t.txt", "-o", name)
    assert code == 2
    assert (".arpa" in err) == (what == "ngram" and name in ("m.pt", "-"))
    assert ".safetensors" in err
    assert not Path(name).exists()


@pytest.mark.parametrize("name", ["m.arpa", "m.lm", "m.ARPA.gz"])
@pytest.mark.parametrize(
    "words",
    ["train net none.txt", "train tagger none.txt", "mix m.safetensors --cache 9 --tune none.txt"],
)
def test_only_ngram_models_become_arpa(folder: Path, run: Run, words: str, name: str) -> None:
    code, _, err = run(*words.split(), "-o", name)
    assert code == 2
    assert err.startswith(f"unrolled: {name}: this is the name of an ARPA file")
    assert not Path(name).exists()


def test_python_refuses_names_before_the_work_too(folder: Path) -> None:
    for name in ("m.gz", "m.lm"):
        with pytest.raises(unrolled.SettingError, match=rf"^{name}: "):
            unrolled.train_ngram_file("nothing.txt", name)


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
    code, out, _ = run(*words.split())  # one that compiles kernels says so
    assert code == 0
    assert run(*words.split(), "-o", "-")[:2] == (code, out)
    assert not Path("-").exists()


def test_counts_to_standard_output_stand_after_what_it_has(folder: Path, run: Run) -> None:
    assert run("count", "t.txt", "-o", "counts", "--order", 1)[0] == 0
    counts = Path("counts").read_text()
    command = f"'{sys.executable}' -m unrolled count t.txt --order 1 -o -"
    for redirected in (f"{command} >> out", f"( {command}; echo two ) >> out"):
        Path("out").write_text("one\n")
        subprocess.run(redirected, shell=True, check=True, capture_output=True)
        end = "two\n" if "echo" in redirected else ""
        assert Path("out").read_text() == f"one\n{counts}{end}"
    piped = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    assert piped.stdout == counts


@pytest.mark.parametrize(
    "words",
    ["export m.safetensors -", "rescore m.safetensors hyps --format kaldi --scores -"],
)
def test_files_are_not_named_by_a_hyphen(folder: Path, run: Run, words: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "this is written to a file, not to standard output" in err


def test_annotated_rows_keep_their_format(folder: Path, run: Run) -> None:
    for name in ("new.parquet", "new.csv"):
        code, _, err = run("annotate", "m.safetensors", "rows.jsonl", "-o", name)
        assert code == 2
        assert err.endswith("End the name in .jsonl.\n")
    assert run("annotate", "m.safetensors", "rows.jsonl", "-o", "new.data")[0] == 0
