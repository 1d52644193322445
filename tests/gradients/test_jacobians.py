"""Jacobians: against autograd, matrix powers and NumPy's singular values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.gradients.lag_oracle import zeros

from unrolled.errors import SettingError
from unrolled.gradients.jacobians import growth, jacobian_report, jacobians
from unrolled.gradients.tangents import tangent_of
from unrolled.neural.cells import Cell
from unrolled.neural.initialisation import spectral_radius

T, B, E, H = 7, 2, 3, 4
KINDS = [("elman", "tanh"), ("elman", "sigmoid"), ("irnn", "relu"), ("lstm", "tanh"),
         ("gru", "tanh")]  # fmt: skip


def _cell(kind: str, nonlinearity: str = "tanh") -> tuple[Cell, torch.Tensor]:
    torch.manual_seed(5)
    cell = Cell(kind, E, H, nonlinearity=nonlinearity).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.6)
    return cell, torch.randn(T, B, E, dtype=torch.float64)


def _by_autograd(cell: Cell, x: torch.Tensor, first: int, last: int, sentence: int) -> torch.Tensor:
    """d state_last / d state_first of one sentence, both after their steps; -1 is the start."""
    state = tuple(part[sentence : sentence + 1] for part in zeros(cell, B))
    for t in range(first + 1):
        state = cell.step(x[t, sentence : sentence + 1], state)

    def later(flat: torch.Tensor) -> torch.Tensor:
        now = tuple(part.unsqueeze(0) for part in flat.split(H))
        for t in range(first + 1, last + 1):
            now = cell.step(x[t, sentence : sentence + 1], now)
        return torch.cat([part[0] for part in now])

    with torch.no_grad():
        start = torch.cat([part[0] for part in state])
    return torch.autograd.functional.jacobian(later, start)


def products(steps: torch.Tensor) -> Iterator[torch.Tensor]:
    """Products over k = 1 to T steps: row t of the k-th is d state_{t+k} / d state_t."""
    total = steps
    yield total
    for k in range(1, len(steps)):
        total = steps[k:] @ total[:-1]
        yield total


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_jacobians_and_their_products_equal_autograds(kind: str, nonlinearity: str) -> None:
    cell, x = _cell(kind, nonlinearity)
    steps = jacobians(cell, x)
    for k, product in enumerate(products(steps), 1):
        assert len(product) == T - k + 1
        for t in (0, T - k):
            for sentence in range(B):
                wanted = _by_autograd(cell, x, t - 1, t + k - 1, sentence)
                torch.testing.assert_close(product[t, sentence], wanted, rtol=1e-9, atol=1e-12)
    assert k == T


def test_a_linear_nets_products_are_the_matrix_power_exactly() -> None:
    cell, x = _cell("elman", "linear")
    power = torch.eye(H, dtype=torch.float64)
    for product in products(jacobians(cell, x)):
        power = cell.state_weight.detach() @ power
        torch.testing.assert_close(product, power.expand_as(product), rtol=1e-14, atol=0)


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_the_reports_norms_are_those_of_the_products(kind: str, nonlinearity: str) -> None:
    cell, x = _cell(kind, nonlinearity)
    report = jacobian_report(tangent_of(cell, x), steps=[1, 3, T])
    assert report.steps.tolist() == [1, 3, T]
    made = list(products(jacobians(cell, x)))
    places = {1: [0, 1, 3, 5], 3: [0, 1, 3], T: [0]}
    for row, k in enumerate((1, 3, T)):
        values = np.linalg.svd(made[k - 1][places[k]].numpy(), compute_uv=False)
        np.testing.assert_allclose(report.spectrum[row], values.mean((0, 1)), atol=1e-12)
        assert report.norms[row] == pytest.approx(values[..., 0].mean())
        assert report.highest[row] == pytest.approx(values[..., 0].max())


def test_the_lectures_bound_holds_and_is_the_product_of_both_norms() -> None:
    for nonlinearity, slope in (("tanh", 1.0), ("sigmoid", 0.25), ("linear", 1.0)):
        cell, x = _cell("elman", nonlinearity)
        report = jacobian_report(tangent_of(cell, x))
        norm = np.linalg.norm(cell.state_weight.detach().numpy(), 2)
        np.testing.assert_allclose(report.bound, (norm * slope) ** report.steps)
        assert np.all(report.highest <= report.bound * (1 + 1e-12))
    gated = jacobian_report(tangent_of(*_cell("gru")))
    assert gated.beta_slope is None
    np.testing.assert_allclose(gated.bound, gated.highest[0] ** gated.steps)


def test_saturated_and_dead_units_are_counted() -> None:
    cell, x = _cell("irnn", "relu")
    with torch.no_grad():
        cell.bias[:] = torch.tensor([1e3, 1e3, -1e3, -1e3])
        cell.state_weight.zero_()
    report = jacobian_report(tangent_of(cell, x))
    assert (report.dead, report.saturated) == (0.5, {"state": 0.5})
    cell, x = _cell("elman")
    with torch.no_grad():
        cell.bias[0] = 1e3
    report = jacobian_report(tangent_of(cell, x))
    assert report.dead == 0.25
    assert report.saturated["state"] >= 0.25
    cell, x = _cell("lstm")
    with torch.no_grad():
        cell.bias[H : 2 * H] = 1e3
    report = jacobian_report(tangent_of(cell, x))
    assert report.saturated["forget"] == 1
    assert report.saturated["input"] < 1
    assert report.dead == 0


def test_radii_are_the_largest_eigenvalues() -> None:
    cell, x = _cell("gru")
    blocks = cell.state_weight.detach().split(H)
    for block, (gate, radius) in zip(
        blocks, jacobian_report(tangent_of(cell, x)).radii.items(), strict=True
    ):
        assert radius == pytest.approx(np.abs(np.linalg.eigvals(block.numpy())).max()), gate


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_growth_is_about_the_spectral_radius(scale: float) -> None:
    torch.manual_seed(2)
    for weight in (torch.randn(60, 60) / 60**0.5, torch.eye(40), torch.randn(50, 50).triu()):
        weight = weight * scale
        radius, vector = growth(weight)
        wanted = spectral_radius(weight)
        for _ in range(3):  # as a monitor goes on with the vector
            radius, vector = growth(weight, vector)
        assert radius == pytest.approx(wanted, rel=0.05)


def test_growth_of_nothing_and_of_what_is_no_number() -> None:
    assert growth(torch.zeros(4, 4))[0] == 0
    radius, vector = growth(torch.full((4, 4), torch.nan))
    assert np.isnan(radius)
    assert growth(torch.eye(4), vector)[0] == pytest.approx(1)


@pytest.mark.parametrize("steps", [[0], [T + 1]])
def test_steps_that_the_text_does_not_have_are_refused(steps: list[int]) -> None:
    with pytest.raises(SettingError, match=r"steps are \[.*\], allowed are 1 to 7, those of the"):
        jacobian_report(tangent_of(*_cell("elman")), steps=steps)
