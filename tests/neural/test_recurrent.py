"""The kernels of recurrent layers: states and gradients of a step at a time, whatever the sizes."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from denormals import count_denormals, needs_mode
from unrolled.errors import SettingError
from unrolled.neural import recurrent
from unrolled.neural.cells import NO_LIMITS, NONLINEARITIES, Cell
from unrolled.neural.recurrent import Limits, draw_dropout
from unrolled.runtime import torch_threads

KINDS = [*itertools.product(["elman"], NONLINEARITIES), ("lstm", "tanh"), ("gru", "tanh")]


def _given(
    kind: str, nonlinearity: str, steps: int, batch: int, sizes: tuple[int, int]
) -> tuple[Cell, torch.Tensor, tuple[torch.Tensor, ...]]:
    inputs, hidden = sizes
    torch.manual_seed(steps + batch + hidden)
    cell = Cell(kind, inputs, hidden, nonlinearity=nonlinearity)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return cell, torch.randn(steps, batch, inputs), (torch.randn(batch, hidden),) * cell.states


def _gradients(
    cell: Cell, x: torch.Tensor, state: tuple[torch.Tensor, ...], run: str,
    limits: Limits = NO_LIMITS, *, from_all: bool = True, **options: float,
) -> list[torch.Tensor]:  # fmt: skip
    """States and gradients by all that there is, in the precision of the cell."""
    x, *start = (part.detach().to(cell.bias.dtype).requires_grad_() for part in (x, *state))
    y, last = getattr(cell, run)(x, tuple(start), limits=limits, **options)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    loss = sum((part**3).sum() for part in last) + (from_all * (weights * y).sum())
    wanted = [x, *start, *cell.parameters()]
    return [part.detach() for part in (y, *last)] + [*torch.autograd.grad(loss, wanted)]


def _compare(found: list[torch.Tensor], exact: list[torch.Tensor]) -> None:
    for one, other in zip(found, exact, strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=2e-5 * scale + 1e-7)


@pytest.fixture(autouse=True)
def _short_sequences_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "_LONG", 1)


@pytest.mark.parametrize("from_all", [True, False])
@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
@pytest.mark.parametrize(
    ("steps", "batch", "sizes"),
    [(7, 4, (1, 5)), (3, 9, (6, 8)), (5, 70, (2, 14)), (1, 5, (9, 16)), (90, 11, (1, 29))],
)
def test_states_and_gradients_are_those_of_double_precision(
    kind: str, nonlinearity: str, steps: int, batch: int, sizes: tuple[int, int], from_all: bool
) -> None:
    cell, x, state = _given(kind, nonlinearity, steps, batch, sizes)
    if nonlinearity in ("relu", "linear"):
        with torch.no_grad():
            cell.state_weight.mul_(0.3)  # no explosion
    found = _gradients(cell, x, state, "run_fused", from_all=from_all)
    _compare(found, _gradients(cell.double(), x, state, "run_unrolled", from_all=from_all))


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
@pytest.mark.parametrize(
    "limits", [Limits(size=0.05), Limits(norm=0.1), Limits(truncation=4), Limits(0.2, 0.3, 5)]
)
@pytest.mark.parametrize("from_all", [True, False])
def test_limits_of_errors_are_those_of_a_step_at_a_time(
    kind: str, nonlinearity: str, limits: Limits, from_all: bool
) -> None:
    cell, x, state = _given(kind, nonlinearity, 13, 6, (2, 9))
    found = _gradients(cell, x, state, "run_fused", limits, from_all=from_all)
    cell = cell.double()
    exact = _gradients(cell, x, state, "run_unrolled", limits, from_all=from_all)
    _compare(found, exact)
    # They change something, and other precisions have them too.
    free = _gradients(cell, x, state, "run_unrolled", from_all=from_all)
    assert not torch.allclose(free[-1], exact[-1], rtol=1e-3)
    _compare(_gradients(cell, x, state, "run_fused", limits, from_all=from_all), exact)


@pytest.mark.parametrize("sizes", [(2, 9), (1, 32)])
@pytest.mark.parametrize("limits", [NO_LIMITS, Limits(norm=0.1, truncation=9)])
def test_dropped_updates_are_those_of_a_step_at_a_time(
    sizes: tuple[int, int], limits: Limits
) -> None:
    cell, x, state = _given("lstm", "tanh", 21, 7, sizes)
    exact_cell = copy.deepcopy(cell).double()
    found = []
    for one, run in ((cell, "run_fused"), (exact_cell, "run_fused"), (exact_cell, "run_unrolled")):
        torch.manual_seed(5)
        found.append(_gradients(one, x, state, run, limits, dropout_updates=0.25))
    _compare(found[0], found[2])
    _compare(found[1], found[2])
    # Others are dropped the next time, and nothing without being asked.
    again = _gradients(exact_cell, x, state, "run_unrolled", limits, dropout_updates=0.25)
    assert not torch.allclose(again[0], found[2][0], rtol=1e-3)
    whole = _gradients(cell, x, state, "run_fused", limits)
    _compare(whole, _gradients(exact_cell, x, state, "run_unrolled", limits))


def test_of_dropped_updates_the_mean_stays() -> None:
    torch.manual_seed(1)
    for given in (0.25, 0.1, 0.3, 0.999):
        share = Cell("lstm", 1, 1).dropout_share(given)
        assert share == pytest.approx(given, abs=1 / 256)
        kept = torch.empty(2000, 100)
        draw_dropout(kept, share)
        assert kept.unique().tolist() == pytest.approx([0, 1 / (1 - share)])
        assert float((kept == 0).double().mean()) == pytest.approx(share, abs=0.005)
        spread = (share / (1 - share) / 100) ** 0.5
        assert float(kept.mean(1).std()) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize("run", ["run_fused", "run_unrolled"])
def test_shares_that_are_not_allowed_are_refused(share: float, run: str) -> None:
    cell, x, state = _given("lstm", "tanh", 3, 4, (2, 8))
    with pytest.raises(SettingError, match=f"dropout_updates is {share}, allowed"):
        getattr(cell, run)(x, state, dropout_updates=share)


@pytest.mark.parametrize("kind", ["elman", "irnn", "gru"])
@pytest.mark.parametrize("run", ["run_fused", "run_unrolled"])
def test_only_updates_of_an_lstm_can_be_dropped(kind: str, run: str) -> None:
    cell, x, state = _given(kind, "tanh", 3, 4, (2, 8))
    with pytest.raises(SettingError, match=f"'{kind}'"):
        getattr(cell, run)(x, state, dropout_updates=0.5)


@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_a_truncation_as_long_as_the_sequence_is_none(kind: str) -> None:
    cell, x, state = _given(kind, "tanh", 12, 5, (2, 8))
    found = _gradients(cell, x, state, "run_fused", Limits(truncation=13))
    for one, other in zip(found, _gradients(cell, x, state, "run_fused"), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("kind", "share"), [("irnn", 0.0), ("lstm", 0.0), ("lstm", 0.5), ("gru", 0.0)]
)
def test_threads_share_the_texts_without_a_change(
    kind: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, x, state = _given(kind, "relu", 6, 103, (3, 20))
    monkeypatch.setattr(recurrent, "_WORTH_A_SLICE", 1)
    found = []
    for threads in (1, 2, 3):
        for module in (recurrent, torch_threads):
            monkeypatch.setattr(module, "threads", lambda threads=threads: threads)
        torch.manual_seed(2)
        found.append(_gradients(cell, x, state, "run_fused", dropout_updates=share))
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_what_is_no_number_stays_none_and_infinities_saturate(nonlinearity: str) -> None:
    cell = Cell("elman", 9, 9, nonlinearity=nonlinearity)
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 1.0]).view(1, 4, 1).expand(1, 4, 9)
    with torch.no_grad():
        cell.input_weight.fill_(1.0)  # no infinity times 0, nor less another
        y, _ = cell.run_fused(x, (torch.zeros(4, 9),))
        exact, _ = cell.run_unrolled(x, (torch.zeros(4, 9),))
    torch.testing.assert_close(y, exact, equal_nan=True)


def test_inputs_with_gaps_between_them() -> None:
    cell, x, state = _given("elman", "tanh", 4, 8, (6, 12))
    wide = torch.cat([x, x], -1)[..., 3:9]
    assert torch.equal(cell.run_fused(wide, state)[0], cell.run_fused(wide.clone(), state)[0])


@pytest.mark.parametrize("kind", ["elman", "lstm"])
def test_a_second_derivative_is_refused_instead_of_wrong(kind: str) -> None:
    cell, x, state = _given(kind, "tanh", 2, 4, (3, 8))
    y, _ = cell.run_fused(x, state)
    (gradient,) = torch.autograd.grad((y**2).sum(), cell.bias, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@needs_mode
@pytest.mark.parametrize("count", [1, 2])
def test_states_and_errors_that_vanish_become_zeros(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a step takes a hundred times as long on some processors.
    monkeypatch.setattr(recurrent, "_WORTH_A_SLICE", 1)
    monkeypatch.setattr(recurrent, "threads", lambda: count)
    cell = Cell("elman", 1, 16, nonlinearity="relu")
    with torch.no_grad():
        cell.state_weight.copy_(0.5 * torch.eye(16))
        cell.input_weight.fill_(1.0)
    x = torch.zeros(300, 8, 1)
    x[0] = 1.0
    x.requires_grad_()
    y, _ = cell.run_fused(x, (torch.zeros(8, 16),))
    (dx,) = torch.autograd.grad(y[-1].sum() * 1e-30, x)
    y = y.detach()
    assert float(y[120].max()) > 0
    assert float(y[-1].max()) == 0
    assert count_denormals(y, dx) == 0
    assert count_denormals(torch.full((1,), 1e-30) * 1e-10) == 1  # here all is as before
