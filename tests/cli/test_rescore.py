"""``unrolled rescore`` from files to files."""

from __future__ import annotations

import sys

import pytest

import unrolled
from unrolled.cli import main


@pytest.fixture
def files(tmp_path):
    texts = ["the cat sat", "the dog sat", "a cat ran"]
    model = unrolled.train_ngram(texts=texts, order=2, smoothing="witten-bell")
    model.save(tmp_path / "m.safetensors")
    (tmp_path / "text").write_text("u-1 sat cat the\nu-2 the cat sat\nv-1 a cat ran\nv-2 cat a\n")
    (tmp_path / "ac").write_text("u-1 1\nu-2 2\nv-1 1\nv-2 2\n")
    (tmp_path / "ref").write_text("u the cat sat\nv a cat ran\n")
    return tmp_path


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, *capsys.readouterr()


def test_tuned_and_written(files, monkeypatch, capsys):
    code, out, err = run(
        monkeypatch, capsys, "rescore", files / "m.safetensors", files / "text",
        "--format", "kaldi", "--acoustic", files / "ac", "--references", files / "ref", "--tune",
        "-o", files / "out", "--scores", files / "scores",
    )  # fmt: skip
    assert code == 0, err
    assert out == ""
    assert "tuned: --lm-scale" in err
    assert "first:    WER 33.33 % | 6 words" in err
    assert "rescored: WER 0.00 %" in err
    assert (files / "out").read_text().splitlines() == [
        "u-1 the cat sat", "u-2 sat cat the", "v-1 a cat ran", "v-2 cat a",
    ]  # fmt: skip
    scores = (files / "scores").read_text().splitlines()
    assert scores[0] == "hypothesis\ttotal\tlm"
    model = unrolled.load(files / "m.safetensors")
    assert float(scores[1].split("\t")[2]) == pytest.approx(model.score("the cat sat"), abs=1e-5)


