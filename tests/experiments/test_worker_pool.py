"""Runs side by side: their order, their errors, and what is said of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from unrolled.errors import UnrolledError
from unrolled.experiments import worker_pool
from unrolled.experiments.worker_pool import side_by_side, tell


def _no_matter(job: object, result: object) -> None:
    pass


def test_jobs_side_by_side_come_back_in_their_order() -> None:
    done: list[int] = []
    results = side_by_side(abs, [-3, 2, -1], workers=2, done=lambda job, result: done.append(job))
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
    ("killed", "process of a run was ended, perhaps for lack of memory. Start it again with fewer"),
    ("large", "the GPU has no memory left for a run. Start it again with fewer --jobs"),
])  # fmt: skip
def test_after_an_error_no_further_run_is_begun(name: str, message: str, tmp_path: Path) -> None:
    jobs = [tmp_path / name for name in (name, *map(str, range(20)))]
    with pytest.raises(UnrolledError, match=message):
        side_by_side(_touch, jobs, workers=2, done=_no_matter)
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
        side_by_side(_for_ever, [tmp_path / "waits", tmp_path / "bad"], workers=2, done=_no_matter)


def _half(job: int) -> int:
    tell(0.25 + 0.25 * job)
    time.sleep(1.5)
    return job


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_said_how_far_the_runs_are(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "FIRST_REPORT", 0.0)
    monkeypatch.setattr(worker_pool, "REPORT_EVERY", 0.0)
    said: list[str] = []
    jobs = [0, 1]
    assert side_by_side(_half, jobs, workers=workers, done=_no_matter, report=said.append) == jobs
    alone, both = "under way (25 %)", "2 under way (25 %, 50 %)"
    assert any((both if workers == 2 else alone) in line for line in said), said
    tell(0.5)  # out of any run it has no meaning


def test_the_time_left_goes_by_what_is_done() -> None:
    progress = worker_pool._Progress([1.0, 0.5, 0.0, 0.0], 4, print)
    assert progress.line(60) == "1 of 4 runs are done, 1 under way (50 %), about 1.7 min left"
    nothing = worker_pool._Progress([0.0, 0.0], 2, print)
    assert nothing.line(60) == "0 of 2 runs are done"
