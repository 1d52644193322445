"""A minute of what ``make torture`` does for hours."""

from __future__ import annotations

import ctypes
import random
from pathlib import Path

import numpy as np
import pytest

from torture import damaged_arrays
from torture.commands import QUICK, write_inputs
from torture.damaged_arrays import try_damaged_arrays
from torture.faults import KINDS, build_library, try_faults
from torture.figures import Figures
from torture.headers import try_headers
from torture.interruptions import try_interruptions

COMMANDS = {name: QUICK[name] for name in ("train ngram", "convert")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torture") / "inputs"
    folder.mkdir()
    write_inputs(folder, random.Random(1))
    return folder


def test_hostile_headers() -> None:
    figures = Figures()
    try_headers(figures, random.Random(1), 300)
    assert figures.failures == []
    assert figures.tried == {"hostile headers": 300}


def test_damaged_arrays() -> None:
    figures = Figures()
    try_damaged_arrays(figures, random.Random(1), 40)
    assert figures.failures == []


def test_reading_past_a_guarded_array_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(path: Path, *, at_end: bool) -> None:
        array = damaged_arrays.guarded(np.arange(3.0), at_end=at_end)
        ctypes.string_at(array.ctypes.data + (array.nbytes if at_end else -1), 1)

    monkeypatch.setattr(damaged_arrays, "ask", careless)
    for at_end in (True, False):
        found = damaged_arrays.outcome(tmp_path / "model", tmp_path / "log", at_end=at_end)
        assert found is not None
        assert found.startswith("ends with -11")


def test_faults(inputs: Path, tmp_path: Path) -> None:
    library = build_library(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler")
    figures = Figures()
    try_faults(figures, random.Random(1), inputs, library, COMMANDS, most=1)
    assert figures.failures == []
    assert set(figures.tried) == {f"fault: {kind}" for kind in KINDS if kind != "fsync"}


def test_interruptions(inputs: Path) -> None:
    figures = Figures()
    one = {"train ngram": COMMANDS["train ngram"]}
    try_interruptions(figures, random.Random(1), inputs, one, 1, seconds=20)
    assert figures.failures == []
    assert sum(figures.tried.values()) == 2


def test_a_server() -> None:
    pytest.importorskip("uvicorn")
    from torture.serving import try_serving

    figures = Figures()
    try_serving(figures, random.Random(1), 1)
    assert figures.failures == []


def test_a_broken_promise_is_found(inputs: Path, tmp_path: Path) -> None:
    library = build_library(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler")
    careless = {"careless": ("score a.safetensors text > {}", "new.txt")}  # no atomic write
    figures = Figures()
    try_faults(figures, random.Random(1), inputs, library, careless, ("write",), most=1)
    assert "the old file is gone" in figures.failures[0]
