"""Optimisers of dense parameters, on CPUs and GPUs.

Making one of torch's loads its compiler, which takes two seconds of every start; its operations do
without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.runtime.denormals import no_denormals
from unrolled.runtime.torch_threads import run_torch_slices

_SLICE = 1 << 20  # numbers of a parameter, a millisecond's work
OPTIMISERS = ("adam", "sgd", "asgd")
Groups = Sequence[tuple[Sequence[nn.Parameter], float]]


class Optimiser:
    """What all optimisers share: groups of parameters, and a state that can be saved.

    Args:
        groups: parameters, and what the rate is multiplied by for them.
        weight_decay: how fast weights decay to 0.
    """

    def __init__(self, groups: Groups, *, weight_decay: float = 0.0) -> None:
        self._groups = [(list(parameters), scale) for parameters, scale in groups]
        self._parameters = [p for parameters, _ in self._groups for p in parameters]
        self._numbers = {id(p): number for number, p in enumerate(self._parameters)}
        self.weight_decay = weight_decay
        self._state: dict[int, dict[str, Tensor]] = {}  # by the number of the parameter

    @no_denormals()
    def step(self, rate: float) -> None:
        """Move all parameters that have a gradient."""
        with torch.no_grad():
            for parameters, scale in self._groups:
                moved: list[Tensor] = [p for p in parameters if p.grad is not None]
                if moved:
                    self._move(moved, [p.grad for p in moved if p.grad is not None], scale * rate)

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Averages and counts by name, for a checkpoint."""
        return {
            f"{number}.{name}": value
            for number, slots in self._state.items()
            for name, value in slots.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned.

        Raises:
            ValueError: it belongs to other parameters.
        """
        self._state = {}
        for key, value in state.items():
            number, _, name = key.partition(".")
            known = int(number) < len(self._parameters)
            if not known or (value.dim() and value.shape != self._parameters[int(number)].shape):
                raise ValueError(f"the optimiser's state {key} has another shape")
            moved = value.to(self._parameters[int(number)].device, copy=True)
            self._state.setdefault(int(number), {})[name] = moved

    def _slots(self, parameter: Tensor) -> dict[str, Tensor]:
        return self._state.setdefault(self._numbers[id(parameter)], {})


class AdamW(Optimiser):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    To the bit what ``torch.optim.AdamW(..., fused=True)`` computes, in one pass over the memory,
    but for averages below 1e-38, which become 0.

    >>> weight = nn.Parameter(torch.ones(2))
    >>> optimiser = AdamW([([weight], 1.0)])
    >>> weight.grad = torch.tensor([1.0, -10.0])
    >>> optimiser.step(0.1)
    >>> weight.detach()
    tensor([0.9000, 1.1000])
    """

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        for parameter in parameters:
            slots = self._slots(parameter)
            if not slots:
                slots["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                slots["mean"], slots["square"] = (torch.zeros_like(parameter) for _ in "ms")
        slots_of = [self._slots(parameter) for parameter in parameters]
        steps = [slots["step"] for slots in slots_of]
        torch._foreach_add_(steps, 1)
        means, squares = ([slots[name] for slots in slots_of] for name in ("mean", "square"))
        arrays = list(zip(parameters, gradients, means, squares, steps, strict=True))
        move = partial(_fused_adamw, rate=rate, weight_decay=self.weight_decay)
        run_torch_slices(move, [(part,) for part in _slices(arrays)])


Arrays = tuple[Tensor, ...]  # a parameter, its gradient, the averages and the step


@no_denormals()  # in whichever thread
def _fused_adamw(arrays: Sequence[Arrays], rate: float, weight_decay: float) -> None:
    parameters, gradients, means, squares, steps = map(list, zip(*arrays, strict=True))
    with torch.no_grad():
        torch._fused_adamw_(
            parameters, gradients, means, squares, [], steps, lr=rate, beta1=0.9, beta2=0.999,
            weight_decay=weight_decay, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


def _slices(arrays: Sequence[Arrays]) -> list[list[Arrays]]:
    """Parts of large parameters, which threads share, and all others together."""
    small, large = [], []
    for own in arrays:
        if own[0].device.type != "cpu" or own[0].numel() <= _SLICE or not own[0].is_contiguous():
            small.append(own)
            continue
        parts = zip(*(part.reshape(-1).split(_SLICE) for part in own[:-1]), strict=True)
        large += [[(*part, own[-1])] for part in parts]
    return [*large, small] if small else large


class SGD(Optimiser):
    """Stochastic gradient descent with momentum, as ``torch.optim.SGD`` computes it.

    Args:
        momentum: share of the last step that the next one begins with.
    """

    def __init__(self, groups: Groups, *, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        super().__init__(groups, weight_decay=weight_decay)
        self.momentum = momentum

    def _move(self, parameters: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if self.weight_decay:
                gradient = gradient.add(parameter, alpha=self.weight_decay)
            if self.momentum:
                slots = self._slots(parameter)
                if slots:
                    slots["momentum"].mul_(self.momentum).add_(gradient)
                else:
                    slots["momentum"] = gradient.clone()
                gradient = slots["momentum"]
            parameter.add_(gradient, alpha=-rate)


def optimiser_of(
    kind: str, groups: Groups, *, momentum: float = 0.0, weight_decay: float = 0.0
) -> Optimiser:
    """The optimiser of a name; ``asgd`` is SGD, whose weights are averaged by the loop.

    Raises:
        SettingError: the name is unknown.
    """
    if kind not in OPTIMISERS:
        allowed = ", ".join(OPTIMISERS)
        raise SettingError(f"optimiser '{kind}' is unknown, allowed are {allowed}")
    if kind == "adam":
        return AdamW(groups, weight_decay=weight_decay)
    return SGD(groups, momentum=momentum, weight_decay=weight_decay)