def test_given_weights_to_standard_output(files, monkeypatch, capsys):
    words = ("rescore", files / "m.safetensors", files / "text", "--format", "kaldi", "--best")
    assert run(monkeypatch, capsys, *words)[1].splitlines() == ["u the cat sat", "v a cat ran"]
    heavy = (*words, "--acoustic", files / "ac", "--lm-scale", 0)
    assert run(monkeypatch, capsys, *heavy)[1].splitlines() == ["u sat cat the", "v a cat ran"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "kaldi", "--tune"), "--tune needs --references"),
        (("--format", "html"), "the format is 'html'"),
        (("--format", "moses"), "text:1: has 1 fields"),
        (("--format", "kaldi", "--mix", "2"), "mix 2.0 must be from 0 to 1"),
        (("--format", "kaldi", "-o", "no/where/out"), "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(files, monkeypatch, capsys, words, message):
    code, out, err = run(
        monkeypatch, capsys, "rescore", files / "m.safetensors", files / "text", *words
    )
    assert (code, out) == (2, "")
    assert message in err
    assert err.strip().count("\n") == 0


def test_a_folder_of_lists_becomes_a_folder(files, monkeypatch, capsys):
    lists, out = files / "lists", files / "new" / "lists"
    lists.mkdir()
    (lists / "u1.nbest").write_text("-1 -9 3 sat cat the\n-1 -9 3 the cat sat\n")
    (lists / "u2.nbest").write_text("-1 -9 3 a cat ran\n")
    words = ("rescore", files / "m.safetensors", lists, "--format", "srilm", "--mix", 1)
    code, named, err = run(monkeypatch, capsys, *words)
    assert code == 0, err
    assert [line.split()[0] for line in named.splitlines()] == ["u1", "u1", "u2"]
    assert run(monkeypatch, capsys, *words, "-o", out)[0] == 0
    assert sorted(file.name for file in out.iterdir()) == ["u1.nbest", "u2.nbest"]
    lines = (out / "u1.nbest").read_text().splitlines()
    assert [" ".join(line.split()[3:]) for line in lines] == ["the cat sat", "sat cat the"]
    assert [f"u1 {line}" for line in lines] == named.splitlines()[:2]
    code, _, err = run(monkeypatch, capsys, *words, "-o", files / "text")
    assert (code, "text: this is a file. The lists of a folder" in err) == (2, True)
    best = run(monkeypatch, capsys, *words, "--best")[1]
    assert best.splitlines() == ["u1 the cat sat", "u2 a cat ran"]


SLF = """VERSION=1.0
UTTERANCE=u
N=4 L=4
I=0 t=0.0
I=1 t=0.2
I=2 t=0.5
I=3 t=0.9
J=0 S=0 E=1 W=the a=-1.0 l=-1.0
J=1 S=1 E=2 W=cat a=-3.0 l=-2.0
J=2 S=1 E=2 W=cap a=-2.9 l=-2.0
J=3 S=2 E=3 W=sat a=-1.0 l=-2.0
"""
KALDI = "u \n0 1 the 1,1,1\n1 2 cat 2,3,2\n1 2 cap 2,2.9,3\n2 3 sat 2,1,\n3 0,0,\n\n"


@pytest.mark.parametrize("text", [SLF, KALDI], ids=["slf", "kaldi"])
def test_lattices(files, monkeypatch, capsys, text):
    (files / "lat").write_text(text)
    given = ("rescore", files / "m.safetensors", files / "lat", "--mix", 1)
    assert run(monkeypatch, capsys, *given, "--best")[:2] == (0, "u the cat sat\n")
    light = (*given, "--lm-scale", 0)
    assert run(monkeypatch, capsys, *light, "--best")[1] == "u the cap sat\n"
    listed = run(monkeypatch, capsys, *given, "--nbest", 5)[1].splitlines()
    assert listed == ["u-1 the cat sat", "u-2 the cap sat"]
    code, out, err = run(monkeypatch, capsys, *given)
    assert (code, err) == (0, "")
    (files / "again").write_text(out)
    again = ("rescore", files / "m.safetensors", files / "again", "--mix", 0, "--best")
    assert run(monkeypatch, capsys, *again)[1] == "u the cat sat\n"
    code, _, err = run(
        monkeypatch, capsys, *given, "--references", files / "ref1", "--tune", "--scores",
        files / "scores", "-o", files / "out",
    )  # fmt: skip
    assert code == 2
    (files / "ref1").write_text("u the cat sat\n")
    code, _, err = run(
        monkeypatch, capsys, *given, "--references", files / "ref1", "--tune", "--scores",
        files / "scores", "-o", files / "out",
    )  # fmt: skip
    assert code == 0, err
    assert "oracle:   WER 0.00 %" in err
    model = unrolled.load(files / "m.safetensors")
    best = (files / "scores").read_text().splitlines()[1].split("\t")
    assert float(best[2]) == pytest.approx(model.score("the cat sat"), abs=1e-5)
    assert (files / "out").exists()


def test_folders_of_lattices(files, monkeypatch, capsys):
    folder = files / "lattices"
    folder.mkdir()
    for name in ("a.slf", "b.slf"):
        (folder / name).write_text(SLF.replace("UTTERANCE=u\n", ""))
    given = ("rescore", files / "m.safetensors", folder)
    assert run(monkeypatch, capsys, *given, "--best")[1].splitlines() == [
        "a the cat sat", "b the cat sat",
    ]  # fmt: skip
    code, _, err = run(monkeypatch, capsys, *given)
    assert code == 2
    assert "written into a folder" in err
    assert run(monkeypatch, capsys, *given, "-o", files / "out")[0] == 0
    assert sorted(path.name for path in (files / "out").iterdir()) == ["a.slf", "b.slf"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("text",), "the format is not clear from the first lines"),
        (("lat", "--acoustic", "x"), "--acoustic is for n-best lists"),
        (("lat", "--old-lm", "x"), "x: there is no such file"),
        (("text", "--format", "kaldi", "--nbest", "3"), "are for lattices"),
        (("lat", "--format", "slf"), "without a field such as I=0"),
        (("lat", "--format", "kalid"), "the format is 'kalid'"),
    ],
)
def test_errors_of_formats(files, monkeypatch, capsys, words, message):
    (files / "lat").write_text(KALDI)
    code, _, err = run(
        monkeypatch, capsys, "rescore", files / "m.safetensors", files / words[0], *words[1:]
    )
    assert code == 2
    assert message in err
