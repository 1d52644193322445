"""Cells: the two ways of running agree with each other and with torch's own modules."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from unrolled.errors import SettingError
from unrolled.neural.cells import CELLS, NONLINEARITIES, Cell

E, H, T, B = 6, 5, 7, 3
KINDS = [*itertools.product(["elman"], NONLINEARITIES), *((cell, "tanh") for cell in CELLS[1:])]


def _cell(kind: str, nonlinearity: str) -> tuple[Cell, torch.Tensor, tuple[torch.Tensor, ...]]:
    torch.manual_seed(3)
    cell = Cell(kind, E, H, nonlinearity=nonlinearity).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.5)
    x = torch.randn(T, B, E, dtype=torch.float64, requires_grad=True)
    return cell, x, tuple(torch.rand(B, H, dtype=torch.float64) for _ in range(cell.states))


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_fused_and_unrolled_agree_in_values_and_gradients(kind: str, nonlinearity: str) -> None:
    cell, x, state = _cell(kind, nonlinearity)
    results = []
    for run in (cell.run_unrolled, cell.run_fused):
        y, last = run(x, state)
        loss = (y**2).sum() + sum((part**3).sum() for part in last)
        results.append((y, *last, *torch.autograd.grad(loss, [x, *cell.parameters()])))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_plain_backpropagation_stops_at_the_step_before(kind: str, nonlinearity: str) -> None:
    cell, x, state = _cell(kind, nonlinearity)
    y, last = cell.run_local(x, state)
    torch.testing.assert_close(y, cell.run_unrolled(x, state)[0])
    torch.testing.assert_close(last, cell.run_unrolled(x, state)[1])
    (gradient,) = torch.autograd.grad(y[4].sum(), x)
    assert gradient[4].abs().sum() > 0
    assert gradient[[0, 1, 2, 3, 5, 6]].abs().sum() == 0
    # Each step's own gradient is that of one step from the state before, taken as a constant.
    before = tuple(part.detach() for part in cell.run_unrolled(x[:4], state)[1])
    (alone,) = torch.autograd.grad(cell.step(x[4], before)[0].sum(), x)
    torch.testing.assert_close(gradient[4], alone[4])


def test_torch_agrees_on_what_an_lstm_and_a_gru_are() -> None:
    for kind, module in (("lstm", nn.LSTM(E, H)), ("gru", nn.GRU(E, H))):
        cell, x, state = _cell(kind, "tanh")
        module = module.double()
        with torch.no_grad():
            module.weight_ih_l0.copy_(cell.input_weight)
            module.weight_hh_l0.copy_(cell.state_weight)
            module.bias_ih_l0.copy_(cell.bias)
            module.bias_hh_l0.zero_()
            if cell.state_bias is not None:
                module.bias_hh_l0[2 * H :] = cell.state_bias
        given = tuple(part[None] for part in state)
        wanted, _ = module(x, given if kind == "lstm" else given[0])
        torch.testing.assert_close(cell.run_unrolled(x, state)[0], wanted)


def test_an_irnn_starts_as_a_copy_of_its_state() -> None:
    cell = Cell("irnn", E, H)
    state = (torch.rand(B, H),)
    torch.testing.assert_close(cell.step(torch.zeros(B, E), state), state)


def test_the_forget_gate_starts_open() -> None:
    assert Cell("lstm", E, H, forget_bias=2.0).bias[H : 2 * H].tolist() == [2.0] * H
    assert Cell("lstm", E, H).bias[:H].tolist() == [0.0] * H


@pytest.mark.parametrize("given", [("lstn", "tanh"), ("elman", "tan")])
def test_unknown_names_are_refused_with_those_allowed(given: tuple[str, str]) -> None:
    with pytest.raises(SettingError, match=r"is unknown, allowed are .*(lstm|tanh)"):
        Cell(given[0], E, H, nonlinearity=given[1])
