"""Hessian-free optimisation against explicit matrices and closed solutions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.gradients.hessian_free import Curvature, HessianFree, conjugate_gradient
from unrolled.neural.cells import Cell


class _Tiny(nn.Module):
    """A recurrent net of 3 units with a softmax over 2 answers at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell("elman", 2, 3)
        self.output = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states, _ = self.cell.run_unrolled(x, (x.new_zeros(x.shape[1], 3),))
        return self.output(states[-1]), states


def _task() -> tuple[_Tiny, Tensor, Tensor]:
    torch.manual_seed(5)
    net = _Tiny().double()
    x = torch.randn(4, 6, 2, dtype=torch.float64)
    return net, x, (x[0, :, 0] > 0).long()


def _flat_run(net: _Tiny, x: Tensor) -> tuple[Tensor, object]:
    named = dict(net.named_parameters())

    def run(flat: Tensor) -> tuple[Tensor, Tensor]:
        parts = flat.split([parameter.numel() for parameter in named.values()])
        given = {
            name: part.view_as(parameter)
            for (name, parameter), part in zip(named.items(), parts, strict=True)
        }
        return torch.func.functional_call(net, given, (x,))

    return torch.cat([parameter.detach().flatten() for parameter in named.values()]), run


@pytest.mark.parametrize(("damping", "structural"), [(0.0, 0.0), (0.3, 0.0), (0.3, 2.0)])
def test_products_are_those_of_the_explicit_matrix(damping: float, structural: float) -> None:
    """G + damping (I + structural S), its Jacobians by central differences, its H by hand."""
    net, x, y = _task()
    point, run = _flat_run(net, x)
    curvature = Curvature(run, lambda z: nn.functional.cross_entropy(z, y), point)
    size, step = len(point), 1e-6
    columns: list[list[Tensor]] = [[], []]
    for unit in torch.eye(size, dtype=torch.float64):
        ahead, behind = run(point + step * unit), run(point - step * unit)
        for kept, high, low in zip(columns, ahead, behind, strict=True):
            kept.append((high - low).flatten() / (2 * step))
    outputs, states = (torch.stack(kept, 1) for kept in columns)
    probabilities = run(point)[0].softmax(1)
    blocks = [(torch.diag(p) - torch.outer(p, p)) / len(y) for p in probabilities]
    explicit = outputs.T @ torch.block_diag(*blocks) @ outputs + damping * torch.eye(size)
    explicit += damping * structural * states.T @ states / x.shape[1]
    found = torch.stack(
        [curvature.product(unit, damping, structural) for unit in torch.eye(size).double()], 1
    )
    torch.testing.assert_close(found, explicit, atol=1e-8, rtol=1e-6)
    assert torch.linalg.eigvalsh(found).min() > -1e-12


def test_the_gradient_is_autograds() -> None:
    net, x, y = _task()
    point, run = _flat_run(net, x)
    loss = nn.functional.cross_entropy(net(x)[0], y)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    curvature = Curvature(run, lambda z: nn.functional.cross_entropy(z, y), point)
    torch.testing.assert_close(curvature.gradient(), expected)
    assert float(curvature.loss) == pytest.approx(float(loss.detach()))


def test_conjugate_gradient_solves_a_system_and_keeps_iterates() -> None:
    torch.manual_seed(0)
    root = torch.randn(12, 12, dtype=torch.float64)
    matrix, right = root @ root.T + torch.eye(12), torch.randn(12, dtype=torch.float64)
    kept = conjugate_gradient(
        lambda v: matrix @ v, right, torch.zeros_like(right), steps=40, tolerance=1e-15
    )
    torch.testing.assert_close(kept[-1][1], torch.linalg.solve(matrix, right))
    values = [float(x @ matrix @ x / 2 - right @ x) for _, x in kept]
    assert values == sorted(values, reverse=True)
    assert [number for number, _ in kept][:4] == [1, 2, 3, 4]
    assert len(kept) < 20
    short = conjugate_gradient(
        lambda v: matrix @ v, right, torch.zeros_like(right), steps=3, tolerance=1e-15
    )
    assert short[-1][0] == 3


def test_least_squares_is_solved_in_one_step() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(40, 5).double(), torch.randn(40, 1).double()
    net = nn.Linear(5, 1, bias=False).double()
    optimiser = HessianFree(net, damping=1e-9, tolerance=1e-12)
    optimiser.step(lambda: (net(x), lambda z: (z - y).square().mean()))
    torch.testing.assert_close(net.weight.detach().T, torch.linalg.lstsq(x, y).solution)
    assert optimiser.damping < 1e-9  # the quadratic model was right


def test_a_recurrent_net_learns_and_the_loss_never_rises() -> None:
    net, x, y = _task()
    optimiser = HessianFree(net, damping=0.1, structural=0.1)

    def closure() -> tuple[Tensor, object, Tensor]:
        outputs, states = net(x)
        return outputs, lambda z: nn.functional.cross_entropy(z, y), states

    losses = [float(optimiser.step(closure, closure)) for _ in range(15)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.1 * losses[0]


def test_a_step_that_does_not_help_is_not_taken_and_damping_grows() -> None:
    net = nn.Linear(1, 1, bias=False)
    optimiser = HessianFree(net, damping=1.0)
    before = net.weight.detach().clone()
    # The function is already at its least where the quadratic model's slope is 0.
    optimiser.step(lambda: (net(torch.ones(1, 1)), lambda z: 0 * z.sum()))
    assert torch.equal(net.weight, before)
    assert optimiser.damping == 1.5


def test_its_state_goes_to_another_and_back() -> None:
    net, x, y = _task()

    def closure() -> tuple[Tensor, object]:
        return net(x)[0], lambda z: nn.functional.cross_entropy(z, y)

    first = HessianFree(net, damping=0.1)
    first.step(closure)
    kept, weights = copy.deepcopy(first.state_dict()), copy.deepcopy(net.state_dict())
    expected = [float(first.step(closure)) for _ in range(3)]
    net.load_state_dict(weights)
    second = HessianFree(net)
    second.load_state_dict(kept)
    assert [float(second.step(closure)) for _ in range(3)] == expected


def test_what_it_refuses() -> None:
    net, x, _ = _task()
    with pytest.raises(SettingError, match="damping is 0, allowed are numbers above 0"):
        HessianFree(net, damping=0)
    with pytest.raises(SettingError, match="structural is -1, allowed are 0 and more"):
        HessianFree(net, structural=-1)
    with pytest.raises(SettingError, match="cg_steps is 0"):
        HessianFree(net, cg_steps=0)
    with pytest.raises(SettingError, match="no parameters to train"):
        HessianFree(nn.ReLU())
    optimiser = HessianFree(net, structural=1.0)
    with pytest.raises(SettingError, match=r"needs the hidden states, .* Return \(outputs, loss"):
        optimiser.step(lambda: (net(x)[0], lambda z: z.sum()))
    with pytest.raises(SettingError, match="the loss is nan before the step"):
        HessianFree(net).step(lambda: (net(x)[0], lambda z: z.sum() * float("nan")))
