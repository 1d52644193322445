"""Maps whose colours are numbers, with their scale beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.report.canvas import Canvas, number
from unrolled.report.line_chart import draw_axes
from unrolled.report.scales import Axis, Scale, fitting_ticks, scale_of, ticks_of
from unrolled.report.style import LINE, SMALL, WIDTH, heat_colour, text_width

Array = np.ndarray[Any, Any]

_LEVELS = 48  # colours of a map
_MORE = 0.4  # by which cells overlap, so that no gap shows between them
_BAR = 12.0  # width of the scale of colours


def heat_chart(
    maps: Mapping[str, Array],
    axes: tuple[Axis, Axis],
    values: Axis,
    title: str,
    description: str,
    *,
    height: float = 210.0,
    width: float = WIDTH,
) -> str:
    """Maps one below the other as SVG; NaN leaves a place empty.

    Args:
        maps: title -> values (rows, columns), row 0 at the bottom; places are counted from 0.
        axes: of columns and of rows. values: what the colours are.
    """
    shown = np.concatenate([found[np.isfinite(found)].ravel() for found in maps.values()])
    colours = scale_of(values, shown, 0.0, 1.0)
    ticks = ticks_of(values, colours)
    right = _BAR + 14 + max(text_width(tick.text, SMALL) for tick in ticks)
    left = 38.0
    canvas, top = Canvas(width, 10_000), 0.0
    for place, (name, found) in enumerate(maps.items()):
        if name:
            canvas.text(0, top + 12, name, bold=True)
            top += LINE + 3
        canvas.text(0, top + 11, axes[1].label)
        canvas.text(width, top + 11, values.label, anchor="end")
        top += LINE + 7
        rows, columns = found.shape
        x = Scale(-0.5, columns - 0.5, left, width - right)
        y = Scale(-0.5, rows - 0.5, top + height, top)
        draw_axes(canvas, axes, (x, y), fitting_ticks(axes[0], x))
        draw_cells(canvas, found, x, y, colours)
        draw_colour_bar(canvas, values, colours, width - right + 8, top, height)
        top += height + 18
        if place == len(maps) - 1:
            canvas.text((left + width - right) / 2, top + 13, axes[0].label, anchor="middle")
            top += LINE + 4
        top += 6
    canvas.height = math.ceil(top)
    return canvas.svg(title, description)


def draw_cells(canvas: Canvas, found: Array, x: Scale, y: Scale, colours: Scale) -> None:
    """Cells of a map (rows, columns) whose middles are whole numbers; one path a colour."""
    levels = np.full(found.shape, -1)
    finite = np.isfinite(found) & ((found > 0) | (not colours.log))
    shares = np.array([colours(value) for value in found[finite]])
    levels[finite] = np.clip(np.round(shares * (_LEVELS - 1)), 0, _LEVELS - 1)
    paths: dict[int, list[str]] = {}
    for row, line in enumerate(levels):
        edges = np.flatnonzero(np.diff(line, prepend=-2, append=-2))
        top, tall = y(row + 0.5), y(row - 0.5) - y(row + 0.5) + _MORE
        for begin, end in pairwise(edges):
            left, wide = x(begin - 0.5), x(end - 0.5) - x(begin - 0.5) + _MORE
            paths.setdefault(int(line[begin]), []).append(
                f"M{number(left)} {number(top)}h{number(wide)}v{number(tall)}h-{number(wide)}z"
            )
    for level in sorted(paths.keys() - {-1}):
        canvas.fill("".join(paths[level]), heat_colour(level / (_LEVELS - 1)))


def draw_colour_bar(
    canvas: Canvas, values: Axis, colours: Scale, left: float, top: float, height: float
) -> None:
    """The scale of colours, the largest number on top."""
    step = height / _LEVELS
    for level in range(_LEVELS):
        y, tall = top + height - (level + 1) * step, step + (_MORE if level else 0)
        canvas.fill(
            f"M{number(left)} {number(y)}h{number(_BAR)}v{number(tall)}h-{number(_BAR)}z",
            heat_colour(level / (_LEVELS - 1)),
        )
    for tick in ticks_of(values, colours):
        y = top + height * (1 - colours(tick.value))
        canvas.stroke(f"M{number(left + _BAR)} {number(y)}h3")
        canvas.text(left + _BAR + 5, y + 4, tick.text, size=SMALL)
