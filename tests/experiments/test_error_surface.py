"""The error surface: ten points by other arithmetic, the gradient, and the two descents."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from experiments.small_data import outside_its_spread
from report.drawn import Drawn, points_of
from unrolled.experiments import error_surface
from unrolled.experiments.error_surface import BEGIN, THRESHOLD, descend, error, gradient, inside
from unrolled.experiments.setup import Setup

POINTS = [
    (5.0, -2.2), (5.0, -2.6), (5.0, -2.615), (5.0, -2.63), (4.2, -2.1), (4.2, -2.15), (5.9, -2.3),
    (4.0, -3.0), (6.0, -3.0), (4.75, -2.24),
]  # fmt: skip


def _by_decimals(w: float, b: float) -> Decimal:
    """E with 60 digits, from the formula as the paper prints it."""
    with localcontext() as context:
        context.prec = 60

        def sigmoid(x: Decimal) -> Decimal:
            return 1 / (1 + (-x).exp())

        x, big_w, big_b = Decimal("0.5"), Decimal(w), Decimal(b)
        for _ in range(50):
            x = big_w * sigmoid(x) + big_b
        return (sigmoid(x) - Decimal("0.7")) ** 2


@pytest.mark.parametrize(("w", "b"), POINTS)
def test_the_surface_at_ten_points(w: float, b: float) -> None:
    expected = float(_by_decimals(w, b))
    assert float(error(w, b)) == pytest.approx(expected, rel=1e-9)
    assert gradient(w, b)[0] == pytest.approx(expected, rel=1e-9)


def test_there_is_a_wall_between_two_plateaus() -> None:
    """At w = 5 a move of 0.03 in b, over the wall, does more than one of 0.4 beyond it."""
    low, high = float(error(5.0, -2.6)), float(error(5.0, -2.63))
    assert high - low > 0.2
    assert abs(float(error(5.0, -2.2)) - low) < 0.1


@pytest.mark.parametrize(("w", "b"), POINTS[4:])
def test_the_gradient_agrees_with_finite_differences(w: float, b: float) -> None:
    step = 1e-7
    _, by_w, by_b = gradient(w, b)
    expected_w = float(error(w + step, b) - error(w - step, b)) / (2 * step)
    expected_b = float(error(w, b + step) - error(w, b - step)) / (2 * step)
    assert (by_w, by_b) == pytest.approx((expected_w, expected_b), rel=1e-4, abs=1e-6)


def test_plain_descent_is_thrown_out_in_one_step_and_rescaled_descent_stays() -> None:
    plain, rescaled = descend(BEGIN), descend(BEGIN, THRESHOLD)
    moves = np.hypot(*np.diff(plain, axis=0).T)
    assert all(inside(tuple(point)) for point in plain[:-1])
    assert not inside(tuple(plain[-1]))
    assert moves[-1] > 10 * max(moves[:-2])  # the wall, not the slope before it
    assert all(inside(tuple(point)) for point in rescaled)
    assert float(error(*rescaled[-1])) < 1e-3 < float(error(*rescaled[0]))


def test_it_draws_both_pictures(tmp_path: Path) -> None:
    results = error_surface.run(Setup("x", "smoke", tmp_path))
    assert outside_its_spread("error-surface", results) == []
    assert results["table"]["gradient descent"]["left the region"] == 1
    assert results["table"]["rescaled gradients"]["left the region"] == 0
    pictures = error_surface.draw(json.loads(json.dumps(results)))
    assert list(pictures) == ["", "contours"]
    panel = Drawn(pictures["contours"]).panels()[0]
    for title, node in Drawn(pictures["contours"]).groups("path"):
        # What is drawn is the path: from its begin to its end, or to the edge.
        read = panel.read(points_of(node[-1].attrib["d"]))
        path = np.array(results["paths"][title])
        inner = len(read) - (title == "gradient descent")
        np.testing.assert_allclose(read[:inner], path[:inner], atol=0.02)
    assert all(len(picture) < 60_000 for picture in pictures.values())
