"""The wall in the error surface of one hidden unit, and descent with and without clipping.

x_t = w sigmoid(x_{t-1}) + b, x_0 = 0.5, E = (sigmoid(x_50) - 0.7)^2, over w and b. Where the unit
has two stable states and the start is between them, 50 steps turn a tiny change into a cliff.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unrolled.experiments.setup import Results, Setup
from unrolled.report.style import Maths
from unrolled.report.surface_chart import Surface, map_chart, surface_chart

SOURCE = (
    "R. Pascanu, T. Mikolov, Y. Bengio. On the difficulty of training recurrent neural networks. "
    "ICML 2013, figure 6."
)
PUBLISHED: dict[str, dict[str, float]] = {}  # a figure without numbers

Array = np.ndarray[Any, Any]

STEPS, START, TARGET = 50, 0.5, 0.7
W_RANGE, B_RANGE = (4.0, 6.0), (-3.0, -2.0)
BEGIN = (4.75, -2.24)  # on the low side: descent slides down to the foot of the wall
RATE, THRESHOLD, MOST = 0.3, 0.05, 60
_POINTS = {"smoke": 31, "laptop": 301, "paper": 1201}


def error(w: Array | float, b: Array | float) -> Array:
    """E at each w and b.

    >>> round(float(error(0.0, math.log(0.7 / 0.3))), 12)  # the unit is at 0.7 whatever came before
    0.0
    """
    x = np.full(np.broadcast(w, b).shape, START)
    for _ in range(STEPS):
        x = w * _sigmoid(x) + b
    return np.asarray((_sigmoid(x) - TARGET) ** 2)


def gradient(w: float, b: float) -> tuple[float, float, float]:
    """E, dE/dw and dE/db at a point, the derivatives carried along forward."""
    x, by_w, by_b = START, 0.0, 0.0
    for _ in range(STEPS):
        s = float(_sigmoid(x))
        slope = w * s * (1 - s)
        x, by_w, by_b = w * s + b, s + slope * by_w, 1 + slope * by_b
    s = float(_sigmoid(x))
    outer = 2 * (s - TARGET) * s * (1 - s)
    return (s - TARGET) ** 2, outer * by_w, outer * by_b


def descend(begin: tuple[float, float], threshold: float = math.inf) -> Array:
    """A path (N, 2) of w and b; it ends where it leaves the region.

    Args:
        threshold: a gradient whose norm is above it is rescaled to it.
    """
    point, path = begin, [begin]
    while len(path) <= MOST and inside(point):
        _, by_w, by_b = gradient(*point)
        norm = math.hypot(by_w, by_b)
        scale = RATE * min(1.0, threshold / norm if norm else 1.0)
        point = (point[0] - scale * by_w, point[1] - scale * by_b)
        path.append(point)
    return np.array(path)


def inside(point: tuple[float, float]) -> bool:
    """Whether a point is in the region that is drawn."""
    return W_RANGE[0] <= point[0] <= W_RANGE[1] and B_RANGE[0] <= point[1] <= B_RANGE[1]


def run(setup: Setup) -> Results:
    """Plain and rescaled descent, and how steep the wall is."""
    w = np.linspace(*W_RANGE, _POINTS[setup.size])
    b = np.linspace(*B_RANGE, _POINTS[setup.size])
    errors = error(w, b[:, None])
    paths = {"gradient descent": descend(BEGIN), "rescaled gradients": descend(BEGIN, THRESHOLD)}
    table = {name: _facts(path) for name, path in paths.items()}
    for name, facts in table.items():
        setup.report(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in facts.items()))
    return {
        "table": table,
        "paths": {name: path.tolist() for name, path in paths.items()},
        "settings": {"begin": BEGIN, "rate": RATE, "threshold": THRESHOLD},
        "steepest": float(np.hypot(*np.gradient(errors, b, w)).max()),
    }


def draw(results: Results) -> dict[str, str]:
    """The surface from the side and from above, with both paths."""
    paths = {}
    for name, points in results["paths"].items():
        path = np.array(points)
        paths[name] = np.column_stack([path, error(path[:, 0], path[:, 1])])
    labels = Maths("*w*"), Maths("*b*"), Maths("error *E*")
    ends = [
        f"{name} ends at w = {path[-1, 0]:.3g}, b = {path[-1, 1]:.3g}"
        for name, path in paths.items()
    ]
    described = f"Two paths of descent along a wall: {'; '.join(ends)}."

    def surface(columns: int, rows: int) -> Surface:
        w, b = np.linspace(*W_RANGE, columns), np.linspace(*B_RANGE, rows)
        return Surface(w, b, error(w, b[:, None]), labels, paths)

    return {
        "": surface_chart(surface(161, 49), "The error surface of one hidden unit", described),
        "contours": map_chart(surface(161, 121), "The same surface from above", described),
    }


def _facts(path: Array) -> dict[str, float]:
    """A path in numbers, for the table."""
    moves = np.hypot(*np.diff(path, axis=0).T)
    stays = inside((float(path[-1, 0]), float(path[-1, 1])))
    return {
        "updates inside": float(len(path) - 1 if stays else len(path) - 2),
        "longest step": float(moves.max()),
        "left the region": float(not stays),
        "error at the end, x 1000": 1000 * float(error(path[-1, 0], path[-1, 1])),
    }


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))
