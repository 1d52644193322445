"""What experiments on taggers share: where data lie, and runs side by side."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from unrolled.errors import SettingError

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
) -> list[Result]:
    """Results of jobs in their order, several at a time, each on one core.

    Args:
        run: a function of a module, which other processes can import.
        workers: at most so many at a time; by default one for each core; 1 starts no process.
        done: called when one is done.
    """
    workers = min(workers or _cores(), len(jobs))
    if workers <= 1:
        results = []
        for job in jobs:
            results.append(run(job))
            done(job, results[-1])
        return results
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = {pool.submit(run, job): number for number, job in enumerate(jobs)}
        found: list[Any] = [None] * len(jobs)
        for future in as_completed(futures):
            number = futures[future]
            found[number] = future.result()
            done(jobs[number], found[number])
    return found


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def mean(values: Iterable[float]) -> float:
    """The mean."""
    given = list(values)
    return sum(given) / len(given)
