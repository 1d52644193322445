"""Jane and John: sentences, the gradient that reaches a name, a cell that bridges two words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.small_data import outside_its_spread
from report.drawn import Drawn
from unrolled.experiments import jane_and_john
from unrolled.experiments.jane_and_john import (
    NAMES,
    QUESTION,
    WORDS,
    Settings,
    _cells,
    _distance,
    _reach,
    _train,
    build,
    sentences,
)
from unrolled.experiments.setup import Setup


def test_a_sentence_has_its_name_first_and_nowhere_else() -> None:
    x, names = sentences(7, 200, torch.Generator().manual_seed(1))
    assert x.shape == (11, 200)
    assert torch.equal(x[0], names)
    assert set(names.tolist()) == set(range(len(NAMES)))
    assert int((x[1:] < len(NAMES)).sum()) == 0
    assert tuple(WORDS[word] for word in x[-3:, 5]) == QUESTION
    assert len(set(WORDS)) == len(WORDS)


def test_of_a_linear_net_the_share_that_reaches_the_name_is_the_matrix_power() -> None:
    """ReLU units that are all on are linear: k + 3 steps scale an error by 0.5^(k + 3)."""
    net = build(6, "irnn")
    with torch.no_grad():
        net.cell.state_weight.copy_(0.5 * torch.eye(6))
        net.cell.input_weight.zero_()
        net.cell.bias.fill_(1.0)
    for distance in (2, 5):
        found = _reach(net, distance, torch.Generator().manual_seed(0))
        assert found == pytest.approx(0.5 ** (distance + 3), rel=1e-4)


def test_a_gru_learns_to_look_two_words_back() -> None:
    found = _train({"kind": "gru"}, 0, Settings((2,), 250, hidden=24, rate=1e-2, fresh=200))
    assert found["right"][2] > 0.9
    untrained = _train({"kind": "gru"}, 0, Settings((2,), 0, hidden=24, fresh=200))
    assert untrained["right"][2] < 0.4


def test_a_distance_counts_only_if_all_shorter_ones_are_bridged() -> None:
    row: dict[str, Any] = {
        "right": {2: 1.0, 5: 0.95, 20: 0.5, 40: 0.99},
        "gradient": {2: 1.0, 5: 0.1, 20: 0.01, 40: 0.001},
    }
    cells = _cells([row])
    assert cells["right from so many words"] == 5
    assert cells["right after 40, %"] == 99
    assert cells["log10 of the gradient's share after 40"] == pytest.approx(-3)


def test_every_cell_is_in_the_table(tmp_path: Path) -> None:
    results = jane_and_john.run(Setup("x", "smoke", tmp_path))
    assert outside_its_spread("jane-and-john", results) == []
    assert set(results["table"]) == set(jane_and_john.CELLS)
    pictures = jane_and_john.draw(json.loads(json.dumps(results)))
    assert list(pictures) == ["", "gradients"]
    drawn = Drawn(pictures[""])
    panel = drawn.panels()[0]
    for name, points in drawn.lines():
        right = results["rows"][name][0]["right"]
        read = panel.read(points)
        np.testing.assert_allclose(read[:, 1], [100 * share for share in right.values()], atol=1)
    assert len({look[1:] for look in drawn.looks()}) == len(jane_and_john.CELLS)


def test_training_sees_all_distances_up_to_the_last() -> None:
    settings, random = Settings((2, 5, 20), 1, (40,)), torch.Generator().manual_seed(0)
    seen = [_distance(settings, random) for _ in range(600)]
    assert set(seen) == set(range(2, 21))
    assert seen.count(2) == pytest.approx(200, abs=40)
    assert settings.tested == (2, 5, 20, 40)
