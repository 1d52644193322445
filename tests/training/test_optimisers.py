"""Optimisers of dense parameters and of rows: the steps of torch's own."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from denormals import count_denormals, needs_mode
from unrolled.errors import SettingError
from unrolled.training import optimisers
from unrolled.training.optimisers import SGD, AdamW, Optimiser, optimiser_of
from unrolled.training.row_optimiser import RowOptimiser


def _parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    torch.manual_seed(2)
    return [nn.Parameter(torch.randn(*shape, dtype=dtype)) for shape in ((40, 7), (5,), (3, 2))]


def _groups(parameters: list[nn.Parameter]) -> list[tuple[list[nn.Parameter], float]]:
    return [(parameters[:1], 1.0), (parameters[1:], 0.3)]


def _optimise(parameters: list[nn.Parameter], optimiser: Any, steps: int, first: int = 0) -> None:
    """Steps at falling rates; not all parameters have a gradient each time, the third never."""
    for step in range(first, first + steps):
        for place, parameter in enumerate(parameters[:2]):
            if (step + place) % 3:
                parameter.grad = torch.sin(parameter.detach() * 3 + step) * 10.0 ** (-3 * place)
        rate = 0.1 / (1 + step)
        if isinstance(optimiser, Optimiser):
            optimiser.step(rate)
        else:
            for group, scale in zip(optimiser.param_groups, (1.0, 0.3), strict=True):
                group["lr"] = scale * rate
            optimiser.step()
        optimiser.zero_grad()


def _torchs(kind: str, parameters: list[nn.Parameter], decay: float) -> torch.optim.Optimizer:
    groups = [{"params": part} for part, _ in _groups(parameters)]
    if kind == "adam":
        return torch.optim.AdamW(groups, weight_decay=decay, fused=True)
    return torch.optim.SGD(groups, lr=0.1, momentum=0.5, weight_decay=decay)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_those_of_torch_to_the_bit(kind: str, decay: float, dtype: torch.dtype) -> None:
    mine, theirs = _parameters(dtype), _parameters(dtype)
    _optimise(mine, optimiser_of(kind, _groups(mine), momentum=0.5, weight_decay=decay), 20)
    _optimise(theirs, _torchs(kind, theirs, decay), 20)
    for one, other in zip(mine, theirs, strict=True):
        assert torch.equal(one, other)
        assert one.grad is None


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_it_continues_from_its_state_to_the_same_bits(kind: str) -> None:
    whole, parts = _parameters(), _parameters()
    _optimise(whole, optimiser_of(kind, _groups(whole), momentum=0.5), 12)
    first = optimiser_of(kind, _groups(parts), momentum=0.5)
    _optimise(parts, first, 8)
    saved = {name: value.clone() for name, value in first.state().items()}
    _optimise(_parameters(), first, 2)  # what was saved is a copy
    second = optimiser_of(kind, _groups(parts), momentum=0.5)
    second.load_state(saved)
    _optimise(parts, second, 4, first=8)
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one, other)


def test_a_state_of_other_parameters_is_refused() -> None:
    parameters = _parameters()
    optimiser = AdamW(_groups(parameters))
    _optimise(parameters, optimiser, 2)
    for other in (parameters[1:2], []):
        with pytest.raises(ValueError, match=r"state \d\.\w+ has another shape"):
            AdamW([(other, 1.0)]).load_state(optimiser.state())


def test_names() -> None:
    assert isinstance(optimiser_of("asgd", []), SGD)
    with pytest.raises(SettingError, match="'rmsprop' is unknown, allowed are adam, sgd, asgd"):
        optimiser_of("rmsprop", [])


def test_rows_are_moved_as_torch_moves_them_when_all_are_touched() -> None:
    torch.manual_seed(1)
    for kind, momentum in (("adam", 0.0), ("sgd", 0.9)):
        table = torch.randn(4, 3)
        twin = table.clone().requires_grad_()
        ours = RowOptimiser(table, kind, momentum)
        theirs: torch.optim.Optimizer = torch.optim.Adam([twin], lr=0.1)
        if kind == "sgd":
            theirs = torch.optim.SGD([twin], lr=0.1, momentum=momentum)
        for step in range(5):
            if step == 3:  # a fresh one continues from the state
                saved = {name: value.clone() for name, value in ours.state().items()}
                ours = RowOptimiser(table, kind, momentum)
                ours.load_state(saved)
            gradient = torch.randn(4, 3)
            twin.grad = gradient.clone()
            theirs.step()
            ours.step(torch.arange(4), gradient, 0.1)
        torch.testing.assert_close(table, twin.detach())
        before = table.clone()
        ours.step(torch.tensor([2]), torch.ones(1, 3), 0.1)
        assert (table != before).any(1).tolist() == [False, False, True, False]


def test_training_does_not_load_torchs_compiler() -> None:
    script = """
import sys
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.training import train_tagger
data = [TaggedSentence(("Ann", "ran"), ("B-PER", "O"))]
for optimiser in ("adam", "sgd"):
    train_tagger(data, valid=data, hidden=2, embedding=2, epochs=1, threads=1, optimiser=optimiser)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@needs_mode
@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_averages_of_a_weight_without_gradients_become_zeros(kind: str) -> None:
    # Those of rare words do; on some processors a step would take eighteen times as long.
    parameter = nn.Parameter(torch.zeros(5))
    optimiser = optimiser_of(kind, [([parameter], 1.0)], momentum=0.9)
    for step in range(1000):
        parameter.grad = torch.full((5,), float(step == 0))
        optimiser.step(0.1)
    averages = [value for value in optimiser.state().values() if value.dim()]
    assert count_denormals(*averages) == 0
    assert float(min(value.abs().max() for value in averages)) == 0


@needs_mode
def test_averages_become_zeros_in_other_threads_too() -> None:
    parameter, gradient, square = torch.zeros(3, 5).unbind()
    mean = torch.full((5,), 1e-39)
    arrays = [(parameter, gradient, mean, square, torch.ones(()))]
    with ThreadPoolExecutor(1) as other:
        other.submit(int).result()
        other.submit(optimisers._fused_adamw, arrays, 0.1, 0.0).result()
    assert float(mean.abs().max()) == 0
