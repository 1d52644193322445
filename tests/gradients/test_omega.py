"""Omega against brute force: Jacobians by autograd, and finite differences of what is held."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.gradients.omega import omega, omega_of, total_errors
from unrolled.neural.cells import Cell, slope_at

STEPS, BATCH, HIDDEN = 6, 3, 4
PAIRS = {  # f and its inverse
    "tanh": (torch.tanh, torch.atanh),
    "sigmoid": (torch.sigmoid, torch.logit),
    "linear": (torch.clone, torch.clone),
}


def _run(nonlinearity: str = "tanh", kind: str = "elman") -> tuple[Cell, Tensor, list[Tensor]]:
    """A cell, the loss of a run, and its states as a list that autograd sees through."""
    torch.manual_seed(3)
    cell = Cell(kind, 2, HIDDEN, nonlinearity=nonlinearity).double()
    x = torch.randn(STEPS, BATCH, 2, dtype=torch.float64)
    state = (torch.zeros(BATCH, HIDDEN, dtype=torch.float64),)
    states = []
    for row in x:
        state = cell.step(row, state)
        states.append(state[0])
    return cell, _loss(torch.stack(states)), states


def _loss(states: Tensor) -> Tensor:
    weights = torch.linspace(-1, 2, states.numel(), dtype=states.dtype).view_as(states)
    return (states * weights).sum() + states[-1].square().sum()


def _brute_force(cell: Cell, states: list[Tensor], errors: Tensor, squared: bool) -> float:
    """The quotients one step and one sequence at a time, each Jacobian by autograd."""
    terms = []
    for k in range(STEPS - 1):
        for row in range(BATCH):
            before = states[k][row].detach()

            def step(h: Tensor, k: int = k, row: int = row) -> Tensor:
                # The input's share is what the state after holds beyond the recurrent one.
                there, inverse = PAIRS[cell.nonlinearity]
                rest = inverse(states[k + 1][row]) - states[k][row] @ cell.state_weight.T
                return there(rest.detach() + cell.state_weight @ h)

            jacobian = torch.autograd.functional.jacobian(step, before)
            error = errors[k + 1, row]
            ratio = (error @ jacobian).norm() / error.norm()
            terms.append(((ratio**2 if squared else ratio) - 1) ** 2)
    return float(torch.stack(terms).mean())


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("nonlinearity", ["tanh", "sigmoid", "linear"])
def test_omega_is_the_mean_over_steps_of_squared_excesses(nonlinearity: str, squared: bool) -> None:
    cell, loss, states = _run(nonlinearity)
    errors = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
    slopes = slope_at(torch.stack(states).detach(), nonlinearity)
    value = float(omega(cell.state_weight, slopes, errors, squared=squared).detach())
    assert value == pytest.approx(_brute_force(cell, states, errors, squared), rel=1e-10)


def test_errors_along_all_paths_are_autograds() -> None:
    cell, loss, states = _run()
    expected = torch.stack(torch.autograd.grad(loss, states))
    stacked = torch.stack(states).detach().requires_grad_()
    (immediate,) = torch.autograd.grad(_loss(stacked), stacked)
    found = total_errors(immediate, slope_at(stacked.detach(), "tanh"), cell.state_weight.detach())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("squared", [False, True])
def test_its_gradient_is_the_immediate_one(squared: bool) -> None:
    """Finite differences with states and errors held; nothing else gets a gradient."""
    cell, loss, states = _run()
    errors = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
    slopes = slope_at(torch.stack(states).detach(), "tanh")
    omega(cell.state_weight, slopes, errors, squared=squared).backward()
    found = cell.state_weight.grad
    assert cell.input_weight.grad is None
    weight, step = cell.state_weight.detach(), 1e-6
    for i, j in [(0, 0), (1, 3), (3, 2)]:
        values = []
        for sign in (1, -1):
            moved = weight.clone()
            moved[i, j] += sign * step
            values.append(float(omega(moved, slopes, errors, squared=squared)))
        assert found is not None
        assert float(found[i, j]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6)


def test_omega_of_a_cell_works_on_fused_runs() -> None:
    cell, loss, states = _run()
    errors = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
    slopes = slope_at(torch.stack(states).detach(), "tanh")
    expected = omega(cell.state_weight, slopes, errors)
    torch.manual_seed(3)
    Cell("elman", 2, HIDDEN)  # the same draws as in `_run`, so that x is the same
    x = torch.randn(STEPS, BATCH, 2, dtype=torch.float64)
    fused, _ = cell.run_fused(x, (torch.zeros(BATCH, HIDDEN, dtype=torch.float64),))
    found = omega_of(cell, _loss(fused), fused)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, cell.state_weight)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, cell.state_weight)[0])


def test_an_orthogonal_linear_net_has_none_and_dead_units_are_no_trouble() -> None:
    turn = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, dtype=torch.float64)).Q
    errors = torch.randn(STEPS, BATCH, HIDDEN, dtype=torch.float64)
    assert float(omega(turn, torch.ones_like(errors), errors)) == pytest.approx(0, abs=1e-20)
    weight = turn.clone().requires_grad_()
    dead = omega(weight, torch.zeros_like(errors), errors)
    dead.backward()
    assert float(dead.detach()) == pytest.approx(1)
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.zeros_like(weight))
    assert float(omega(turn, torch.ones_like(errors), 1e-12 * errors)) == 0  # below the floor


def test_a_gated_cell_has_no_omega() -> None:
    cell = Cell("lstm", 2, 3)
    states, _ = cell.run_fused(torch.randn(2, 1, 2), (torch.zeros(1, 3), torch.zeros(1, 3)))
    with pytest.raises(SettingError, match="defined for Elman cells and IRNNs, .* cell 'lstm'"):
        omega_of(cell, states.sum(), states)
