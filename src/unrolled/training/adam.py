"""Adam with decoupled weight decay for parameters in the memory of CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.runtime.threads import even_slices, run_short_slices
from unrolled.training.adam_kernels import adam

_SLICE = 1 << 18  # values that are worth a thread's while


def _adam_all(work: list[tuple[Any, ...]]) -> None:
    for given in work:
        adam(*given)


class AdamW:
    """The optimiser of Loshchilov and Hutter (2019), as `torch.optim.AdamW` has it.

    Making one of torch's loads its compiler, which takes two seconds of every start. Groups, steps
    and the saved state are like torch's.

    Args:
        groups: dictionaries with ``params`` and whatever else, such as ``lr`` of their own.
        lr: the rate. weight_decay: share of the rate by which parameters shrink at each step.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimiser = AdamW([{"params": [weight]}], lr=0.1)
    >>> weight.grad = torch.tensor([1.0, -10.0])
    >>> optimiser.step()
    >>> weight.detach()
    tensor([0.9000, 1.1000])
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        own = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
        self.param_groups = [{**own, **group} for group in groups]
        self._parameters = [p for group in groups for p in group["params"]]
        self._state: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; there is no other way than to set them to None."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters that have a gradient."""
        work: list[tuple[Any, ...]] = []
        place = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    work += self._slices(place, parameter, group)
                place += 1
        threads = torch.get_num_threads()
        run_short_slices(_adam_all, [(work[k::threads],) for k in range(threads)], threads)

    def _slices(self, place: int, parameter: Tensor, group: dict[str, Any]) -> list[Any]:
        """What the kernel is to be called with."""
        state = self._state.setdefault(place, {})
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(parameter) for _ in "ms")
        state["step"] += 1
        step, (first, second) = float(state["step"]), group["betas"]
        numbers = [
            1 - group["lr"] * group["weight_decay"],
            group["lr"] / (1 - first**step),
            1 - first,
            1 - second,
            (1 - second**step) ** 0.5,
            group["eps"],
        ]
        values = parameter.view(-1).numpy()
        assert parameter.grad is not None
        gradient = parameter.grad.reshape(-1).numpy()
        averages = (state[name].view(-1).numpy() for name in ("exp_avg", "exp_avg_sq"))
        given = (values, gradient, *averages, np.array(numbers, values.dtype))
        pieces = min(values.size // _SLICE, torch.get_num_threads())
        return [(*given, low, high) for low, high in even_slices(values.size, max(pieces, 1), 16)]

    def state_dict(self) -> dict[str, Any]:
        """Steps and averages by the parameters' numbers, as torch's optimisers give them."""
        return {"state": dict(self._state)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: it is not of these parameters.
        """
        found: dict[int, dict[str, Tensor]] = {}
        for place, slots in state["state"].items():
            shape = self._parameters[place].shape if place < len(self._parameters) else None
            averages = {name: slots[name].clone() for name in ("exp_avg", "exp_avg_sq")}
            if any(average.shape != shape for average in averages.values()):
                raise ValueError(f"the optimiser's state {place} is of another shape")
            found[place] = {"step": slots["step"].clone(), **averages}
        self._state = found
