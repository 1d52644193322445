"""Adam: the steps of torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from unrolled.training import adam
from unrolled.training.adam import AdamW


def _parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    torch.manual_seed(2)
    return [nn.Parameter(torch.randn(*shape, dtype=dtype)) for shape in ((13, 7), (5,), (3, 2))]


def _optimise(parameters: list[nn.Parameter], optimiser: Any, steps: int) -> None:
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["times"] * 0.1 / (1 + step)
        for place, parameter in enumerate(parameters[:2]):  # the third never has a gradient
            parameter.grad = torch.sin(parameter.detach() * 3 + step) * 10.0 ** (-3 * place)
        optimiser.step()
        optimiser.zero_grad()


def _groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": parameters[:1], "times": 1.0}, {"params": parameters[1:], "times": 0.3}]


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_those_of_torch(decay: float, dtype: torch.dtype) -> None:
    mine, theirs = _parameters(dtype), _parameters(dtype)
    _optimise(mine, AdamW(_groups(mine), lr=0.1, weight_decay=decay), 20)
    _optimise(theirs, torch.optim.AdamW(_groups(theirs), lr=0.1, weight_decay=decay), 20)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)
        assert one.grad is None


def test_threads_share_the_values_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, shared = _parameters(), _parameters()
    _optimise(mine, AdamW(_groups(mine), lr=0.1), 3)
    monkeypatch.setattr(adam, "_SLICE", 20)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    _optimise(shared, AdamW(_groups(shared), lr=0.1), 3)
    for one, other in zip(mine, shared, strict=True):
        assert torch.equal(one, other)


def test_it_goes_on_from_its_own_state_and_from_torchs() -> None:
    whole, parts, mixed = _parameters(), _parameters(), _parameters()
    _optimise(whole, AdamW(_groups(whole), lr=0.1), 8)
    first = AdamW(_groups(parts), lr=0.1)
    _optimise(parts, first, 8)
    theirs = torch.optim.AdamW(_groups(mixed), lr=0.1, weight_decay=0)
    _optimise(mixed, theirs, 8)
    state = first.state_dict()
    saved = {k: {n: t.clone() for n, t in slots.items()} for k, slots in state["state"].items()}
    second, third = AdamW(_groups(parts), lr=0.1), AdamW(_groups(mixed), lr=0.1)
    second.load_state_dict({"state": saved})
    third.load_state_dict(theirs.state_dict())
    go_on = AdamW(_groups(whole), lr=0.1)
    go_on.load_state_dict(state)
    for parameters, optimiser in ((whole, go_on), (parts, second), (mixed, third)):
        _optimise(parameters, optimiser, 5)
    for one, two, three in zip(whole, parts, mixed, strict=True):
        assert torch.equal(one, two)
        torch.testing.assert_close(one, three)


def test_a_state_of_other_parameters_is_refused() -> None:
    parameters = _parameters()
    optimiser = AdamW(_groups(parameters), lr=0.1)
    _optimise(parameters, optimiser, 1)
    other = AdamW([{"params": parameters[1:], "times": 1.0}], lr=0.1)
    with pytest.raises(ValueError, match="state 0 is of another shape"):
        other.load_state_dict(optimiser.state_dict())
