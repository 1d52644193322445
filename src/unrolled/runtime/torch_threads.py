"""The threads with which torch computes. It is not imported here; `unrolled` imports this first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

# OpenMP reads this when torch loads it. By its default, idle threads keep cores busy for
# milliseconds while our own kernels or other processes wait for one: on a busy machine that is a
# hundred times slower. So short a wait leaves the gain of spinning (a step of an Elman net takes a
# tenth less).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_is_fork = False


def set_threads(count: int) -> None:
    """Let torch compute with so many threads; with one in a forked process.

    The threads of its parent are not there, but OpenMP would wait for them for ever.
    """
    import torch

    torch.set_num_threads(1 if _is_fork else count)


def _after_fork() -> None:
    global _is_fork
    if "torch" in sys.modules:
        _is_fork = True
        with suppress(AttributeError):  # it was being imported
            set_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
