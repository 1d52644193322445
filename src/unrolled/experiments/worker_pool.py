"""Runs of an experiment side by side, each in a process of its own, and how far they are."""

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

from unrolled.errors import UnrolledError
from unrolled.experiments.finished_runs import FinishedRuns
from unrolled.runtime.threads import usable_cores

Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[str], None]

FIRST_REPORT, REPORT_EVERY = 10.0, 60.0  # seconds
_LOOK = 0.2  # seconds between two looks at whether to go on
_FEWER = "Start it again with fewer --jobs: runs that are done are kept"

# How much of each run is done, and last whether all are to stop; and the run of this process.
Shares = MutableSequence[float]
_here: tuple[Callable[[float], None] | None, Shares] = None, []


def tell(done: float) -> None:
    """Say from within a run how much of it is done, 0 to 1."""
    if _here[0] is not None:
        _here[0](done)


def side_by_side(
    run: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    done: Callable[[Job, Result], None],
    kept: FinishedRuns | None = None,
    report: Report | None = None,
) -> list[Result]:
    """Results of jobs in their order, several at a time, each on one core.

    Args:
        run: a function of a module, which other processes can import; it may `tell`.
        workers: at most so many at a time; by default one for each core; 1 starts no process.
        done: called when one is done.
        kept: where results are kept until all are there, and taken from if they are known from
            before; they come back as JSON holds them, tuples as lists.
        report: is told how far all are, now and then.

    Raises:
        UnrolledError: a run failed so, or its process was ended; the other runs are ended too.
    """
    say = report or (lambda line: None)
    found: dict[int, Any] = {}
    if kept is not None:
        known = ((number, kept.find(job)) for number, job in enumerate(jobs))
        found = {number: result for number, result in known if result is not None}
        if found:
            say(f"{len(found)} of {len(jobs)} runs are taken from before")
    left = [number for number in range(len(jobs)) if number not in found]
    with closing(_results(run, [jobs[number] for number in left], workers, say)) as results:
        for place, result in results:
            number = left[place]
            found[number] = result if kept is None else kept.keep(jobs[number], result)
            done(jobs[number], found[number])
    return [found[number] for number in range(len(jobs))]


class _Progress:
    """Says now and then how far all runs are."""

    def __init__(self, shares: Shares, runs: int, say: Report) -> None:
        self.shares, self.runs, self._say = shares, runs, say
        self._began = time.monotonic()
        self._due = self._began + FIRST_REPORT

    def look(self) -> None:
        """Say it if it is time to."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + REPORT_EVERY
        self._say(self.line(now - self._began))

    def line(self, seconds: float) -> str:
        """How many runs are done and under way, and how long the rest will take."""
        shares = list(self.shares)[: self.runs]
        under_way = [f"{100 * share:.0f} %" for share in shares if 0 < share < 1]
        line = f"{sum(share >= 1 for share in shares)} of {self.runs} runs are done"
        if under_way:
            line += f", {len(under_way)} under way ({', '.join(under_way[:8])})"
        if over := sum(shares):
            line += f", about {seconds * (self.runs - over) / over / 60:.1f} min left"
        return line


def _results(
    run: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None, say: Report
) -> Generator[tuple[int, Result], None, None]:
    """Numbers and results of jobs, as they are done."""
    workers = min(workers or usable_cores(), len(jobs))
    if workers <= 1:
        yield from _one_by_one(run, jobs, say)
        return
    context = multiprocessing.get_context("spawn")
    shares: Any = context.RawArray("d", len(jobs) + 1)  # no lock: none can be held by the killed
    progress = _Progress(shares, len(jobs), say)
    with ProcessPoolExecutor(workers, context, _begin_process, (shares,)) as pool:
        numbers = {pool.submit(_run, run, number, job): number for number, job in enumerate(jobs)}
        waiting = set(numbers)
        try:
            while waiting:
                over, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                for future in over:
                    yield numbers[future], future.result()
                progress.look()
        except BaseException as error:
            shares[len(jobs)] = 1  # runs that are under way end too
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                what = "the process of a run was ended, perhaps for lack of memory"
                raise UnrolledError(what, hint=_FEWER) from None
            raise


def _one_by_one(
    run: Callable[[Job], Result], jobs: Sequence[Job], say: Report
) -> Generator[tuple[int, Result], None, None]:
    """The same in this process."""
    global _here
    shares = [0.0] * len(jobs)
    progress, before = _Progress(shares, len(jobs), say), _here
    for number, job in enumerate(jobs):

        def told(done: float, number: int = number) -> None:
            shares[number] = min(done, 0.99)
            progress.look()

        _here = told, shares
        try:
            result = run(job)
        finally:
            _here = before
        shares[number] = 1.0
        yield number, result


def _run(run: Callable[[Job], Result], number: int, job: Job) -> Result:
    """One run in a process of its own."""
    global _here
    shares = _here[1]

    def told(done: float) -> None:
        shares[number] = min(done, 0.99)

    _here = told, shares
    try:
        result = run(job)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise UnrolledError("the GPU has no memory left for a run", hint=_FEWER) from None
    shares[number] = 1.0
    return result


def _begin_process(shares: Shares) -> None:
    """Let this process end when it is to, or when the one that started it ends, even if killed."""
    global _here
    _here = None, shares
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it deals with Ctrl-C
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while not shares[-1] and parent is not None and parent.is_alive():
            parent.join(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
