"""What experiments on taggers share: where data lie, and runs side by side."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from unrolled.errors import SettingError
from unrolled.experiments.finished_runs import FinishedRuns

Job = TypeVar("Job")
Result = TypeVar("Result")
Report = Callable[[str], None]

_VECTOR_FILES = ("*.txt", "*.txt.gz", "*.vec", "*.vec.gz", "*.bin", "*.bin.gz")


@dataclass(frozen=True)
class TaggerRun:
    """One tagger to train and test.

    Attributes:
        folder: of the data. name: of the row or data set. settings: as `train_tagger` takes them.
        sentences: of each part that are used at most; None: all. output: file to keep it in.
    """

    folder: str
    name: str
    settings: dict[str, Any]
    sentences: int | None = None
    output: str = ""


def data_folder(data: Path | None, name: str, file: str) -> Path:
    """The folder that holds a file: the one that the user named, or the one of that name in it.

    Raises:
        SettingError: neither does, or none was named.
    """
    if data is None:
        raise SettingError(
            f"the experiment needs data of its own: a folder with {file}",
            hint="Name it with --data; word vectors are looked for in 'vectors' in it or beside it",
        )
    for folder in (data, data / name):
        if (folder / file).is_file():
            return folder
    raise SettingError(f"there is no {file}, nor a folder '{name}' with it", where=str(data))


def vectors_file(data: Path) -> str:
    """The one file of a folder 'vectors' in a data folder or beside it.

    Raises:
        SettingError: there is none, or several.
    """
    found: list[Path] = []
    for folder in (data / "vectors", data.parent / "vectors"):
        for pattern in _VECTOR_FILES:
            found += sorted(folder.glob(pattern))
        if found:
            break
    if len(found) != 1:
        raise SettingError(
            f"{len(found)} files of word vectors are in a folder 'vectors' in it or beside it, and "
            "one must be",
            where=str(data),
            hint="Put one of word2vec or GloVe there, such as glove.6B.100d.txt",
        )
    return str(found[0])


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
        run: a function of a module, which other processes can import.
        workers: at most so many at a time; by default one for each core; 1 starts no process.
        done: called when one is done.
        kept: where results are kept until all are there, and taken from if they are known from
            before; they come back as JSON holds them, tuples as lists. report: is told how many.
    """
    found: dict[int, Any] = {}
    if kept is not None:
        known = ((number, kept.find(job)) for number, job in enumerate(jobs))
        found = {number: result for number, result in known if result is not None}
        if found and report is not None:
            report(f"{len(found)} of {len(jobs)} runs are taken from before")
    left = [number for number in range(len(jobs)) if number not in found]
    with closing(_results(run, [jobs[number] for number in left], workers)) as results:
        for place, result in results:
            number = left[place]
            found[number] = result if kept is None else kept.keep(jobs[number], result)
            done(jobs[number], found[number])
    return [found[number] for number in range(len(jobs))]


def _results(
    run: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None
) -> Generator[tuple[int, Result], None, None]:
    """Numbers and results of jobs, as they are done."""
    workers = min(workers or _cores(), len(jobs))
    if workers <= 1:
        for number, job in enumerate(jobs):
            yield number, run(job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
        futures = {pool.submit(run, job): number for number, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # no further run is begun
            raise


def _end_with_parent() -> None:
    """Let this process end when the one that started it does, even if that one is killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def mean(values: Iterable[float]) -> float:
    """The mean."""
    given = list(values)
    return sum(given) / len(given)
