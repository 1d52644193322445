"""Pascanu's regulariser Omega: errors that keep their norm from step to step.

Omega = mean over k of (|dE/dh_{k+1} dh_{k+1}/dh_k| / |dE/dh_{k+1}| - 1)^2 (Pascanu, Mikolov, Bengio
2013, equation 9). Only its immediate derivative with respect to the recurrent weights counts: the
states and the errors are taken as they are. Then Omega's gradient costs one product more, for the
vectors inside the norms are those of backpropagation through time.

>>> import torch
>>> from unrolled.neural.cells import Cell
>>> cell = Cell("elman", 3, 5)
>>> states, _ = cell.run_fused(torch.randn(7, 2, 3), (torch.zeros(2, 5),))
>>> loss = states[-1].square().sum()
>>> (loss + 4 * omega_of(cell, loss, states)).backward()
"""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.neural.cells import Cell, slope_at

FLOOR = 1e-20  # squared norms below it are rounding errors


def omega_of(
    cell: Cell, loss: Tensor, states: Tensor, *, squared: bool = False, floor: float = FLOOR
) -> Tensor:
    """Omega of an Elman cell (also an IRNN) for a loss, to be added to it with a weight.

    Args:
        loss: a scalar that depends on the states; its graph is retained.
        states: (T, B, H) as ``run_fused`` or ``run_unrolled`` gave them.
        squared, floor: as of `omega`.

    Returns:
        A scalar whose gradient reaches only ``cell.state_weight``.

    Raises:
        SettingError: a gated cell, for which Omega is not defined.
    """
    if cell.kind not in ("elman", "irnn"):
        raise SettingError(
            f"Omega is defined for Elman cells and IRNNs, and this is a cell '{cell.kind}'",
            hint="Gated cells need no Omega: compare them without it",
        )
    (immediate,) = torch.autograd.grad(loss, states, retain_graph=True)
    slopes = slope_at(states.detach(), cell.nonlinearity)
    errors = total_errors(immediate, slopes, cell.state_weight.detach())
    return omega(cell.state_weight, slopes, errors, squared=squared, floor=floor)


def omega(
    weight: Tensor,
    slopes: Tensor,
    errors: Tensor,
    *,
    squared: bool = False,
    floor: float = FLOOR,
) -> Tensor:
    """Omega from the results of backpropagation through time.

    Args:
        weight: (H, H) recurrent weights U of h_t = f(W x_t + U h_{t-1} + b).
        slopes: (T, B, H) f' at each step.
        errors: (T, B, H) dE/dh_t, the paths through later steps included.
        squared: take squared norms, as the authors' code does, instead of the paper's norms.
        floor: steps whose squared error norm is below it are left out.

    Returns:
        Scalar: the mean over all steps but the first, and all sequences, that are not left out.
        # Differs from equation 9, a sum over k: the mean is the authors' code's, and makes one
        # weight fit all lengths.
    """
    slopes, errors = slopes[1:].detach(), errors[1:].detach()
    before = ((slopes * errors) @ weight).square().sum(-1)  # |dE/dh_k|^2 through step k+1 alone
    after = errors.square().sum(-1)
    used = after >= floor
    # Elsewhere the quotient is 1, which changes neither value nor gradient.
    ratio = torch.where(used, before, 1.0) / torch.where(used, after, 1.0)
    if not squared:
        # A state whose units are all dead has a ratio of 0, where the root has no derivative.
        ratio = torch.where(ratio > 0, ratio, 1e-30).sqrt()
    return (ratio - 1).square().sum() / used.sum().clamp(min=1)


def total_errors(immediate: Tensor, slopes: Tensor, weight: Tensor) -> Tensor:
    """dE/dh_t along all paths, (T, B, H), from those that leave the net at step t itself.

    Args:
        immediate: (T, B, H) partial derivatives of the loss, the other states held.
        slopes: (T, B, H) f' at each step.
        weight: (H, H).
    """
    errors = immediate.clone()
    for t in range(len(errors) - 1, 0, -1):
        errors[t - 1] += (slopes[t] * errors[t]) @ weight
    return errors
