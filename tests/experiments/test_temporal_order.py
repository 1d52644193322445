"""Temporal order: its sequences, populations against autograd, and all methods in small."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from experiments.small_data import outside_its_spread
from report.drawn import Drawn
from unrolled.errors import SettingError
from unrolled.experiments import temporal_order
from unrolled.experiments.populations import Population, Rule
from unrolled.experiments.setup import Setup
from unrolled.experiments.temporal_order import RULES, descend
from unrolled.experiments.temporal_order_nets import Settings, sequences
from unrolled.gradients.omega import omega_of
from unrolled.neural.cells import Cell


def test_two_marks_stand_where_they_may_and_make_the_answer() -> None:
    x, y = sequences(50, (3, 400), torch.Generator().manual_seed(1))
    assert x.shape == (3, 50, 400)
    marks = x < 2
    assert torch.equal(marks.sum(1), torch.full((3, 400), 2))
    places = marks.nonzero()[:, 1]
    assert set(places.tolist()) == {*range(5, 10), *range(25, 30)}
    assert set(x.unique().tolist()) == set(range(6))
    for net, row in [(0, 0), (1, 7), (2, 399)]:
        first, second = x[net, :, row][marks[net, :, row]].tolist()
        assert y[net, row] == first + 2 * second
    assert len(y.unique()) == 4
    with pytest.raises(SettingError, match="the length is 9, allowed are 10 and more"):
        sequences(9, (1, 1), torch.Generator())


def _twin(population: Population, net: int) -> tuple[Cell, nn.Linear]:
    """One net of the population as modules of their own."""
    cell, output = Cell("elman", 6, 8), nn.Linear(8, 4)
    with torch.no_grad():
        cell.input_weight.copy_(population.inputs[net].T)
        cell.state_weight.copy_(population.state[net])
        cell.bias.copy_(population.bias[net, 0])
        output.weight.copy_(population.outputs[net])
        output.bias.copy_(population.output_bias[net, 0])
    return cell, output


def _by_autograd(population: Population, net: int, x: Tensor, y: Tensor, weight: float) -> Tensor:
    cell, output = _twin(population, net)
    vectors = nn.functional.one_hot(x, 6).float()
    states, _ = cell.run_unrolled(vectors, (torch.zeros(x.shape[1], 8),))
    loss = nn.functional.cross_entropy(output(states[-1]), y)
    # The fused run's stacked states are one tensor that autograd sees through.
    fused, _ = cell.run_fused(vectors, (torch.zeros(x.shape[1], 8),))
    fused_loss = nn.functional.cross_entropy(output(fused[-1]), y)
    (loss + weight * omega_of(cell, fused_loss, fused, squared=True)).backward()
    parts = [cell.input_weight.grad, cell.state_weight.grad, output.weight.grad, cell.bias.grad]
    assert cell.input_weight.grad is not None
    parts[0] = cell.input_weight.grad.T
    return torch.cat([part.flatten() for part in [*parts, output.bias.grad] if part is not None])


def test_gradients_of_each_net_are_autograds_with_omega_of_its_own() -> None:
    rules = [Rule("plain"), Rule("regularised", clip=1.0, omega=4.0)]
    population = Population(rules, [3, 4], symbols=6, hidden=8, answers=4, spread=0.5)
    x, y = sequences(12, (2, 5), torch.Generator().manual_seed(0))
    gradients, losses, omegas = population.gradients(x, y)
    for net, rule in enumerate(rules):
        expected = _by_autograd(population, net, x[net], y[net], rule.omega)
        found = torch.cat([gradient[net].flatten() for gradient in gradients])
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    assert bool((omegas > 0).all())
    assert bool((losses > 1).all())


def test_an_update_is_clipped_by_the_norm_of_each_net() -> None:
    rules = [Rule("plain", rate=0.5), Rule("clipped", clip=1e-3, rate=0.5)]
    population = Population(rules, [1, 1], symbols=6, hidden=8, answers=4, spread=0.5)
    before = [parameter.clone() for parameter in population.parameters]
    x, y = sequences(12, (1, 5), torch.Generator().manual_seed(0))
    _, norms = population.update(x.expand(2, -1, -1), y.expand(2, -1))
    assert float(norms[0]) == pytest.approx(float(norms[1]))
    moved = [
        math.sqrt(sum(float((a[n] - b[n]).square().sum()) for a, b in zip(population.parameters,
                                                                           before, strict=True)))
        for n in range(2)
    ]  # fmt: skip
    assert moved == pytest.approx([0.5 * float(norms[0]), 0.5e-3], rel=1e-3)


def test_a_net_trains_the_same_whoever_is_beside_it() -> None:
    rule = Rule("x", rate=0.1)
    alone = Population([rule], [5], symbols=6, hidden=8, answers=4)
    beside = Population([rule] * 3, [4, 5, 6], symbols=6, hidden=8, answers=4)
    beside.keep([0, 1])
    x, y = sequences(12, (2, 5), torch.Generator().manual_seed(0))
    alone.update(x[1:], y[1:])
    beside.update(x, y)
    torch.testing.assert_close(alone.state[0], beside.state[1])
    assert beside.names == [("x", 4), ("x", 5)]


def test_omega_solves_what_plain_descent_does_not() -> None:
    """Length 20 with rates at which it takes seconds; the bar at length 50 is the laptop's size."""
    settings = Settings((20,), 1, hidden=30, rate=0.1, updates=800, check=50, fresh=1000)
    rows = {row["method"]: row["runs"][0] for row in descend(20, settings, lambda line: None)}
    assert set(rows) == {rule.name for rule in RULES}
    assert rows["SGD + clipping + Omega"]["solved"]
    assert not rows["SGD"]["solved"]


def test_all_methods_are_in_the_table(tmp_path: Path) -> None:
    results = temporal_order.run(Setup("x", "smoke", tmp_path))
    assert outside_its_spread("temporal-order", results) == []
    assert len(results["table"]) == 8
    for cells in results["table"].values():
        assert cells["nets"] == 1
        assert 0 <= cells["wrong at the end, %"] <= 100
    assert results["table"]["echo state, length 10"]["solved, %"] == 100
    drawn = Drawn(temporal_order.draw(json.loads(json.dumps(results)))[""])
    bars = [title for title, _ in drawn.groups("bar")]
    assert bars == [f"{name}: {cells['solved, %']:g}" for name, cells in results["table"].items()]
