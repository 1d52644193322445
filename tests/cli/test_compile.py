"""``unrolled compile``: says where the code is, or in one sentence why it is of no use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled import compilation
from unrolled.runtime import code_cache, listeners

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    ran: list[str] = []

    def compile_kernels(*, processes: int | None, progress: Any) -> Path:
        ran.append(f"{processes} {listeners.compilation_listeners}")
        progress(1, 1, "taggers")
        return Path("/where/it/is")

    monkeypatch.setattr(compilation, "compile_kernels", compile_kernels)
    return ran


def test_the_folder_is_the_result(run: Run, steps: list[str]) -> None:
    assert run("compile") == (0, "compiled kernels are cached in /where/it/is\n", "")
    assert run("compile", "--processes", "1")[0] == 0
    assert steps == ["None []", "1 []"]  # it does not announce what it is there for


def test_without_a_folder_it_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "folder", lambda: None)
    code, output, message = run("compile")
    assert (code, output) == (2, "")
    assert message.startswith("unrolled: compiling ahead is of no use: ")
    assert "set NUMBA_CACHE_DIR to a folder" in message
    assert message.count("\n") == 1
