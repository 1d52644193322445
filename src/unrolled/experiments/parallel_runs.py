"""Runs of an experiment in parallel, each in a process of its own, and their progress."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Any, TypeVar

from unrolled.comparison.finished_runs import FinishedRuns
from unrolled.errors import UnrolledError
from unrolled.runtime.threads import usable_cores

Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[str], None]
Shares = MutableSequence[float]

FIRST_REPORT, REPORT_EVERY = 10.0, 60.0  # seconds
_POLL = 0.2  # seconds between two checks of whether to go on
_FEWER = "Start it again with fewer --jobs: finished runs are not repeated"

_on_progress: Callable[[float], None] | None = None  # of the run in this process
_shares: Shares = []  # in a worker: how much of each run is done, and last whether all must stop


def report_progress(done: float) -> None:
    """Report from within a run how much of it is done, 0 to 1."""
    if _on_progress is not None:
        _on_progress(done)


def run_in_parallel(
    run: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    done: Callable[[Job, Result], None],
    finished: FinishedRuns | None = None,
    report: Report | None = None,
) -> list[Result]:
    """Results of jobs in their order, several at a time, each on one core.

    Args:
        run: a function of a module, which other processes can import; it may `report_progress`.
        workers: processes; by default one for each core; 1 starts no process.
        done: called when a job is done.
        finished: results of earlier runs; new ones are saved there. They come back as JSON holds
            them, tuples as lists.
        report: called with the progress of all runs.

    Raises:
        UnrolledError: a run failed, or its process was killed; the other runs are stopped.
    """
    report = report or (lambda line: None)
    found: dict[int, Any] = {}
    if finished is not None:
        earlier = {number: finished.find(job) for number, job in enumerate(jobs)}
        found = {number: result for number, result in earlier.items() if result is not None}
        if found:
            report(f"{len(found)} of {len(jobs)} runs were finished earlier")
    left = [number for number in range(len(jobs)) if number not in found]
    with closing(_results(run, [jobs[number] for number in left], workers, report)) as results:
        for place, result in results:
            number = left[place]
            found[number] = result if finished is None else finished.save(jobs[number], result)
            done(jobs[number], found[number])
    return [found[number] for number in range(len(jobs))]


class _Progress:
    """Reports how far all runs are, at most once a minute."""

    def __init__(self, shares: Shares, runs: int, report: Report) -> None:
        self.shares, self.runs, self._report = shares, runs, report
        self._began = time.monotonic()
        self._due = self._began + FIRST_REPORT

    def update(self) -> None:
        """Report if it is time to."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + REPORT_EVERY
            self._report(self.line(now - self._began))

    def line(self, seconds: float) -> str:
        """How many runs are done and running, and how long the rest will take."""
        shares = list(self.shares)[: self.runs]
        running = [f"{100 * share:.0f} %" for share in shares if 0 < share < 1]
        line = f"{sum(share >= 1 for share in shares)} of {self.runs} runs are done"
        if running:
            line += f", {len(running)} running ({', '.join(running[:8])})"
        if over := sum(shares):
            line += f", about {seconds * (self.runs - over) / over / 60:.1f} min left"
        return line


def _results(
    run: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None, report: Report
) -> Generator[tuple[int, Result], None, None]:
    """Numbers and results of jobs, as they are done."""
    workers = min(workers or usable_cores(), len(jobs))
    if workers <= 1:
        progress = _Progress([0.0] * len(jobs), len(jobs), report)
        for number, job in enumerate(jobs):
            yield number, _run(run, number, job, progress.shares, progress.update)
        return
    context = multiprocessing.get_context("spawn")
    shares: Any = context.RawArray("d", len(jobs) + 1)  # no lock that a killed process could hold
    progress = _Progress(shares, len(jobs), report)
    with ProcessPoolExecutor(workers, context, _begin_process, (shares,)) as pool:
        numbers = {pool.submit(_run, run, number, job): number for number, job in enumerate(jobs)}
        waiting = set(numbers)
        try:
            while waiting:
                over, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                for future in over:
                    yield numbers[future], future.result()
                progress.update()
        except BaseException as error:
            shares[len(jobs)] = 1  # stops the runs in progress too
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                what = "the process of a run was killed, perhaps for lack of memory"
                raise UnrolledError(what, hint=_FEWER) from None
            raise


def _run(
    run: Callable[[Job], Result],
    number: int,
    job: Job,
    shares: Shares | None = None,
    update: Callable[[], None] = lambda: None,
) -> Result:
    """One run; its progress goes to the shares, in a worker those of all processes."""
    global _on_progress
    own = _shares if shares is None else shares

    def on_progress(done: float) -> None:
        own[number] = min(done, 0.99)
        update()

    before, _on_progress = _on_progress, on_progress
    try:
        result = run(job)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise UnrolledError("the GPU has no memory left for a run", hint=_FEWER) from None
    finally:
        _on_progress = before
    own[number] = 1.0
    return result


def _begin_process(shares: Shares) -> None:
    """End this process when all runs must stop, or when its parent ends, even if killed."""
    global _shares
    _shares = shares
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while not shares[-1] and parent is not None and parent.is_alive():
            parent.join(_POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
