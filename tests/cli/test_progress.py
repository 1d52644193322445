"""Progress on stderr, and the note that kernels are being compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import unrolled
from unrolled.cli import progress
from unrolled.runtime import listeners

NOTE = "note: compiling kernels, once; `unrolled compile` compiles all ahead of use\n"


def unrolled_command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": str(Path(unrolled.__file__).parent.parent)}
    return subprocess.run(
        [sys.executable, "-m", "unrolled", *words],
        capture_output=True, text=True, check=True, env={**os.environ, **paths, **environment},
    )  # fmt: skip


def test_a_command_that_compiles_says_so_once_and_the_next_says_nothing(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("a b\nb a\n")
    train = ("train", "ngram", str(text), "-o", str(tmp_path / "a"), "--order", "1")
    notes = [unrolled_command(*train, NUMBA_CACHE_DIR=str(tmp_path / "c")).stderr for _ in "12"]
    assert [note.count(NOTE) for note in notes] == [1, 0]


def test_listeners_are_called_when_a_kernel_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from unrolled.runtime.compiler import njit

    calls: list[str] = []
    listener: Callable[[], None] = lambda: calls.append("compiled")  # noqa: E731
    monkeypatch.setattr(listeners, "compilation_listeners", [listener])
    function = njit(lambda x: x + 1)
    assert [function(1), function(2)] == [2, 3]
    assert calls == ["compiled"]


@pytest.mark.parametrize("terminal", [False, True])
def test_steps_are_a_bar_on_a_terminal_and_lines_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    with progress.Stages() as stages:
        stages.terminal = terminal
        stages.steps_done(1, 2, "one")
        stages.steps_done(2, 2, "two")
    written = capsys.readouterr().err
    assert "[##########          ] 1 of 2: one" in written
    assert "[####################] 2 of 2: two" in written
    assert written.endswith("\n")
    assert written.count("\n") == (1 if terminal else 2)
    assert ("\r" in written) == terminal
