"""Standard input, output and error that are closed, full, a terminal, or of another encoding."""

from __future__ import annotations

import contextlib
import itertools
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import unrolled

WORDS = "the naïve 日本 red\x1b[31m \x9b2J"
MAIN = "from unrolled.cli import main; main()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    (folder / "text").write_text(f"{WORDS}\nthe cat\n" * 4, encoding="utf-8")
    model = unrolled.train_ngram(folder / "text", order=2, smoothing="witten-bell")
    model.save(folder / "m.safetensors")
    return folder


def _shell(
    folder: Path, words: str, redirections: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    command = f"'{sys.executable}' -c '{MAIN}' {words} {redirections}"
    environment = {**os.environ, **variables}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder, env=environment, capture_output=True, text=True, input="the cat\n",
    )  # fmt: skip
    # Progress and notes, as of kernels that are compiled, come when work takes long.
    lines = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in lines if not line.startswith(("[", "note: ")))
    return done


CLOSINGS = [
    " ".join(closed)
    for count in range(4)
    for closed in itertools.combinations(("0<&-", "1>&-", "2>&-"), count)
]


@pytest.mark.parametrize("closed", CLOSINGS)
def test_closed_streams(folder: Path, tmp_path: Path, closed: str) -> None:
    before = (folder / "m.safetensors").read_bytes()
    done = _shell(folder, "evaluate m.safetensors text", closed)
    lost = "1>&-" in closed
    assert done.returncode == (2 if lost else 0)
    assert done.stdout.startswith("" if lost else "ppl ")
    problem = "unrolled: /dev/stdout: cannot be written: bad file descriptor\n"
    assert done.stderr == (problem if lost and "2>&-" not in closed else "")
    target = tmp_path / "new.safetensors"
    done = _shell(folder, f"train ngram text -o {target} --smoothing witten-bell", closed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert unrolled.load(target).order == 5
    done = _shell(folder, "score m.safetensors", closed)
    assert done.returncode == (2 if lost or "0<&-" in closed else 0)
    assert "Traceback" not in done.stderr
    assert (folder / "m.safetensors").read_bytes() == before  # nothing was printed into it


PRINTING = [
    "--help",
    "--version",
    "train ngram --help",
    "evaluate m.safetensors text",
    "score m.safetensors text",
    "rank m.safetensors the",
    "predict m.safetensors the",
    "generate m.safetensors --seed 1",
    "info m.safetensors",
    "info m.safetensors --words",
    "mix m.safetensors m.safetensors -o /dev/null",
    "count text --order 1 -o -",
]


@pytest.mark.parametrize("words", PRINTING)
def test_results_that_find_no_room(folder: Path, words: str) -> None:
    done = _shell(folder, words, "> /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("unrolled: /dev/stdout: ")
    assert done.stderr.count("\n") == 1
    if "convert" not in words:
        assert "the disk is full" in done.stderr


@pytest.mark.parametrize("words", PRINTING[2:5])
def test_messages_that_find_no_room_stop_nothing(folder: Path, words: str) -> None:
    done = _shell(folder, words, "2> /dev/full")
    assert done.returncode == 0
    assert done.stdout


def test_a_reader_that_leaves(folder: Path) -> None:
    (folder / "long").write_text("the cat\n" * 50_000)
    done = _shell(folder, "score m.safetensors long", "| head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (141, "log10\tsentence\n", "")


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_results_in_a_pipe_are_exact_in_any_locale(folder: Path, variables: dict[str, str]) -> None:
    done = _shell(folder, "score m.safetensors text", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[1].split("\t")[1] == WORDS
    done = _shell(folder, "rank m.safetensors $'caf\\xe9' | cat -v", **variables)
    assert done.stdout.endswith("\tcafM-i\n")


def _on_terminal(folder: Path, words: Sequence[str], **variables: str) -> bytes:
    """What a terminal gets."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], cwd=folder, env=environment, stdin=theirs,
        stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    found = b""
    with contextlib.suppress(OSError):  # Linux's way of saying that the other side is closed
        while data := os.read(ours, 1 << 16):
            found += data
    os.close(ours)
    assert process.wait() == 0, found
    return found


def test_words_do_not_command_a_terminal(folder: Path) -> None:
    for words in (["score", "m.safetensors", "text"], ["info", "m.safetensors", "--words"]):
        utf8 = _on_terminal(folder, words, PYTHONIOENCODING="utf-8").decode()
        assert "naïve" in utf8
        assert "red\ufffd[31m" in utf8
        assert not {"\x1b", "\x9b"} & set(utf8)
        plain = _on_terminal(folder, words, PYTHONIOENCODING="ascii").decode("ascii")
        assert "na?ve" in plain
        assert "\x1b" not in plain
