"""Numbers below the smallest normal one."""

from __future__ import annotations

import pytest
import torch

from unrolled.runtime.denormals import no_denormals

TINY = torch.finfo(torch.float32).tiny


def count_denormals(*arrays: torch.Tensor) -> int:
    """How many there are, found by their bits, whatever mode this thread is in."""
    bits = [array.detach().contiguous().view(torch.int32) & 0x7FFFFFFF for array in arrays]
    return sum(int(((part > 0) & (part < 0x00800000)).sum()) for part in bits)


def _has_a_mode() -> bool:
    with no_denormals():
        return count_denormals(torch.full((1,), TINY) * 0.5) == 0


needs_mode = pytest.mark.skipif(not _has_a_mode(), reason="this processor has no such mode")
