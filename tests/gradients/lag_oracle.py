"""Gradients by lag the slow way: one state at a time is moved a little, or derived by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unrolled.neural.cells import Cell, State

Losses = Callable[[Tensor], Tensor]  # outputs (T, B, H) -> E_t (T, B)


def zeros(cell: Cell, batch: int) -> State:
    return tuple(torch.zeros(batch, cell.hidden, dtype=torch.float64) for _ in range(cell.states))


def losses_after(cell: Cell, x: Tensor, step: int, state: State, losses: Losses) -> Tensor:
    """E_t (T - step, B) for t = step, ... where the state after that step is the given one."""
    outputs = [state[0]]
    for row in x[step + 1 :]:
        state = cell.step(row, state)
        outputs.append(state[0])
    padded = [torch.zeros_like(outputs[0])] * step + outputs
    return losses(torch.stack(padded))[step:]


def norms_by_differences(cell: Cell, x: Tensor, losses: Losses, part: int = 0) -> Tensor:
    """(T, T, B) norm of dE_t/dh_s at [s, t], by central differences; part 1: by the cell state."""
    steps, batch = x.shape[:2]
    found = torch.zeros(steps, steps, batch, dtype=torch.float64)
    state = zeros(cell, batch)
    for step in range(steps):
        state = cell.step(x[step], state)
        squares = torch.zeros(steps - step, batch, dtype=torch.float64)
        for unit in range(cell.hidden):
            sides = []
            for change in (1e-5, -1e-5):
                moved = [tensor.clone() for tensor in state]
                moved[part][:, unit] += change
                if part == 1:  # h follows c: h = o tanh(c)
                    moved[0] = moved[0] * moved[1].tanh() / state[1].tanh()
                sides.append(losses_after(cell, x, step, tuple(moved), losses))
            squares += ((sides[0] - sides[1]) / 2e-5) ** 2
        found[step, step:] = squares.sqrt()
    return found


def mean_by_lag(norms: Tensor) -> Tensor:
    """(K,) mean over t and sentences of (T, T, B) norms at [s, t]."""
    steps = len(norms)
    return torch.stack([norms.diagonal(lag).mean() for lag in range(steps)])
