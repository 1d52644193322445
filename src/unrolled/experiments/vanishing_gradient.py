"""The lecture's notebook: how much gradient reaches each layer of a small net, sigmoid and ReLU.

The net is NumPy alone, with backpropagation by hand. ``notebooks/vanishing_gradient.ipynb``
explains it step by step and trains the same nets; a test holds the two equal.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.report.line_chart import Line, Panel, line_chart
from unrolled.report.scales import Axis

SOURCE = (
    "The notebook on vanishing gradients of R. Socher's lecture on recurrent networks, CS224d "
    "2016, built anew: spiral data, nets of two and three layers, sigmoid against ReLU."
)
PUBLISHED: dict[str, dict[str, float]] = {}
SPREAD = {
    "updates to 90 % right": Spread(relative=0.2), "right at the end, %": Spread(absolute=1.0)
}  # fmt: skip

Array = np.ndarray[Any, Any]

CLASSES, POINTS = 3, 100  # arms of the spiral, and points of each
RATE = 0.5


@dataclass(frozen=True)
class Settings:
    """One size: hidden units of each layer, and updates on all points at once."""

    hidden: int = 50
    updates: int = 5000
    seed: int = 0


SETTINGS = {"smoke": Settings(20, 40), "laptop": Settings(), "paper": Settings(updates=50_000)}


def spiral(random: np.random.Generator) -> tuple[Array, Array]:
    """Points (N, 2) on three arms around the origin, and the arm of each (N,)."""
    radius = np.linspace(0, 1, POINTS)
    arms = []
    for arm in range(CLASSES):
        angle = np.linspace(4 * arm, 4 * (arm + 1), POINTS) + 0.2 * random.standard_normal(POINTS)
        arms.append(np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1))
    return np.concatenate(arms), np.repeat(np.arange(CLASSES), POINTS)


def start(layers: int, hidden: int, random: np.random.Generator) -> list[tuple[Array, Array]]:
    """Weights (in, out) and biases (out,) of each layer, the output's last."""
    widths = [2, *[hidden] * layers, CLASSES]
    pairs = pairwise(widths)
    return [
        (random.standard_normal((fan_in, out)) / np.sqrt(fan_in), np.zeros(out))
        for fan_in, out in pairs
    ]


def forward(net: list[tuple[Array, Array]], x: Array, nonlinearity: str) -> list[Array]:
    """The input, what each hidden layer makes of it, and the classes' probabilities."""
    values = [x]
    for weights, bias in net[:-1]:
        total = values[-1] @ weights + bias
        values.append(np.maximum(total, 0) if nonlinearity == "relu" else 1 / (1 + np.exp(-total)))
    scores = values[-1] @ net[-1][0] + net[-1][1]
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return [*values, exponentials / exponentials.sum(1, keepdims=True)]


def backward(
    net: list[tuple[Array, Array]], values: list[Array], labels: Array, nonlinearity: str
) -> tuple[list[tuple[Array, Array]], list[Array]]:
    """Gradients of the mean cross-entropy, shaped as the net, and the error at each layer.

    A layer's error is dE/d(x W + b), (N, width); the output's is the last.
    """
    error = values[-1].copy()
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    gradients, errors = [], []
    for layer in range(len(net) - 1, -1, -1):
        before = values[layer]
        gradients.append((before.T @ error, error.sum(0)))
        errors.append(error)
        if layer:
            slope = before > 0 if nonlinearity == "relu" else before * (1 - before)
            error = (error @ net[layer][0].T) * slope
    return gradients[::-1], errors[::-1]


def train(layers: int, nonlinearity: str, settings: Settings) -> dict[str, Any]:
    """Train a net; the norm of the error at each layer and the accuracy as it goes.

    Errors are compared and not gradients of weights, whose norms differ by the layers' inputs too.
    """
    random = np.random.default_rng(settings.seed)
    x, labels = spiral(random)
    net = start(layers, settings.hidden, random)
    steps, norms, accuracies = [], [], []
    every = max(settings.updates // 100, 1)
    for update in range(settings.updates + 1):
        values = forward(net, x, nonlinearity)
        gradients, errors = backward(net, values, labels, nonlinearity)
        if update % every == 0:
            steps.append(update)
            norms.append([float(np.linalg.norm(error)) for error in errors])
            accuracies.append(float((values[-1].argmax(1) == labels).mean()))
        for (weights, bias), (dweights, dbias) in zip(net, gradients, strict=True):
            weights -= RATE * dweights
            bias -= RATE * dbias
    return {"steps": steps, "norms": norms, "accuracies": accuracies}


def run(setup: Setup) -> Results:
    """Two and three hidden layers, sigmoid and ReLU."""
    settings = SETTINGS[setup.size]
    settings = replace(settings, seed=settings.seed + setup.seed)
    runs = {
        f"{layers} layers, {nonlinearity}": train(layers, nonlinearity, settings)
        for layers in (2, 3)
        for nonlinearity in ("sigmoid", "relu")
    }
    table = {name: _cells(found) for name, found in runs.items()}
    for name, cells in table.items():
        setup.report(f"{name}: " + ", ".join(f"{key} {value}" for key, value in cells.items()))
    return {"table": table, "settings": asdict(settings), "runs": runs}


def draw(results: Results) -> dict[str, str]:
    """The norm of the error at each layer as training goes on, a panel for each net."""
    panels = [
        Panel(
            [
                Line(
                    layer, found["steps"], [row[place] for row in found["norms"]],
                    3 if layer == "output" else place,
                )
                for place, layer in enumerate(_layers(found))
            ],
            Axis("updates"), Axis("norm of the error", log=True),
            name.replace("layers", "hidden layers").replace("relu", "ReLU"), 130,
        )
        for name, found in results["runs"].items()
    ]  # fmt: skip
    return {"": line_chart(panels, "Norm of the error, layer by layer")}


def _layers(found: dict[str, Any]) -> list[str]:
    return [*(f"layer {n}" for n in range(1, len(found["norms"][0]))), "output"]


def _cells(found: dict[str, Any]) -> dict[str, Any]:
    """Accuracy, and how much of the output's error arrives at the first layer."""
    steps, accuracies = found["steps"], found["accuracies"]
    good = [step for step, share in zip(steps, accuracies, strict=True) if share >= 0.9]
    norms = found["norms"][0]
    return {
        "error at layer 1, % of the output's, at first": 100 * norms[0] / norms[-1],
        "updates to 90 % right": good[0] if good else None,
        "right at the end, %": 100 * accuracies[-1],
    }
