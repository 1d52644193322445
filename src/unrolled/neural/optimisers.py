"""The optimiser that a configuration asks for."""

from __future__ import annotations

import torch
from torch import nn

from unrolled.neural.config import TrainingConfig
from unrolled.neural.net import Net
from unrolled.training.adam import AdamW


def optimiser_of(net: Net, config: TrainingConfig) -> torch.optim.Optimizer | AdamW:
    """An optimiser of all parameters, with recurrent weights in a group of their own.

    Each group's ``times`` is what the rate is multiplied by.
    """
    parts: tuple[list[nn.Parameter], ...] = ([], [])
    for name, parameter in net.named_parameters():
        parts[name.endswith(".state_weight")].append(parameter)
    groups = [
        {"params": part, "times": times}
        for part, times in zip(parts, (1.0, config.recurrent_lr_scale), strict=True)
        if part
    ]
    decay = config.weight_decay
    if config.optimiser != "adam":
        return torch.optim.SGD(groups, lr=config.rate, momentum=config.momentum, weight_decay=decay)
    if all(parameter.device.type == "cpu" for part in parts for parameter in part):
        return AdamW(groups, lr=config.rate, weight_decay=decay)
    return torch.optim.AdamW(groups, lr=config.rate, weight_decay=decay, fused=True)
