"""Compiling all kernels ahead, in one process or two."""

from __future__ import annotations

import ast
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled import compilation
from unrolled.errors import UnrolledError
from unrolled.runtime import code_cache

ROOT = Path(unrolled.__file__).parent
# Of max_ent_kernels: used under torchrun alone, else inside adagrad_rows, with which it is compiled
# unless that comes from the cache.
ONLY_IN_GROUPS = {"adagrad"}
NOT_COMPILED = """
import sys
from unrolled import compile_kernels
from unrolled.runtime.cached_kernels import CachedKernel
compile_kernels(processes=1)
modules = [module for name, module in sys.modules.items() if name.startswith("unrolled")]
found = {id(value): value for module in modules for value in vars(module).values()}.values()
cached = [kernel for kernel in found if isinstance(kernel, CachedKernel)]
kernels = [kernel for kernel in found
           if type(getattr(kernel, "_cache", None)).__name__ == "_DiskCache"]
assert len(cached) >= 7 and len(kernels) > 50, (len(cached), len(kernels))
print(sorted([kernel.name for kernel in cached if kernel._function is None]
             + [kernel.py_func.__name__ for kernel in kernels if not kernel.overloads]))
"""


@pytest.fixture(scope="module", autouse=True)
def writable_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A read-only installation may leave no folder for compiled code; then one of the tests'."""
    with pytest.MonkeyPatch.context() as patch:
        if code_cache.folder() is None:
            patch.setenv("NUMBA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def test_every_kernel_is_compiled_ahead() -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", NOT_COMPILED], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert set(ast.literal_eval(done.stdout)) <= ONLY_IN_GROUPS


def fake_steps(monkeypatch: pytest.MonkeyPatch, count: int = 4) -> list[str]:
    """Steps that do nothing, in this process; the other one knows the true ones."""
    ran: list[str] = []
    steps = {f"step {number}": lambda _folder: ran.append("ran") for number in range(count)}
    monkeypatch.setattr(compilation, "STEPS", steps)
    return ran


def test_progress_counts_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    ran, seen = fake_steps(monkeypatch), []
    folder = unrolled.compile_kernels(processes=1, progress=lambda *step: seen.append(step))
    assert folder == code_cache.folder()
    assert seen == [(number + 1, 4, f"step {number}") for number in range(4)]
    assert len(ran) == 4


def test_two_processes_share_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["scoring with n-grams", "conversion of n-grams"]
    monkeypatch.setattr(compilation, "STEPS", {name: compilation.STEPS[name] for name in names})
    seen: list[tuple[int, int, str]] = []
    threads = threading.active_count()
    unrolled.compile_kernels(processes=2, progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(1, 2), (2, 2)]
    assert {step[2] for step in seen} == set(names)
    assert threading.active_count() == threads


def test_the_other_process_ends_with_this_one_and_its_error_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []
    popen = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    fake_steps(monkeypatch)
    with pytest.raises(UnrolledError, match="process that compiled kernels failed: KeyError"):
        unrolled.compile_kernels(processes=2)  # which has no steps of these names

    def stop(_folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compilation, "STEPS", {"nets": stop, "taggers": stop})
    with pytest.raises(KeyboardInterrupt):
        unrolled.compile_kernels(processes=2)
    assert [process.poll() is not None for process in started] == [True, True]


def test_without_a_cache_compiling_ahead_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_cache, "folder", lambda: None)
    with pytest.raises(UnrolledError, match="of no use: .*set NUMBA_CACHE_DIR to a folder"):
        unrolled.compile_kernels()


def test_garbage_is_looked_for_less_often_meanwhile() -> None:
    found = gc.get_threshold()  # of other tests, which may have run a command
    gc.set_threshold(700, 10, 10)
    try:
        with compilation.rare_collections():
            assert gc.get_threshold()[0] > 700
        assert gc.get_threshold() == (700, 10, 10)
    finally:
        gc.set_threshold(*found)


def test_the_compiler_imports_nothing_above_it() -> None:
    script = "import sys, unrolled.runtime.kernels; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    ours = {name for name in done.stdout.split() if name.startswith("unrolled.")}
    assert {name.split(".")[1] for name in ours} == {"errors", "runtime", "version"}
