"""All steps of an Elman net by Numba kernels, for tensors on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unrolled.neural.elman_kernels import LINEAR, RELU, SIGMOID, TANH, run, run_back
from unrolled.runtime.threads import even_slices, run_short_slices

KINDS = {"tanh": TANH, "sigmoid": SIGMOID, "relu": RELU, "linear": LINEAR}
FEWEST = 4  # texts that the kernels take together
_WORTH_A_THREAD = 10_000_000  # multiplications, a fraction of a millisecond


def suits(x: Tensor, start: Tensor) -> bool:
    """Whether the kernels can take these inputs (T, B, H), and gain by it."""
    known = x.device.type == "cpu" and x.dtype == start.dtype == torch.float32
    return known and x.shape[1] >= FEWEST and len(x) > 0


def states(x: Tensor, start: Tensor, weight: Tensor, nonlinearity: str) -> Tensor:
    """h_t = f(x_t + U h_{t-1}) of all steps, (T, B, H).

    Args:
        x: (T, B, H) with W x + b in it. start: (B, H) h_0. weight: (H, H) U.
    """
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    given = (_rows(x), _rows(start), _rows(weight.t()), np.int64(KINDS[nonlinearity]))
    slices = _slices(x)
    run_short_slices(run, [(*given, low, high, _rows(y)) for low, high in slices], len(slices))
    return y


def backward(y: Tensor, dy: Tensor, weight: Tensor, nonlinearity: str) -> tuple[Tensor, Tensor]:
    """Gradients by x_t + U h_{t-1} of all steps, (T, B, H), and by h_0, (B, H).

    Args:
        y: (T, B, H) from `states`. dy: (T, B, H) gradients by them.
    """
    found = torch.empty_like(y)
    total = y.new_empty(y.shape[1:])
    given = (_rows(y), _rows(dy), _rows(weight), np.int64(KINDS[nonlinearity]))
    slices = _slices(y)
    work = [(*given, low, high, _rows(found), _rows(total)) for low, high in slices]
    run_short_slices(run_back, work, len(slices))
    return found, total


def _rows(tensor: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return tensor.detach().contiguous().view(-1, tensor.shape[-1]).numpy()


def _slices(x: Tensor) -> list[tuple[int, int]]:
    """Which texts each thread takes."""
    steps, batch, hidden = x.shape
    most = steps * batch * hidden**2 // _WORTH_A_THREAD
    return even_slices(batch, max(min(torch.get_num_threads(), most), 1), FEWEST)
