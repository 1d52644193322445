"""Two cures of exploding gradients: a limit on the norm, and a limit on each element.

Both work in place on gradients of any shapes and give back a number worth watching.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from unrolled.errors import SettingError


@torch.no_grad()
def clip_by_norm(gradients: Iterable[Tensor], threshold: float) -> float:
    """Scale gradients so that the norm of all together is at most a threshold.

    g <- g threshold / |g| where |g| > threshold (Pascanu, Mikolov, Bengio 2013, algorithm 1). The
    direction stays. They advise half to ten times the mean norm as the threshold.

    Returns:
        The norm before; infinite or NaN where the gradient is, and then nothing is changed.

    Raises:
        SettingError: a threshold that is not positive.

    >>> gradients = [torch.tensor([3.0]), torch.tensor([[4.0]])]
    >>> clip_by_norm(gradients, 1.0), gradients[1].item()
    (5.0, 0.8...)
    """
    _check(threshold)
    given = list(gradients)
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in given))
    if threshold < norm < math.inf:
        for gradient in given:
            gradient.mul_(threshold / norm)
    return norm


@torch.no_grad()
def clip_by_value(gradients: Iterable[Tensor], threshold: float) -> float:
    """Hold each element within +-threshold, as Mikolov's toolkit does, at 15; the direction turns.

    Returns:
        The share of elements that were beyond.

    Raises:
        SettingError: a threshold that is not positive.

    >>> gradient = torch.tensor([20.0, -1.0])
    >>> clip_by_value([gradient], 15.0), gradient
    (0.5, tensor([15., -1.]))
    """
    _check(threshold)
    beyond = elements = 0
    for gradient in gradients:
        beyond += int((gradient.abs() > threshold).sum())
        elements += gradient.numel()
        gradient.clamp_(-threshold, threshold)
    return beyond / max(elements, 1)


def _check(threshold: float) -> None:
    if not threshold > 0:
        raise SettingError(f"the threshold is {threshold}, allowed are numbers above 0")
