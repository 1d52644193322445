"""``unrolled convert`` to FSTs and class-based models, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Run

import unrolled


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conversion")
    model = unrolled.train_ngram(texts=["a b", "a c"], order=2, smoothing="witten-bell")
    model.save(folder / "m.safetensors")
    return folder


def test_fsts(run: Run, folder: Path, tmp_path: Path) -> None:
    kaldifst = pytest.importorskip("kaldifst")
    model, target = folder / "m.safetensors", tmp_path / "lm.fst"
    code, out, err = run("convert", model, target, "--fst-type", "const")
    assert (code, out) == (0, "")
    assert "lm.words.txt" in err
    assert kaldifst.StdConstFst.read(str(target)).start == 1
    assert run("convert", model, tmp_path / "lm.fst.txt")[0] == 0
    assert "\ta\ta\t" in (tmp_path / "lm.fst.txt").read_text()


@pytest.mark.parametrize("name", ["x.bin", "x.klm", "x.binary", "x.pth"])
def test_other_formats_are_refused(run: Run, folder: Path, tmp_path: Path, name: str) -> None:
    code, _, err = run("convert", folder / "m.safetensors", tmp_path / name)
    assert code == 2
    assert f"models are not written as {name[1:]}" in err
    assert ".fst" in err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("convert", "m.arpa", "--symbols", "w.txt"), "--symbols, --disambiguation"),
        (("prune", "m.fst", "--ngrams", 10), "only unrolled convert writes FSTs"),
        (("convert", "m.arpa", "--classes", "c"), "a class-based model is written as .safetensors"),
    ],
)
def test_options_and_names_that_do_not_fit(
    run: Run, folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    command, target, *options = words
    code, _, err = run(command, folder / "m.safetensors", tmp_path / target, *options)
    assert code == 2
    assert message in err


def test_classes_and_the_report_of_srilm(run: Run, tmp_path: Path) -> None:
    texts = ["CITY is big", "go to CITY"]
    model = unrolled.train_ngram(texts=texts, order=2, smoothing="witten-bell")
    unrolled.write_arpa(model, tmp_path / "c.arpa")
    (tmp_path / "classes").write_text("CITY 0.6 rome\nCITY 0.4 oslo\n")
    (tmp_path / "t").write_text("rome is big\n")
    target = tmp_path / "c.safetensors"
    assert run("convert", tmp_path / "c.arpa", target, "--classes", tmp_path / "classes")[0] == 0
    report = run("score", target, tmp_path / "t", "--by", "word", "--format", "srilm")[1]
    assert report.startswith("rome is big\n\tp( rome | <s> ) \t= ")
    assert "1 sentences, 3 words, 0 OOVs\n0 zeroprobs, logprob= " in report
