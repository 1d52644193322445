"""Runs of an experiment in parallel, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import Any, TypeVar

from unrolled.comparison.finished_runs import FinishedRuns
from unrolled.errors import UnrolledError
from unrolled.runtime.threads import usable_cores

Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[str], None]

_FEWER = "Start it again with fewer --jobs: finished runs are not repeated"


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
        run: a function of a module, which other processes can import.
        workers: processes; by default one for each core; 1 starts no process.
        done: called when a job is done.
        finished: results of earlier runs; new ones are saved there. Results are
            then as JSON holds them, tuples as lists.
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
    began = time.monotonic()
    with closing(_results(run, [jobs[number] for number in left], workers)) as results:
        for count, (place, result) in enumerate(results, 1):
            number = left[place]
            found[number] = result if finished is None else finished.save(jobs[number], result)
            done(jobs[number], found[number])
            if count < len(left):
                minutes = (time.monotonic() - began) / count * (len(left) - count) / 60
                report(f"{len(found)} of {len(jobs)} runs are done, about {minutes:.1f} min left")
    return [found[number] for number in range(len(jobs))]


def _results(
    run: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None
) -> Generator[tuple[int, Result], None, None]:
    """Numbers and results of jobs, as they are done."""
    workers = min(workers or usable_cores(), len(jobs))
    if workers <= 1:
        for number, job in enumerate(jobs):
            yield number, _run(run, job)
        return
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(workers, context, _begin_process) as pool:
        numbers = {pool.submit(_run, run, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(numbers):
                yield numbers[future], future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                if process not in others:  # stops runs in progress
                    process.terminate()
            if isinstance(error, BrokenProcessPool):
                what = "the process of a run was killed, perhaps for lack of memory"
                raise UnrolledError(what, hint=_FEWER) from None
            raise


def _run(run: Callable[[Job], Result], job: Job) -> Result:
    try:
        return run(job)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise UnrolledError("the GPU has no memory left for a run", hint=_FEWER) from None


def _begin_process() -> None:
    """End this process when its parent ends, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
