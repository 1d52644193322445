"""A pipe that stays open: each line is answered before the next one is written."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import unrolled

MAIN = [sys.executable, "-c", "from unrolled.cli import main; main()"]
SECONDS = 60  # in which a process that answers has answered, whatever else runs
LINES = ["the cat sat", "", "a dog é", "the the the"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipes") / "m.safetensors"
    texts = ["the cat sat", "the dog sat"]
    unrolled.train_ngram(texts=texts, order=2, smoothing="witten-bell").save(path)
    return path


@contextmanager
def open_pipe(*words: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [*MAIN, *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as run:
        yield run
        assert run.stdin is not None
        run.stdin.close()
        assert run.wait(SECONDS) == 0


def read_line(run: subprocess.Popen[bytes]) -> str:
    """The next line of output, byte by byte, so that nothing is read ahead."""
    assert run.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([run.stdout], [], [], SECONDS)[0], f"no answer after {line!r}"
        line += os.read(run.stdout.fileno(), 1)
    return line.decode().removesuffix("\n")


def write(run: subprocess.Popen[bytes], text: str) -> None:
    assert run.stdin is not None
    run.stdin.write(text.encode())


def test_score_answers_each_sentence(model):
    with open_pipe("score", model) as run:
        assert read_line(run) == "log10\tsentence"
        for line in LINES:
            write(run, line + "\n")
            score, _, sentence = read_line(run).partition("\t")
            assert sentence == line
            assert float(score) == pytest.approx(
                unrolled.load(model).score(line) / 2.302585, abs=1e-5
            )
        write(run, "the ")
        write(run, "cat\na\nlast")  # half a line waits for its end
        assert [read_line(run).split("\t")[1] for _ in range(2)] == ["the cat", "a"]
        run.stdin.close()
        assert read_line(run).split("\t")[1] == "last"


def test_score_answers_each_word(model):
    with open_pipe("score", model, "--by", "word", "--format", "jsonl", "--totals") as run:
        for number, line in enumerate(LINES, 1):
            write(run, line + "\n")
            rows = [json.loads(read_line(run)) for _ in range(len(line.split()) + 2)]
            assert [row["word"] for row in rows] == [*line.split(), "</s>", "[sentence]"]
            assert {row["sentence"] for row in rows} == {number}


@pytest.mark.parametrize("as_json", [False, True])
def test_evaluate_answers_each_line(model, as_json):
    with open_pipe("evaluate", model, "-", "--by", "line", *["--json"] * as_json) as run:
        if not as_json:
            assert read_line(run) == "perplexity\tlog_prob\ttokens\toov\tsentence"
        for line in LINES:
            write(run, line + "\n")
            if as_json:
                row = json.loads(read_line(run))
            else:
                cells = read_line(run).split("\t")
                row = dict(
                    zip(
                        ["perplexity", "log_prob", "tokens", "oov"],
                        map(float, cells[:4]),
                        strict=True,
                    )
                )
                row["sentence"] = cells[4]
            whole = unrolled.evaluate(unrolled.load(model), texts=[line])
            assert row["sentence"] == line
            assert (row["tokens"], row["oov"]) == (whole.tokens, whole.oov)
            assert row["perplexity"] == pytest.approx(whole.perplexity, abs=1e-5)
            assert row["log_prob"] == pytest.approx(whole.log_prob, abs=1e-5)


def test_annotate_answers_each_row(model, tmp_path):
    with open_pipe("annotate", model, "-", "--rejected", tmp_path / "broken") as run:
        for number, line in enumerate(LINES):
            write(run, "broken\n" + json.dumps({"text": line, "id": number}) + "\n")
            row = json.loads(read_line(run))
            assert (row["id"], row["text"], row["tokens"]) == (number, line, len(line.split()) + 1)
        many = "".join(json.dumps({"text": line}) + "\n" for line in LINES * 5000)
        write(run, json.dumps({"text": "x"}) + "\n")
        assert json.loads(read_line(run))["oov"] == 1
        answers = 0
        while many or answers < 20_000:  # neither side may wait for the other
            ready, free, _ = select.select([run.stdout], [run.stdin] if many else [], [], SECONDS)
            assert ready or free
            if free:
                many = many[os.write(run.stdin.fileno(), many[:4096].encode()) :] if many else ""
            if ready:
                answers += os.read(run.stdout.fileno(), 1 << 16).count(b"\n")
    assert (tmp_path / "broken").read_bytes().count(b"\tbroken\n") == len(LINES)


def test_predict_answers_each_context(model):
    with open_pipe("predict", model, "-", "-n", "1") as run:
        assert read_line(run) == "line\tprobability\tword"
        for number, line in enumerate(LINES, 1):
            write(run, line + "\n")
            assert read_line(run).startswith(f"{number}\t")
