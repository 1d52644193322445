"""Kernels that run without Numba once their code is cached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from unrolled.runtime import cached_kernels, code_cache
from unrolled.runtime.cached_kernels import CachedKernel
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


def a_kernel() -> CachedKernel:
    return CachedKernel("unrolled.text.utf8_kernels", "first_invalid", "u1[]")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unrolled"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    compiled: Callable[..., Any] = CachedKernel._compiled

    def noted(self: CachedKernel) -> Any:
        done.append(self.name)
        return compiled(self)

    monkeypatch.setattr(CachedKernel, "_compiled", noted)
    return done


def test_code_is_compiled_once_and_cached(folder: Path, compilations: list[str]) -> None:
    assert [a_kernel()(TEXT), a_kernel()(TEXT)] == [7, 7]
    assert compilations == ["first_invalid"]
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "header flipped", "empty", "no header"])
def test_damaged_code_is_compiled_anew(folder: Path, compilations: list[str], damage: str) -> None:
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
    assert len(compilations) == 2
    assert path.read_bytes() == content


def _raise(*_: Any) -> Any:
    raise RuntimeError("a fault of the test")


FAULTS: dict[str, tuple[Any, str, Any]] = {
    "the code does not load": (cached_kernels, "_address", _raise),
    "the code cannot be emitted": (cached_kernels, "_object_code", _raise),
    "a type is unknown": (cached_kernels, "_numba_type", _raise),
    "the result is of an unknown type": (cached_kernels, "_results", _raise),
    "other arguments are expected": (cached_kernels, "_llvm_types", lambda *_: ["i64"]),
    "the processor is unknown": (cached_kernels, "target_machine", _raise),
    "the cache cannot be read": (code_cache, "read", _raise),
    "the cache cannot be written": (code_cache, "write", _raise),
    "the versions are unknown": (code_cache, "_versions", _raise),
    "the header has no symbol": (code_cache, "read", lambda *_: ({"results": "i8"}, b"")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_numba_calls_the_kernel_where_its_code_cannot_run_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    kernel, bound = a_kernel(), a_kernel().bind(TEXT)
    for _ in range(2):
        assert kernel(TEXT) == bound() == 7
    assert isinstance(kernel._function, cached_kernels._NumbaFunction)


def test_kernels_that_need_numba_at_run_time_fall_back_to_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the options that Numba does not document: its entry for Python calls Python."""
    from unrolled.runtime import kernels
    from unrolled.text import utf8_kernels

    plain = kernels._decorator(nogil=True)(utf8_kernels.first_invalid.py_func)
    monkeypatch.setattr(utf8_kernels, "first_invalid", plain)
    kernel = a_kernel()
    assert kernel(TEXT) == 7
    assert isinstance(kernel._function, cached_kernels._NumbaFunction)


def test_options_that_numba_does_not_know_are_left_out() -> None:
    from unrolled.runtime import kernels

    assert kernels._if_known(no_such_option=True) == {}
    assert kernels._if_known(no_cfunc_wrapper=True)


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
