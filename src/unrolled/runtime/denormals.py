"""Numbers too small for a processor to compute with at its usual speed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_denormals() -> Iterator[None]:
    """Let this thread take numbers below the smallest normal one (1e-38 in float32) as 0.

    Gradients vanish, and so do the averages of those of a rare word: below that number some
    processors take a hundred times as long for each operation, a step of Adam eighteen times.
    Processors without such a mode compute as ever. It decorates functions too.
    """
    import torch

    before = _flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushed() -> bool:
    """Whether this thread does so already; torch does not tell."""
    return sys.float_info.min / 2 == 0
