"""The remedy of exploding gradients: a limit on their norm."""

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
    if not threshold > 0:
        raise SettingError(f"the threshold is {threshold}, allowed are numbers above 0")
    given = list(gradients)
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in given))
    if threshold < norm < math.inf:
        for gradient in given:
            gradient.mul_(threshold / norm)
    return norm
