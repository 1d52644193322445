"""The lecture's net against finite differences, and the notebook that tells of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.small_data import outside_its_spread
from report.drawn import Drawn
from unrolled.experiments import vanishing_gradient
from unrolled.experiments.setup import Setup
from unrolled.experiments.vanishing_gradient import (
    Settings,
    backward,
    forward,
    spiral,
    start,
    train,
)

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "vanishing_gradient.ipynb"


@pytest.mark.parametrize("nonlinearity", ["sigmoid", "relu"])
def test_gradients_agree_with_finite_differences(nonlinearity: str) -> None:
    random = np.random.default_rng(1)
    x, labels = spiral(random)
    # Away from a bias of 0: three points lie at the origin, where a ReLU would have its kink.
    net = [(weights, bias + 0.1) for weights, bias in start(3, 5, random)]

    def loss() -> float:
        right = forward(net, x, nonlinearity)[-1][np.arange(len(labels)), labels]
        return float(-np.log(right).mean())

    gradients, errors = backward(net, forward(net, x, nonlinearity), labels, nonlinearity)
    step = 1e-6
    for pair, found in zip(net, gradients, strict=True):
        for array, gradient in zip(pair, found, strict=True):
            place = tuple(size // 2 for size in array.shape)
            array[place] += step
            above = loss()
            array[place] -= 2 * step
            below = loss()
            array[place] += step
            assert gradient[place] == pytest.approx((above - below) / (2 * step), rel=1e-4)
    # A bias is added to every point's sum: its gradient is the sum of the errors there.
    for (_, dbias), error in zip(gradients, errors, strict=True):
        assert error.sum(0) == pytest.approx(dbias)


def test_sigmoids_let_the_error_vanish_and_relus_let_it_pass() -> None:
    settings = Settings(updates=0)
    shares = {}
    for nonlinearity in ("sigmoid", "relu"):
        for layers in (2, 3):
            norms = train(layers, nonlinearity, settings)["norms"][0]
            shares[nonlinearity, layers] = norms[0] / norms[-1]
    assert shares["sigmoid", 3] < shares["sigmoid", 2] / 2 < 0.05
    assert shares["relu", 3] > 0.5 * shares["relu", 2] > 0.1


def test_three_arms_of_a_spiral() -> None:
    x, labels = spiral(np.random.default_rng(0))
    assert x.shape == (300, 2)
    assert np.bincount(labels).tolist() == [100, 100, 100]
    assert np.hypot(*x.T).max() == pytest.approx(1)


def test_the_experiment_runs(tmp_path: Path) -> None:
    results = vanishing_gradient.run(Setup("x", "smoke", tmp_path))
    assert outside_its_spread("vanishing-gradient", results) == []
    assert len(results["table"]) == 4
    drawn = Drawn(vanishing_gradient.draw(json.loads(json.dumps(results)))[""])
    for panel, found in zip(drawn.panels(), results["runs"].values(), strict=True):
        lines = [line for line in drawn.lines() if panel.top < line[1][0][1] < panel.bottom + 1]
        for (name, points), norms in zip(lines, zip(*found["norms"], strict=True), strict=True):
            read = panel.read(points)
            np.testing.assert_allclose(read[:, 1], norms, rtol=0.05, err_msg=name)
            assert (np.diff(read[:, 0]) > 0).all()


def _cells(kind: str) -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_notebook_runs_and_trains_the_experiments_nets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    names: dict[str, Any] = {}
    for cell in _cells("code"):
        # Fewer updates, so that the test is quick; all else is run as it stands.
        exec(cell.replace("UPDATES = 5000", "UPDATES = 60"), names)
    assert names["UPDATES"] == 60
    for (layers, nonlinearity), (norms, right) in names["runs"].items():
        expected = train(layers, nonlinearity, Settings(updates=60))
        assert norms == pytest.approx(np.array(expected["norms"])[:60])
        assert right == pytest.approx(expected["accuracies"][:60])
    for line in capsys.readouterr().out.splitlines()[:2]:  # the check of gradients
        ours, differences = (float(word.rstrip(",")) for word in line.split()[2::2])
        assert ours == pytest.approx(differences, abs=1e-8)
    import matplotlib.pyplot as plt

    plt.close("all")


def test_the_notebook_imports_two_packages_and_names_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    imports = [line for cell in _cells("code") for line in cell.splitlines() if "import" in line]
    assert imports == ["import matplotlib.pyplot as plt", "import numpy as np"]
    assert "/work" not in text
    assert len(_cells("markdown")) >= 8
