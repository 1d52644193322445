"""Run kernels that release the GIL over slices of an array, on a few threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

_fork_safe_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


class ForkSafeLock:
    """A re-entrant lock that is free in a forked process, whoever held it in the parent."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _fork_safe_locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @staticmethod
    def _renew_all() -> None:
        for lock in _fork_safe_locks:
            lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ForkSafeLock._renew_all)

Item = TypeVar("Item")
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


def run_short_slices(
    task: Callable[..., Result], slices: Iterable[Sequence[Any]], threads: int
) -> list[Result]:
    """The same for slices of milliseconds or less; more of them than threads share a load better.

    The caller takes the first slice, and then those that no thread has begun: on a busy machine a
    thread may wait for a core for longer than its slice takes. The threads are kept for the next
    time: making them takes a quarter of a millisecond.
    """
    work = list(slices)
    if threads <= 1 or len(work) <= 1:
        return [task(*piece) for piece in work]
    pool = _kept_pool(threads - 1, os.getpid())
    futures = [pool.submit(task, *piece) for piece in work[1:]]
    try:
        own = {0: task(*work[0])}
        for number, future in enumerate(futures, 1):
            if future.cancel():
                own[number] = task(*work[number])
        return [
            own[number] if number in own else futures[number - 1].result()
            for number in range(len(work))
        ]
    finally:
        begun = [future for future in futures if not future.cancel()]
        wait(begun)  # they write to the caller's arrays


@cache
def _kept_pool(threads: int, _process: int) -> ThreadPoolExecutor:
    """A pool of this process's own: threads do not outlive a fork."""
    return ThreadPoolExecutor(threads)


def run_ahead(
    task: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Results of ``task`` in the order of ``items``, of which only a few are read ahead."""
    pool = ThreadPoolExecutor(max(threads, 1))
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(task, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_within(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    sizes: Sequence[int],
    most: int,
    threads: int,
) -> Iterator[Result]:
    """As `run_ahead`, but the items under way have a size of ``most`` at most, or are a single one.

    An item is taken when its turn comes, and is done with when the result after its own is taken.
    """
    pool = ThreadPoolExecutor(max(threads, 1))
    waiting: deque[tuple[Future[Result], int]] = deque()
    under_way, source = 0, iter(items)
    try:
        for size in sizes:
            while waiting and (len(waiting) > threads or under_way + size > most):
                future, freed = waiting.popleft()
                yield future.result()
                del future
                under_way -= freed
            waiting.append((pool.submit(task, next(source)), size))
            under_way += size
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each of them made in a thread while the one before is used."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[Any] = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield item


def even_slices(size: int, pieces: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut range(size) into at most ``pieces`` stretches that start at a multiple.

    >>> even_slices(10, 2, 4)
    [(0, 8), (8, 10)]
    """
    step = -(-size // max(pieces, 1))
    step = max(-(-step // multiple) * multiple, 1)
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def return_memory() -> None:
    """Give freed memory back to the system, which glibc's malloc keeps for each thread.

    Arrays of up to 32 MB come from there, and of up to 1 GB after `keep_freed_memory`. After
    reading 34 M tokens 54 MB of it are free, but not where what comes next would find room. Other
    systems' malloc keeps little.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def usable_cores() -> int:
    """Cores that this process may use: those of its affinity, or of its control group if fewer."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return min([cores, *_quotas(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def _quotas(groups: Path, root: Path) -> Iterator[int]:
    """Cores, rounded up, that Linux's control groups (version 2) of this process allow it."""
    with contextlib.suppress(OSError, ValueError):
        for line in groups.read_text().splitlines():
            number, _, path = line.split(":", 2)
            folder = root / path.lstrip("/")
            for group in (folder, *folder.parents) if number == "0" else ():
                with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
                    quota, period = map(int, (group / "cpu.max").read_text().split())
                    yield max(-(-quota // period), 1)
