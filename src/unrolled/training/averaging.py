"""Averages of weights over steps (Polyak and Juditsky 1992)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averager:
    """The mean of a net's parameters over all steps since it was begun; idle until then.

    Args:
        net: the net. span: the mean is over so many steps: each counts 1 / span, and those before
            it fade exponentially. At first it is over the last fifth of all steps (Shamir and Zhang
            2013, polynomial decay), so that where training began is forgotten soon; without a span
            all steps count alike.
    """

    def __init__(self, net: nn.Module, span: float = math.inf) -> None:
        self._net, self.span = net, span
        # Passes over all weights, tables of words among them, would slow each step down.
        self._every = max(1, int(span / 50)) if math.isfinite(span) else 1
        self.count = 0
        self.means: dict[str, Tensor] = {}

    @torch.no_grad()
    def begin(self) -> None:
        """Average from here on."""
        self.count = 1
        self.means = {name: p.detach().clone() for name, p in self._net.named_parameters()}

    @torch.no_grad()
    def add(self) -> None:
        """A step was taken."""
        if not self.count:
            return
        self.count += 1
        if self.count % self._every:
            return
        share = 1 / self.count
        if math.isfinite(self.span):
            share = min(self._every * max(1 / self.span, 5 / (self.count + 4)), 1.0)
        for name, parameter in self._net.named_parameters():
            self.means[name].lerp_(parameter, share)

    def values(self) -> dict[str, Tensor]:
        """Copies of the mean parameters, or of the parameters while it is idle."""
        return {
            name: self.means.get(name, parameter).detach().clone()
            for name, parameter in self._net.named_parameters()
        }

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the net has the mean parameters, if there are any."""
        if not self.count:
            yield
            return
        before = {name: p.detach().clone() for name, p in self._net.named_parameters()}
        set_parameters(self._net, self.means)
        try:
            yield
        finally:
            set_parameters(self._net, before)


@torch.no_grad()
def set_parameters(net: nn.Module, values: dict[str, Tensor]) -> None:
    """Copy values into the parameters of those names."""
    for name, parameter in net.named_parameters():
        parameter.copy_(values[name])
