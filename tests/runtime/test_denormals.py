"""The mode of a thread in which the smallest numbers are 0."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from denormals import TINY, count_denormals, needs_mode
from unrolled.runtime.denormals import no_denormals


def _halved() -> int:
    return count_denormals(torch.full((3,), TINY) * 0.5)


@needs_mode
def test_the_mode_ends_where_it_began() -> None:
    assert _halved() == 3
    with no_denormals():
        assert _halved() == 0
        with no_denormals():
            assert _halved() == 0
        assert _halved() == 0  # the one around it goes on
    with pytest.raises(KeyError), no_denormals():
        raise KeyError
    assert _halved() == 3


@needs_mode
def test_another_thread_computes_as_ever() -> None:
    with ThreadPoolExecutor(1) as other:
        other.submit(int).result()
        with no_denormals():
            assert other.submit(_halved).result() == 3
