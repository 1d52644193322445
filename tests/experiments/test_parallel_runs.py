"""Runs in parallel: their order, their errors, and their progress."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from unrolled.errors import UnrolledError
from unrolled.experiments import parallel_runs
from unrolled.experiments.parallel_runs import report_progress, run_in_parallel


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


def _half(job: int) -> int:
    report_progress(0.25 + 0.25 * job)
    time.sleep(1.5)
    return job


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_reported(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_runs, "FIRST_REPORT", 0.0)
    monkeypatch.setattr(parallel_runs, "REPORT_EVERY", 0.0)
    said: list[str] = []
    jobs = [0, 1]
    assert (
        run_in_parallel(_half, jobs, workers=workers, done=_no_matter, report=said.append) == jobs
    )
    alone, both = "running (25 %)", "2 running (25 %, 50 %)"
    assert any((both if workers == 2 else alone) in line for line in said), said
    report_progress(0.5)  # out of any run it has no meaning


def test_the_time_left_goes_by_what_is_done() -> None:
    progress = parallel_runs._Progress([1.0, 0.5, 0.0, 0.0], 4, print)
    assert progress.line(60) == "1 of 4 runs are done, 1 running (50 %), about 1.7 min left"
    nothing = parallel_runs._Progress([0.0, 0.0], 2, print)
    assert nothing.line(60) == "0 of 2 runs are done"
