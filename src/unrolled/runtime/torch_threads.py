"""The threads with which torch computes. It is not imported here; `unrolled` imports this first."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from unrolled.runtime.threads import run_ahead, run_short_slices, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# OpenMP reads this when torch loads it. By its default, idle threads keep cores busy for
# milliseconds while our own kernels or other processes wait for one: on a busy machine that is a
# hundred times slower. So short a wait leaves the gain of spinning (a step of an Elman net takes a
# tenth less).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_is_fork = False
_allowed = threading.local()  # its count: of threads, where torch computes with one for now


def set_threads(count: int) -> None:
    """Let torch compute with so many threads; with one in a forked process.

    They are no more than there are cores to use, nor than ``OMP_NUM_THREADS``: threads that meet
    after each operation, and of which not all can run, wait for one another most of the time.

    The threads of a forked process's parent are not there, but OpenMP would wait for them for ever.
    """
    import torch

    torch.set_num_threads(1 if _is_fork else max(min(count, usable_cores(), _openmp_threads()), 1))


def _openmp_threads() -> int:
    """``OMP_NUM_THREADS``, the first number where it is a list; many if it is not set."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else 1 << 16


def threads() -> int:
    """Threads that a computation may use: torch's, also where `one_thread` limits torch itself."""
    import torch

    count: int = getattr(_allowed, "count", 0) or torch.get_num_threads()
    return count


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread; `run_torch_slices` still uses all.

    Threads that meet after each operation gain little where those take microseconds, and lose
    milliseconds where one of them has to wait for a core.
    """
    import torch

    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    _allowed.count = before
    try:
        yield
    finally:
        _allowed.count = 0
        torch.set_num_threads(before)


def run_torch_slices(
    task: Callable[..., Result], slices: Iterable[Sequence[Any]], most: int | None = None
) -> list[Result]:
    """`run_short_slices` for tasks that call torch, each with one of torch's threads.

    Gradients are recorded or not as where this is called.

    Args:
        most: threads, if not all are worth their while.
    """
    with one_thread():
        count = threads() if most is None else min(most, threads())
        return run_short_slices(_as_here(task), slices, count)


def run_torch_ahead(
    task: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """`run_ahead`, likewise, of so many items, which the caller makes one after the other.

    A single item is done by the caller, whose slices have all threads.
    """
    with one_thread():
        if min(threads(), count) > 1:
            yield from run_ahead(_as_here(task), items, threads())
        else:
            yield from map(task, items)


def _as_here(task: Callable[..., Result]) -> Callable[..., Result]:
    """The same in other threads: torch's modes and number of threads belong to a thread."""
    import torch

    caller, recorded = threading.get_ident(), torch.is_grad_enabled()
    inference = torch.is_inference_mode_enabled()

    def run(*given: Any) -> Result:
        if threading.get_ident() == caller:
            return task(*given)
        torch.set_num_threads(1)
        with torch.inference_mode(inference), torch.set_grad_enabled(recorded):
            return task(*given)

    return run


def _after_fork() -> None:
    global _is_fork
    if "torch" in sys.modules:
        _is_fork = True
        with suppress(AttributeError):  # it was being imported
            set_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
