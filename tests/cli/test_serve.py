"""`unrolled serve`: what it refuses before it listens. What it serves is in tests/server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli.conftest import Run
from unrolled import train_ngram


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve") / "cats.safetensors"
    train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell").save(path)
    return path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.safetensors"], "nothing.safetensors: there is no such file"),
        (["{model}", "{model}"], "two models have the name 'cats'"),
        (["a b={model}"], "the model's name is 'a b', allowed are letters, digits"),
        (["{model}", "--port", "70000"], "--port is 70000, allowed are 0 to 65535"),
        (["{model}", "--queue", "0"], "--queue is 0, allowed are 1 and more"),
        (["{model}", "--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["{model}", "--token-file", "nothing"], "nothing: the token cannot be read: No such file"),
        (["{model}", "--prt", "1"], "there is no option --prt. Did you mean --port"),
        ([], "Missing argument 'MODEL...'"),
    ],
)
def test_what_cannot_be_served_is_refused(
    run: Run, model: Path, words: list[str], message: str
) -> None:
    code, out, err = run("serve", *(word.format(model=model) for word in words))
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken_is_refused(run: Run, model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run("serve", model, "--port", port)
    assert code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use." in err


def test_an_empty_token_file_is_refused(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n", encoding="ascii")
    code, _, err = run("serve", model, "--token-file", tmp_path / "token")
    assert code == 2
    assert "the file of the token is empty" in err


def test_help_has_an_example(run: Run) -> None:
    code, out, _ = run("serve", "--help")
    assert code == 0
    assert "unrolled serve news.safetensors lstm.safetensors --port 8000" in out
    assert "--time-limit" in out
