"""Run kernels that release the GIL over slices of an array, on a few threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_slices(
    task: Callable[..., Result], slices: Iterable[Sequence[Any]], threads: int
) -> list[Result]:
    """Call ``task(*slice)`` for every slice and return the results in order.

    A running kernel cannot be interrupted, so slices should take a fraction of a second: Ctrl-C
    drops the slices not yet begun and waits for those under way.
    """
    work = list(slices)
    if threads <= 1 or len(work) <= 1:
        return [task(*piece) for piece in work]
    pool = ThreadPoolExecutor(threads)
    try:
        futures = [pool.submit(task, *piece) for piece in work]
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def even_slices(size: int, pieces: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut range(size) into at most ``pieces`` stretches that start at a multiple.

    >>> even_slices(10, 2, 4)
    [(0, 8), (8, 10)]
    """
    step = -(-size // max(pieces, 1))
    step = max(-(-step // multiple) * multiple, 1)
    return [(start, min(start + step, size)) for start in range(0, size, step)]
