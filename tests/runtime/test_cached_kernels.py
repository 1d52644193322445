"""Kernels that run without Numba once their code is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import unrolled
from unrolled.runtime import cached_kernels as kept_kernels
from unrolled.runtime.cached_kernels import KeptKernel
from unrolled.text.vocabulary import readonly

TEXT = readonly(np.frombuffer("naïve ".encode() + b"\xff", np.uint8))
SCORE = """
import sys
from unrolled.cli import main
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped
print("numba" in sys.modules, "torch" in sys.modules)
"""


def a_kernel() -> KeptKernel:
    return KeptKernel("unrolled.text.utf8_kernels", "first_invalid", "u1[]")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compilings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    compiled: Callable[..., object] = KeptKernel._compiled

    def noted(self: KeptKernel) -> object:
        done.append(self.name)
        return compiled(self)

    monkeypatch.setattr(KeptKernel, "_compiled", noted)
    return done


def test_code_is_compiled_once_and_kept(folder: Path, compilings: list[str]) -> None:
    assert [a_kernel()(TEXT), a_kernel()(TEXT)] == [7, 7]
    assert compilings == ["first_invalid"]
    assert len(list(folder.iterdir())) == 1


def test_code_is_compiled_anew_when_a_source_of_it_changes(
    folder: Path, compilings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_kernel()(TEXT)
    facts = json.loads(next(folder.iterdir()).read_bytes().split(b"\n")[1])
    changed = "runtime/intrinsics.py"
    assert {"text/utf8_kernels.py", "runtime/kernels.py", changed} <= set(facts["sources"])
    stamps = kept_kernels._stamps
    monkeypatch.setattr(kept_kernels, "_stamps", lambda names: {**stamps(names), changed: [0, 0]})
    assert a_kernel()(TEXT) == 7
    assert len(compilings) == 2


def test_a_process_that_outlives_a_change_keeps_and_loads_nothing(
    folder: Path, compilings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = kept_kernels._began
    monkeypatch.setattr(kept_kernels, "_began", 0)  # all files have changed since
    assert a_kernel()(TEXT) == 7
    assert not folder.exists()
    monkeypatch.setattr(kept_kernels, "_began", began)
    a_kernel()(TEXT)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(kept_kernels, "_began", 0)
    a_kernel()(TEXT)
    assert len(compilings) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "header flipped", "empty", "no header"])
def test_damaged_code_is_compiled_anew(folder: Path, compilings: list[str], damage: str) -> None:
    a_kernel()(TEXT)
    path = next(folder.iterdir())
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[:-100],
            "flipped": content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
            "header flipped": content.replace(b'"symbol": "_', b'"symbol": "-'),
            "empty": b"",
            "no header": b"\x7fELF" + content,
        }[damage]
    )
    assert a_kernel()(TEXT) == 7
    assert len(compilings) == 2
    assert path.read_bytes() == content


def test_without_a_folder_to_keep_code_in_kernels_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert a_kernel()(TEXT) == 7


def test_arguments_of_another_kind_are_refused(folder: Path) -> None:
    kernel = a_kernel()
    kernel(TEXT)
    wide = TEXT.astype(np.uint16)
    for wrong in (wide, TEXT[::2], np.zeros((2, 2), np.uint8)):
        with pytest.raises(TypeError, match="argument 0 of kernel first_invalid"):
            kernel(wrong)
    for count in (0, 2):
        with pytest.raises(TypeError, match="takes"):
            kernel(*[TEXT] * count)
    model = unrolled.train_ngram(texts=["a b", "b a"], order=2, smoothing="witten-bell")
    state, scores = model.start(), np.empty(1, np.float32)
    with pytest.raises(TypeError, match="kernel score"):
        model._score(np.zeros(1, np.int32), state, readonly(scores), scores, scores, state, state)


def test_ids_of_any_layout_are_scored() -> None:
    model = unrolled.train_ngram(texts=["a b", "b a"], order=2, smoothing="witten-bell")
    state = np.frombuffer(b"x" + model.start().tobytes(), np.int64, offset=1)
    assert np.array_equal(model.next_log_probs(state), model.next_log_probs(model.start()))
    ids = np.array([1, 3, 2], np.int32)
    expected = model.log_probs(ids)
    assert np.array_equal(model.log_probs(readonly(ids)), expected)
    for form in (ids.astype(">i4"), ids.astype(np.uint8), np.repeat(ids, 2)[::2]):
        assert np.array_equal(model.log_probs(form), expected)
    odd = np.frombuffer(b"x" + ids.tobytes(), np.int32, offset=1)
    assert not odd.flags.aligned
    assert np.array_equal(model.log_probs(odd), expected)


def test_commands_that_score_load_no_compiler(tmp_path: Path) -> None:
    text, path = tmp_path / "text", tmp_path / "model.safetensors"
    text.write_text("ein naïve cat\n" * 9000, encoding="utf-8")  # large enough for every kernel
    unrolled.train_ngram(text, order=2, smoothing="witten-bell").save(path)
    (tmp_path / "two").write_text("a cat\nein cat\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(unrolled.__file__).parent.parent)}
    for words in (
        ["evaluate", path, text],
        ["score", path, tmp_path / "two"],
        ["score", path, tmp_path / "two", "--by", "word"],
        ["rank", path, "ein cat", "cat ein"],
        ["predict", path, "ein"],
        ["generate", path, "--seed", "1"],
    ):
        command = [sys.executable, "-c", SCORE, *map(str, words)]
        for _ in range(2):  # the first may compile
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("False False\n"), (words, done.stdout)
