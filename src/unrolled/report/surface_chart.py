"""A surface over two numbers with paths on it: seen from the side, and from above as a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.report.canvas import Canvas, Point, number, path_of
from unrolled.report.heat_chart import draw_cells, draw_colour_bar
from unrolled.report.line_chart import Line, draw_axes, draw_key
from unrolled.report.scales import Axis, Scale, fitting_ticks, scale_of, ticks_of
from unrolled.report.style import AXIS, COLOURS, LINE, SMALL, WIDTH, heat_colour

Array = np.ndarray[Any, Any]

_LEVELS = 24
_EDGE = 2.2  # of white around a path
_TURN, _TILT = math.radians(62), math.radians(32)  # where it is seen from


@dataclass(frozen=True)
class Surface:
    """Heights over a grid, and paths.

    Attributes:
        x, y: axes (W,) and (B,). heights: (B, W).
        labels: of x, y and height.
        paths: name -> points (N, 3) of x, y and height; one that ends outside of the grid is drawn
            to its edge.
    """

    x: Array
    y: Array
    heights: Array
    labels: tuple[str, str, str]
    paths: Mapping[str, Array]

    def path(self, name: str) -> Array:
        """A path up to the edge of the grid, (N, 3)."""
        points = self.paths[name]
        low, high = np.array([self.x[0], self.y[0]]), np.array([self.x[-1], self.y[-1]])
        outside = ((points[:, :2] < low) | (points[:, :2] > high)).any(1)
        if not outside.any():
            return points
        first = int(outside.argmax())
        last, way = points[first - 1], points[first, :2] - points[first - 1, :2]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(way > 0, high - last[:2], low - last[:2]) / way
        share = float(np.nanmin(shares))
        return np.vstack([points[:first], np.append(last[:2] + share * way, last[2])])


def map_chart(surface: Surface, title: str, description: str, *, width: float = WIDTH) -> str:
    """The surface from above as SVG, its heights as colours."""
    canvas, height, left, right = Canvas(width, 10_000), 0.66 * width, 44.0, 54.0
    values = Axis(surface.labels[2])
    colours = scale_of(values, surface.heights.ravel(), 0, 1)
    top = _draw_key(canvas, surface)
    canvas.text(0, top + 11, surface.labels[1])
    canvas.text(width, top + 11, surface.labels[2], anchor="end")
    top += LINE + 7
    rows, columns = surface.heights.shape
    x = Scale(float(surface.x[0]), float(surface.x[-1]), left, width - right)
    y = Scale(float(surface.y[0]), float(surface.y[-1]), top + height, top)
    axes = Axis(surface.labels[0]), Axis(surface.labels[1])
    draw_axes(canvas, axes, (x, y), fitting_ticks(axes[0], x))
    across = Scale(-0.5, columns - 0.5, left, width - right)
    upwards = Scale(-0.5, rows - 0.5, top + height, top)
    draw_cells(canvas, surface.heights, across, upwards, colours)
    draw_colour_bar(canvas, values, colours, width - right + 8, top, height)
    for line, name in zip(_key(surface), surface.paths, strict=True):
        _draw_path(canvas, [(x(px), y(py)) for px, py, _ in surface.path(name)], line)
    canvas.text((left + width - right) / 2, top + height + 31, surface.labels[0], anchor="middle")
    canvas.height = math.ceil(top + height + 40)
    return canvas.svg(title, description)


def surface_chart(surface: Surface, title: str, description: str, *, width: float = WIDTH) -> str:
    """The surface from the side as SVG."""
    canvas = Canvas(width, 10_000)
    top = _draw_key(canvas, surface)
    values = Axis(surface.labels[2])
    scale = scale_of(values, surface.heights.ravel(), 0, 1)
    view = _View(surface, scale, width, top)
    _draw_floor(canvas, surface, view)
    for d, level in _strips(surface, view, scale):
        # Its edge, in its colour, covers the gap to the next one.
        colour = heat_colour(level / (_LEVELS - 1))
        canvas.add(f'<path d="{d}" fill="{colour}" stroke="{colour}" stroke-width="0.7"/>')
    for line, name in zip(_key(surface), surface.paths, strict=True):
        _draw_path(canvas, [view.place(*point) for point in surface.path(name)], line)
    corner = surface.x[-1], surface.y[0]
    for tick in ticks_of(values, scale, 4):
        px, py = view.place(*corner, tick.value)
        canvas.stroke(f"M{number(px)} {number(py)}h-4")
        canvas.text(px - 7, py + 4, tick.text, anchor="end", size=SMALL)
    canvas.stroke(path_of([view.place(*corner, scale.low), view.place(*corner, scale.high)]))
    px, py = view.place(*corner, scale.high)
    canvas.text(max(px - 40, 0), py - 8, surface.labels[2])
    canvas.height = math.ceil(view.bottom + 34)
    return canvas.svg(title, description)


class _View:
    """Places of points (x, y, height), seen from afar."""

    def __init__(self, surface: Surface, scale: Scale, width: float, top: float) -> None:
        self._x = Scale(float(surface.x[0]), float(surface.x[-1]), -0.5, 0.5)
        self._y = Scale(float(surface.y[0]), float(surface.y[-1]), -0.5, 0.5)
        self._height, self.low = scale, scale.low
        self._middle, self._top, self._size = 0.0, 0.0, 1.0
        corners = [
            self.place(x, y, z)
            for x in (surface.x[0], surface.x[-1])
            for y in (surface.y[0], surface.y[-1])
            for z in (scale.low, scale.high)
        ]
        lefts, tops = zip(*corners, strict=True)
        self._size = (width - 76) / (max(lefts) - min(lefts))
        self._middle = 44 - min(lefts) * self._size
        self._top = top + 12 - min(tops) * self._size
        self.bottom = self._top + max(tops) * self._size

    def place(self, x: float, y: float, height: float) -> Point:
        """Where a point is seen."""
        u, v, z = self._x(x), self._y(y), self._height(height)
        right = v * math.cos(_TURN) - u * math.sin(_TURN)
        near = u * math.cos(_TURN) + v * math.sin(_TURN)
        down = near * math.sin(_TILT) - 0.62 * z * math.cos(_TILT)
        return self._middle + self._size * right, self._top + self._size * down


def _strips(surface: Surface, view: _View, scale: Scale) -> list[tuple[str, int]]:
    """Pieces of the surface and their colours, far ones first: cells of one colour in a row."""
    heights = surface.heights
    found = []
    for row in range(len(surface.y) - 1):
        edges = [
            [
                view.place(x, surface.y[line], z)
                for x, z in zip(surface.x, heights[line], strict=True)
            ]
            for line in (row, row + 1)
        ]
        corners = np.stack([heights[row : row + 2, :-1], heights[row : row + 2, 1:]])
        middles = (corners.min((0, 1)) + corners.max((0, 1))) / 2
        levels = np.array([round(scale(middle) * (_LEVELS - 1)) for middle in middles])
        ends = np.flatnonzero(np.diff(levels, prepend=-1, append=-1))
        for begin, end in pairwise(ends):
            far, close = (_thinned(edge[begin : end + 1]) for edge in edges)
            found.append((path_of([*far, *close[::-1]]) + "z", int(levels[begin])))
    return found


def _thinned(points: Sequence[Point], most: float = 0.3) -> list[Point]:
    """The points without those that lie on the way between their neighbours."""
    found = [points[0]]
    for one, after in pairwise(points[1:]):
        (x0, y0), (x1, y1) = found[-1], after
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-9)
        away = abs((x1 - x0) * (one[1] - y0) - (y1 - y0) * (one[0] - x0)) / length
        if away > most:
            found.append(one)
    return [*found, points[-1]]


def _draw_floor(canvas: Canvas, surface: Surface, view: _View) -> None:
    """The axes along the two near edges of the floor, with ticks."""
    low, x_end, y_end = view.low, float(surface.x[-1]), float(surface.y[-1])

    def along_x(value: float) -> Point:
        return view.place(value, y_end, low)

    def along_y(value: float) -> Point:
        return view.place(x_end, value, low)

    _draw_edge(canvas, surface.labels[0], surface.x, along_x, 1)
    _draw_edge(canvas, surface.labels[1], surface.y, along_y, -1)


def _draw_edge(
    canvas: Canvas, label: str, values: Array, place: Callable[[float], Point], side: int
) -> None:
    """One axis of the floor, its texts right of it (side 1) or left (-1)."""
    first, last = float(values[0]), float(values[-1])
    canvas.stroke(path_of([place(first), place(last)]))
    anchor = "start" if side > 0 else "end"
    for tick in ticks_of(Axis(label), Scale(first, last, 0, 1), 4):
        px, py = place(tick.value)
        canvas.stroke(f"M{number(px)} {number(py)}l{3 * side} 3")
        canvas.text(px + 5 * side, py + 13, tick.text, anchor=anchor, size=SMALL)
    px, py = place((first + last) / 2)
    canvas.text(px + 22 * side, py + 30, label, anchor=anchor)


def _draw_key(canvas: Canvas, surface: Surface) -> float:
    """The paths' names; the y below them."""
    return draw_key(canvas, _key(surface), canvas.width, edge=_EDGE)


def _key(surface: Surface) -> list[Line]:
    return [
        Line(name, [], [], ("#000000", COLOURS[1])[order % 2], width=2.2)
        for order, name in enumerate(surface.paths)
    ]


def _draw_path(canvas: Canvas, points: Sequence[Point], line: Line) -> None:
    """A path with a white edge, which shows on every colour of the surface."""
    canvas.begin("path", line.name)
    d = path_of(points)
    canvas.stroke(d, "#ffffff", width=line.width + _EDGE)
    canvas.stroke(d, line.paint, width=line.width)
    canvas.end()
    x, y = points[0]
    canvas.add(f'<circle cx="{number(x)}" cy="{number(y)}" r="4" fill="{AXIS}" stroke="#fff"/>')
