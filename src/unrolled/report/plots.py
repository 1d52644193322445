"""The pictures of a comparison of models: inside the page of its report, or each a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from unrolled.comparison.compare import Row
from unrolled.report.line_chart import Line, Panel, line_chart, numbered
from unrolled.report.scales import Axis
from unrolled.report.scatter_chart import Dot, scatter_chart
from unrolled.report.style import INK, WIDTH
from unrolled.report.tables import FAMILIES, family, measured

# Perplexities above so many times the best would press all others into a corner.
_HIGHEST = 4.0


def against_speed(rows: Sequence[Row], width: float = WIDTH, *, alone: bool = False) -> str | None:
    """Test perplexity against tokens scored a second; None where there is nothing to draw.

    Args:
        width: of the picture. alone: a file, not a part of the report.
    """
    return _trade_off(
        near_best(rows), lambda row: row.score_tokens_per_second, "scoring speed, tokens/s", 1,
        width=width, alone=alone,
    )  # fmt: skip


def against_size(rows: Sequence[Row], width: float = WIDTH) -> str | None:
    """Test perplexity against megabytes of the model's file."""
    return _trade_off(
        near_best(rows), lambda row: row.file_bytes / 1e6, "size of the model's file, MB", -1,
        width=width,
    )  # fmt: skip


def near_best(rows: Sequence[Row]) -> list[Row]:
    """The rows that the scatters show: those whose perplexity is within four times the best."""
    order = measured(rows)
    return [row for row in order if _perplexity(row) <= _HIGHEST * _perplexity(order[0])]


def learning_curves(
    rows: Sequence[Row], width: float = WIDTH, *, alone: bool = False
) -> str | None:
    """Perplexity over the time of training, of models that were trained in epochs.

    The training perplexity is the mean over an epoch, so it is level from the epoch's begin to its
    end; the validation perplexity was measured at the end.
    """
    trained = [row for row in rows if _drawable_points(row)]
    if not trained:
        return None
    colours = numbered([row.name for row in trained])
    lines = []
    for row in trained:
        colour, _ = colours[row.name]
        times, valid, steps, means = _course(row)
        if len(row.curve) == 1 and times:
            steps, means = [*steps[:2], *times], [*means[:2], *valid]  # the two belong together
        if steps:
            lines.append(Line("", steps, means, colour, dash=2, width=1.4))
        ends = (times, valid) if times else (steps[-2:-1], means[-2:-1])
        lines.append(Line(row.name, *ends, colour, marker=0))
    key = [
        Line("on the validation text, after each epoch", [], [], INK, marker=0),
        Line("on the training text, mean of each epoch", [], [], INK, dash=2, width=1.4),
    ]
    count = len(trained)
    axes = Axis("time of training, s"), Axis("perplexity", log=True)
    return line_chart(
        [Panel(lines, *axes, height=0.55 * width)],
        "Learning curves",
        f"Perplexity against seconds of training of {count} {'net' if count == 1 else 'nets'}: "
        + "; ".join(_words(row) for row in trained),
        key=key, width=width, alone=alone,
    )  # fmt: skip


def _course(row: Row) -> tuple[list[float], list[float], list[float], list[float]]:
    """Ends of epochs and their validation perplexities; begins and ends, and training ones."""
    ends = [*accumulate(point["seconds"] for point in row.curve)]
    times, valid, steps, means = [], [], [], []
    for begin, end, point in zip([0.0, *ends], ends, row.curve, strict=False):
        if _drawable(point.get("valid_perplexity")):
            times.append(end)
            valid.append(point["valid_perplexity"])
        if _drawable(point.get("train_perplexity")):
            steps += [begin, end, math.nan]
            means += [point["train_perplexity"], point["train_perplexity"], math.nan]
    return times, valid, steps, means


def _drawable_points(row: Row) -> bool:
    known = all(isinstance(point.get("seconds"), (int, float)) for point in row.curve)
    keys = ("valid_perplexity", "train_perplexity")
    return known and any(_drawable(point.get(key)) for point in row.curve for key in keys)


def _words(row: Row) -> str:
    times, valid, steps, means = _course(row)
    if valid:
        return f"{row.name} from {valid[0]:.4g} to {valid[-1]:.4g} in {times[-1]:.0f} s"
    return f"{row.name} at {means[-2]:.4g} after {steps[-2]:.0f} s"


def _trade_off(
    rows: list[Row],
    x: Callable[[Row], float],
    label: str,
    sign: int,
    *,
    width: float,
    alone: bool = False,
) -> str | None:
    """A scatter with names, and a line along the models that no other beats in both."""
    rows = [row for row in rows if x(row) > 0]
    if not rows:
        return None
    digits = 1 if sign < 0 else 0
    quantity, _, unit = label.partition(", ")
    dots = [
        Dot(
            row.name, x(row), _perplexity(row), FAMILIES.index(family(row)),
            f"{row.name}: perplexity {_perplexity(row):.2f}, {x(row):,.{digits}f} {unit}",
        )
        for row in rows
    ]  # fmt: skip
    front = _front(rows, x, sign)
    return scatter_chart(
        dots, (Axis(label, log=True), Axis("test perplexity", log=True)),
        f"Test perplexity against {quantity}",
        "Not beaten in both: " + ", ".join(row.name for row in front),
        kinds=FAMILIES, front=[(x(row), _perplexity(row)) for row in front],
        width=width, alone=alone,
    )  # fmt: skip


def _front(rows: Sequence[Row], x: Callable[[Row], float], sign: int) -> list[Row]:
    """The rows that none beats in both perplexity and x, best perplexity first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (_perplexity(row), -sign * x(row))):
        if not front or sign * x(row) > sign * x(front[-1]):
            front.append(row)
    return front


def _perplexity(row: Row) -> float:
    return math.inf if row.test_perplexity is None else row.test_perplexity


def _drawable(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf
