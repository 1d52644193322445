"""Elman nets' kernels: the states and gradients of a step at a time, whatever the sizes."""

from __future__ import annotations

import pytest
import torch

from unrolled.neural import elman
from unrolled.neural.cells import NONLINEARITIES, Cell, _backward, _states


def _given(steps: int, batch: int, hidden: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(steps + batch + hidden)
    weight = torch.randn(hidden, hidden) / hidden**0.5
    return torch.randn(steps, batch, hidden), torch.randn(batch, hidden), weight


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("sizes", [(7, 4, 5), (3, 9, 8), (5, 6, 14), (1, 5, 16), (4, 11, 29)])
def test_states_and_errors_are_those_of_torch(
    nonlinearity: str, sizes: tuple[int, int, int]
) -> None:
    x, start, weight = _given(*sizes)
    assert elman.suits(x, start)
    y = elman.states(x, start, weight, nonlinearity)
    wanted = _states(*(part.double() for part in (x, start, weight)), nonlinearity)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-5, atol=1e-5)
    dy = torch.randn(x.shape)
    found = elman.backward(y, dy, weight, nonlinearity)
    exact = _backward(*(part.double() for part in (y, dy, weight)), nonlinearity)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_a_cell_in_single_precision_is_the_same_run_either_way(nonlinearity: str) -> None:
    torch.manual_seed(4)
    cell = Cell("elman", 6, 12, nonlinearity=nonlinearity)
    x = torch.randn(5, 4, 6, requires_grad=True)
    start = torch.randn(4, 12, requires_grad=True)
    found = []
    for run in (cell.run_unrolled, cell.run_fused):
        y, last = run(x, (start,))
        loss = (y**2).sum() + (last[0] ** 3).sum()
        found.append((y, *torch.autograd.grad(loss, [x, start, *cell.parameters()])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_threads_share_the_texts_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    x, start, weight = _given(6, 22, 20)
    alone = elman.states(x, start, weight, "tanh")
    dy = torch.randn(x.shape)
    back = elman.backward(alone, dy, weight, "tanh")
    monkeypatch.setattr(elman, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert len(elman._slices(x)) == 3
    assert torch.equal(elman.states(x, start, weight, "tanh"), alone)
    for one, other in zip(elman.backward(alone, dy, weight, "tanh"), back, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_what_is_no_number_stays_none_and_infinities_saturate(nonlinearity: str) -> None:
    x, start, _ = _given(2, 4, 9)
    x[0, 1, 2], x[0, 2, 8], x[0, 0, 3], x[0, 3, 8] = torch.nan, torch.nan, torch.inf, -torch.inf
    zero = torch.zeros(9, 9)
    y = elman.states(x[:1], start, zero, nonlinearity)
    torch.testing.assert_close(y, _states(x[:1], start, zero, nonlinearity), equal_nan=True)


def test_rows_with_gaps_between_them() -> None:
    x, start, weight = _given(4, 8, 12)
    wide = torch.cat([x, x], -1)[..., 6:18]
    y = elman.states(wide, start, weight, "tanh")
    torch.testing.assert_close(y, elman.states(wide.clone(), start, weight, "tanh"))
    assert y.is_contiguous()


def test_a_second_derivative_is_refused_instead_of_wrong() -> None:
    cell = Cell("elman", 3, 8)
    y, _ = cell.run_fused(torch.randn(2, 4, 3), (torch.zeros(4, 8),))
    (gradient,) = torch.autograd.grad((y**2).sum(), cell.bias, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
