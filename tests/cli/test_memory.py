"""A lack of memory, in whatever library, is one sentence."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import unrolled

Run = Callable[..., tuple[int, str, str]]
TORCH = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 17179869176 bytes. Error code 12 (Cannot allocate memory)"
)


def _chained() -> None:
    try:
        raise MemoryError
    except MemoryError as error:
        raise KeyError("x") from error


def _raising(error: Exception) -> Callable[[], None]:
    def app() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("app", "problem"),
    [
        (_raising(MemoryError()), "MemoryError"),
        (lambda: np.empty(2**52, np.int64), "Unable to allocate 32.0 PiB"),
        (_raising(RuntimeError(TORCH)), "you tried to allocate 17179869176 bytes"),
        (_raising(RuntimeError("CUDA out of memory. Tried 2 GiB\nand more")), "2 GiB and more"),
        (_raising(RuntimeError("can't start new thread")), "can't start new thread"),
        (_raising(RuntimeError("std::bad_alloc")), "std::bad_alloc"),
        (_raising(OSError(errno.ENOMEM, "Cannot allocate memory")), "Cannot allocate memory"),
        (_raising(ImportError("x.so: failed to map segment from shared object")), "x.so"),
        (_chained, "'x'"),
    ],
)
def test_a_lack_of_memory_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, app: Callable[[], None], problem: str
) -> None:
    monkeypatch.setitem(sys.modules, "unrolled.cli.app", types.SimpleNamespace(app=app))  # type: ignore[arg-type]
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("unrolled: out of memory: ")
    assert problem in err
    assert "Use less text" in err
    assert err.count("\n") == 1


def test_what_is_no_lack_of_memory_is_raised(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    app = types.SimpleNamespace(app=_raising(KeyError("a mistake in the code")))
    monkeypatch.setitem(sys.modules, "unrolled.cli.app", app)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="mistake"):
        run()


@pytest.mark.parametrize("megabytes", [250, 400, 600])
def test_little_address_space(tmp_path: Path, megabytes: int) -> None:
    (tmp_path / "text").write_text("the cat\n" * 9)
    unrolled.train_ngram(tmp_path / "text", order=2, smoothing="witten-bell").save(tmp_path / "m")
    command = f"ulimit -v {megabytes * 1024}; {sys.executable} -m unrolled evaluate m text"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True
    )  # fmt: skip
    assert done.stdout.startswith("ppl ") == (done.returncode == 0)
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        assert done.stderr.startswith("unrolled: ")
        assert done.stderr.count("\n") == 1


LIMITED = """
import resource
from pathlib import Path
import numpy
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 280_000_000,) * 2)
import unrolled
from unrolled.errors import UnrolledError
try:
    unrolled.compile_kernels()
except UnrolledError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_numba_is_not_loaded_into_too_little_memory(tmp_path: Path) -> None:
    # SciPy's OpenBLAS, which Numba loads, would wait without end.
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.startswith("out of memory: loading Numba takes "), done.stderr
    assert done.stdout.endswith("Allow this process more (ulimit -v).\n")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Input/output error", "/disk"), ImportError("x.so:\nundefined symbol")],
)
def test_a_failing_system_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    app = types.SimpleNamespace(app=_raising(error))
    monkeypatch.setitem(sys.modules, "unrolled.cli.app", app)  # type: ignore[arg-type]
    code, out, err = run()
    assert (code, out) == (2, "")
    problem = " ".join(str(error).split())
    assert err == f"unrolled: the system or an installed package fails: {problem}\n"


def test_no_memory_to_find_out_about_memory(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    app = types.SimpleNamespace(app=_raising(SystemError("returned NULL")))
    monkeypatch.setitem(sys.modules, "unrolled.cli.app", app)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "resource", None)  # type: ignore[arg-type]
    code, _, err = run()
    assert code == 2
    assert err.startswith("unrolled: out of memory: returned NULL")
