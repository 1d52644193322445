"""NARMA-10 and Mackey-Glass: the series, and that reservoirs foretell them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.small_data import outside_its_spread
from report.drawn import Drawn
from unrolled.experiments import echo_state
from unrolled.experiments.echo_state import Settings, mackey_glass, narma10, narma_error
from unrolled.experiments.setup import Setup


def test_narma_obeys_its_recursion_and_is_told_from_the_past_alone() -> None:
    u, y = narma10(300, np.random.default_rng(2))
    assert u.shape == (300, 1)
    assert 0 <= u.min() < u.max() <= 0.5
    # Row t holds y_t and u_{t-1}, the last input that y_t depends on.
    for t in (10, 57, 299):
        past = y[t - 10 : t]
        expected = 0.3 * past[-1] + 0.05 * past[-1] * past.sum() + 1.5 * u[t - 9, 0] * u[t, 0] + 0.1
        assert y[t] == pytest.approx(expected)


def test_mackey_glass_obeys_its_equation() -> None:
    """The sampled series against the same equation by Heun's method, over few steps."""
    x = 1 + np.arctanh(mackey_glass(400, np.random.default_rng(3))[:, 0])
    assert 0.3 < x.min() < 0.7
    assert 1.1 < x.max() < 1.5
    slope = (x[2:] - x[:-2]) / 2  # by central differences, one unit of time apart
    late = x[:-17]
    expected = 0.2 * late / (1 + late**10) - 0.1 * x[17:]
    assert slope[16:] == pytest.approx(expected[:-1], abs=0.01)


def test_a_reservoir_is_under_the_bar_on_narma() -> None:
    settings = Settings(200, 2500, 1, 1, seeds=1, starts=1)
    assert narma_error(settings, 0) < 0.2


def test_the_experiment_runs(tmp_path: Path) -> None:
    results = echo_state.run(Setup("echo-state", "smoke", tmp_path))
    assert outside_its_spread("echo-state", results) == []
    cells = results["table"]["Mackey-Glass, 84 steps on its own"]
    assert cells["log10 of normalised error"] < -1
    drawn = Drawn(echo_state.draw(json.loads(json.dumps(results)))[""])
    lines = dict(drawn.lines())
    forecast = drawn.panels()[0]
    truth = forecast.read(lines["truth"])
    np.testing.assert_allclose(truth[:, 0], range(1, 401), atol=0.5)
    np.testing.assert_allclose(truth[:, 1], results["forecast"]["truth"], atol=0.01)
    net = forecast.read(lines["echo state network"])
    np.testing.assert_allclose(net[:, 1], results["forecast"]["net"], atol=0.01)
    # The truth is broader than the forecast on it, and none is dashed.
    assert len({look[1] for look in drawn.looks()}) == 3
    assert all(dashes == "" for _, _, dashes in drawn.looks())
