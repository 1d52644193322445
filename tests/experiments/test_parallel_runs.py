"""Runs in parallel: their order, their errors, and their progress."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from unrolled.errors import UnrolledError
from unrolled.experiments.parallel_runs import run_in_parallel


def _no_matter(job: object, result: object) -> None:
    pass


def test_results_come_back_in_their_order() -> None:
    done: list[int] = []
    results = run_in_parallel(
        abs, [-3, 2, -1], workers=2, done=lambda job, result: done.append(job)
    )
    assert results == [3, 2, 1]
    assert sorted(done) == [-3, -1, 2]


def _touch(path: Path) -> int:
    if path.name == "bad":
        raise UnrolledError("bad")
    if path.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "large":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    time.sleep(0.1)
    path.touch()
    return 1


@pytest.mark.parametrize(("name", "message"), [
    ("bad", "bad"),
    ("killed", "process of a run was killed, perhaps for lack of memory. Start it again with"),
    ("large", "the GPU has no memory left for a run. Start it again with fewer --jobs"),
])  # fmt: skip
def test_after_an_error_no_further_run_is_begun(name: str, message: str, tmp_path: Path) -> None:
    jobs = [tmp_path / name for name in (name, *map(str, range(20)))]
    with pytest.raises(UnrolledError, match=message):
        run_in_parallel(_touch, jobs, workers=2, done=_no_matter)
    assert len(list(tmp_path.iterdir())) < 10


def _for_ever(path: Path) -> int:
    if path.name == "bad":
        while not path.with_name("waits").exists():
            time.sleep(0.02)
        raise UnrolledError("bad")
    path.touch()
    time.sleep(3600)
    return 1


def test_an_error_ends_the_runs_that_are_under_way(tmp_path: Path) -> None:
    with pytest.raises(UnrolledError, match="bad"):
        run_in_parallel(
            _for_ever, [tmp_path / "waits", tmp_path / "bad"], workers=2, done=_no_matter
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_reported_as_runs_are_done(workers: int) -> None:
    lines: list[str] = []
    run_in_parallel(abs, [-1, 2], workers=workers, done=_no_matter, report=lines.append)
    (line,) = lines
    assert re.fullmatch(r"1 of 2 runs are done, about \d+\.\d min left", line)
