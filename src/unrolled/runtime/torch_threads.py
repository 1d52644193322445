"""The threads with which torch computes. It is not imported here; `unrolled` imports this first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from unrolled.runtime.threads import usable_cores

# OpenMP reads this when torch loads it. By its default, idle threads keep cores busy for
# milliseconds while our own kernels or other processes wait for one: on a busy machine that is a
# hundred times slower. So short a wait leaves the gain of spinning (a step of an Elman net takes a
# tenth less).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_is_fork = False


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


@contextmanager
def one_thread_for(short: bool) -> Iterator[None]:
    """Let torch compute with one thread where its operations are ``short``.

    What takes microseconds gains nothing from a second thread, and where that has to wait for a
    core, it takes milliseconds.
    """
    import torch

    before = torch.get_num_threads()
    if not short or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _after_fork() -> None:
    global _is_fork
    if "torch" in sys.modules:
        _is_fork = True
        with suppress(AttributeError):  # it was being imported
            set_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
