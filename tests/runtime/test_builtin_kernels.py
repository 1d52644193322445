"""Kernels that Python calls as built-in functions."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import unrolled
from unrolled.ngram.query.handle import handle_of
from unrolled.ngram.query.single_calls import SingleCalls
from unrolled.runtime import builtin_kernels
from unrolled.runtime.builtin_kernels import LONG_TEXT, BuiltinKernel

KERNELS = "unrolled.ngram.query.single_call_kernels"
LONG = b"a b " * (LONG_TEXT // 4)


@pytest.fixture(scope="module")
def model() -> Any:
    return unrolled.train_ngram(texts=["a b", "b a", "a c"], order=3, smoothing="witten-bell")


def score_text(model: Any) -> Callable[..., float]:
    kernel = BuiltinKernel(KERNELS, "score_text", "bytes bytes bool", "f8", releases_gil=True)
    handle, kept = handle_of(model.trie, model.vocabulary)
    bound: Callable[..., float] = kernel.bind(handle, *kept)
    return bound


def score_words(model: Any) -> Callable[..., int]:
    types = "bytes bytes bool bytearray"
    kernel = BuiltinKernel(KERNELS, "score_words", types, "i8", releases_gil=True)
    handle, kept = handle_of(model.trie, model.vocabulary)
    bound: Callable[..., int] = kernel.bind(handle, *kept)
    return bound


def test_it_is_a_builtin_function(model: Any) -> None:
    function = score_text(model)
    assert type(function) is type(len)
    assert function.__name__ == "score_text"


@pytest.mark.parametrize("text", [b"", b"a", b"a b c unknown", LONG])
@pytest.mark.parametrize("eos", [True, False, 1, 0, None, "yes", []])
def test_numbers_are_those_of_the_kernel_called_otherwise(
    model: Any, monkeypatch: pytest.MonkeyPatch, text: bytes, eos: Any
) -> None:
    start = SingleCalls(model.trie, model.vocabulary).begin
    rows, expected_rows = bytearray(24 * len(text) + 48), bytearray(24 * len(text) + 48)
    total, count = score_text(model)(text, start, eos), score_words(model)(text, start, eos, rows)
    assert count == len(text.split()) + bool(eos)

    def fails(*_: Any) -> Any:
        raise RuntimeError("a fault of the test")

    monkeypatch.setattr(builtin_kernels, "target_machine", fails)  # as LLVM does
    assert type(score_text(model)) is not type(len)
    assert score_text(model)(text, start, eos) == total
    assert score_words(model)(text, start, eos, expected_rows) == count
    assert rows == expected_rows


def test_a_python_without_a_function_that_is_needed_calls_the_kernel_otherwise(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtin_kernels, "_FASTCALL_MAKER", "PyCFunction_Lacking")
    start = SingleCalls(model.trie, model.vocabulary).begin
    assert type(score_text(model)) is not type(len)
    assert score_text(model)(b"a b", start, True) < 0


def test_other_faults_are_not_hidden(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise ZeroDivisionError("a fault of the test")

    monkeypatch.setattr(builtin_kernels, "target_machine", fails)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        score_text(model)


class Undecided:
    def __bool__(self) -> bool:
        raise ValueError("neither true nor false")


@pytest.mark.parametrize("native", [True, False])
def test_arguments_of_other_types_are_refused(
    model: Any, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    if not native:
        monkeypatch.setattr(builtin_kernels, "_FASTCALL_MAKER", "PyCFunction_Lacking")
    start, function = SingleCalls(model.trie, model.vocabulary).begin, score_text(model)
    for wrong in (
        (),
        (b"a", start),
        (b"a", start, True, True),
        ("a", start, True),
        (bytearray(b"a"), start, True),
        (None, start, True),
        (b"a", memoryview(start), True),
    ):
        with pytest.raises(TypeError, match=r"^score_text takes bytes, bytes, bool$"):
            function(*wrong)
    with pytest.raises(ValueError, match="neither"):
        function(b"a", start, Undecided())


def test_what_the_kernel_reads_lives_as_long_as_the_function() -> None:
    model = unrolled.train_ngram(texts=["a b", "b a"], order=2, smoothing="witten-bell")
    function, start = score_text(model), SingleCalls(model.trie, model.vocabulary).begin
    expected = function(b"a b a", start, True)
    del model
    gc.collect()
    _ballast = [np.full(4000, 7, np.uint8) for _ in range(500)]  # takes what was given back
    assert function(b"a b a", start, True) == expected


def test_no_references_are_lost_or_left_over(model: Any) -> None:
    function, start = score_text(model), SingleCalls(model.trie, model.vocabulary).begin
    text, eos = b"a b c", ["true"]
    counts = sys.getrefcount(text), sys.getrefcount(start), sys.getrefcount(eos)
    for _ in range(100):
        function(text, start, eos)
        with pytest.raises(TypeError):
            function(text, eos, start)
    assert (sys.getrefcount(text), sys.getrefcount(start), sys.getrefcount(eos)) == counts


def test_other_threads_run_while_a_long_text_is_scored(model: Any) -> None:
    function, start = score_text(model), SingleCalls(model.trie, model.vocabulary).begin
    text, scored = b"a b " * 2_000_000, threading.Event()

    def score() -> None:
        function(text, start, True)
        scored.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        thread = threading.Thread(target=score)
        thread.start()
        ticks = 0
        while not scored.is_set():
            time.sleep(1e-4)
            ticks += 1
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ticks > 5
