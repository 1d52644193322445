"""Lines in panels, one below the other, each line with its name at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from unrolled.report.canvas import MARKERS, Canvas, Point, number, path_of, spread
from unrolled.report.scales import Axis, Scale, Tick, fitting_ticks, scale_of, ticks_of
from unrolled.report.style import (
    AXIS,
    COLOURS,
    DASHES,
    LINE,
    SMALL,
    TEXT,
    WIDTH,
    plain,
    text_width,
    wrapped,
)

Pieces = list[list[Point]]  # a line, cut where it leaves the panel
_Segments = dict[tuple[float, float], tuple[float, float]]  # x at both ends -> y at both ends

_PANEL = 190.0  # height of a panel's plot
_MARKED = 12  # points of a line that have markers
_SAME = 1.2  # lines that are closer than this cover each other


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        name: written at its end; empty: not.
        x, y: its points.
        colour: number of a colour, or a colour. dash: number of a pattern. width, opacity: of it.
        marker: number of a marker at each point, -1 for none.
        framed: whether the y axis must show all of it; else it may leave at the top.
        intervals: low and high of an interval around each point, or nothing.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int | str = 0
    dash: int = 0
    width: float = 1.8
    opacity: float = 1.0
    marker: int = -1
    framed: bool = True
    intervals: Sequence[tuple[float, float]] = ()

    @property
    def values(self) -> list[float]:
        """All that the y axis must show."""
        return [*self.y, *(end for interval in self.intervals for end in interval)]

    @property
    def paint(self) -> str:
        """Its colour."""
        return self.colour if isinstance(self.colour, str) else COLOURS[self.colour % len(COLOURS)]


@dataclass(frozen=True)
class Panel:
    """Lines over the same axes; the note stands below."""

    lines: Sequence[Line]
    x: Axis
    y: Axis
    title: str = ""
    height: float = _PANEL
    note: str = ""


@dataclass(frozen=True)
class _Label:
    """A name at a line's end, in lines of text."""

    line: Line
    texts: list[str]
    end: Point

    @property
    def height(self) -> float:
        return LINE * len(self.texts)


def numbered(names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """A colour and a dash for each name, no pair twice.

    >>> numbered(["a", "b"])
    {'a': (0, 0), 'b': (1, 0)}
    """
    return {
        name: (place % len(COLOURS), place // len(COLOURS) % len(DASHES))
        for place, name in enumerate(names)
    }


def line_chart(
    panels: Sequence[Panel],
    title: str,
    description: str = "",
    *,
    key: Sequence[Line] = (),
    shared_y: bool = True,
    width: float = WIDTH,
    alone: bool = True,
) -> str:
    """Panels as SVG.

    Args:
        description: for those who do not see it; by default each line's first and last value.
        key: lines whose names explain, above the panels, what dashes and markers mean.
        shared_y: all panels have one range of y.
        width: of the picture. alone: see `Canvas.svg`.
    """
    if shared_y:
        panels = _with_shared_limits(panels)
    right = _label_room(panels, width)
    heights = [max(panel.height, _labels_height(panel, right)) for panel in panels]
    left = max(
        tick_room(panel.y, _y_scale(panel, 0, height))
        for panel, height in zip(panels, heights, strict=True)
    )
    canvas = Canvas(width, 10_000)
    top = draw_key(canvas, key, width)
    for place, (panel, height) in enumerate(zip(panels, heights, strict=True)):
        last = place == len(panels) - 1 or panels[place + 1].x != panel.x
        top = _draw_panel(canvas, panel, (left, width - right), top, height, last)
    canvas.height = math.ceil(top)
    return canvas.svg(title, description or _described(panels), alone=alone)


def _described(panels: Sequence[Panel]) -> str:
    parts = []
    for panel in panels:
        ends = [
            f"{plain(line.name)} from {line.y[0]:.3g} to {line.y[-1]:.3g}"
            for line in panel.lines
            if line.name and len(line.y)
        ]
        axes = f"{plain(panel.y.label)} by {plain(panel.x.label)}"
        parts.append(f"{panel.title}: {axes}: ".removeprefix(": ") + "; ".join(ends))
    return ". ".join(parts) + "."


def _with_shared_limits(panels: Sequence[Panel]) -> list[Panel]:
    framed = [line for panel in panels for line in panel.lines if line.framed]
    values = [value for line in framed for value in line.values]
    scale = scale_of(panels[0].y, values, 0, 1)
    return [replace(panel, y=replace(panel.y, limits=(scale.low, scale.high))) for panel in panels]


def _label_room(panels: Sequence[Panel], width: float) -> float:
    names = [line.name for panel in panels for line in panel.lines if line.name]
    if not names:
        return 14.0
    lines = [text for name in names for text in wrapped(name, 0.33 * width)]
    return max(text_width(text) for text in lines) + 20


def _labels_height(panel: Panel, right: float) -> float:
    return sum(LINE * len(wrapped(line.name, right - 20)) for line in panel.lines if line.name) + 4


def upright_ticks(axis: Axis, scale: Scale) -> list[Tick]:
    """Ticks of a vertical axis, as many as its height has room for."""
    return ticks_of(axis, scale, max(2, min(6, int((scale.begin - scale.end) / 32))))


def tick_room(axis: Axis, scale: Scale) -> float:
    """What a vertical axis needs left of it for its ticks."""
    texts = [tick.text for tick in upright_ticks(axis, scale)]
    return max((text_width(text, SMALL) for text in texts), default=0) + 10


def _y_scale(panel: Panel, top: float, height: float) -> Scale:
    values = [value for line in panel.lines if line.framed for value in line.values]
    return scale_of(panel.y, values, top + height, top)


def draw_key(canvas: Canvas, key: Sequence[Line], width: float, edge: float = 0.0) -> float:
    """What dashes and markers mean, in rows, on a white edge if given one; the y below it."""
    x, y = 4.0, 0.0
    for line in key:
        room = 34 + text_width(line.name)
        if x > 4 and x + room > width:
            x, y = 4.0, y + LINE + 2
        middle = y + 10
        if edge:
            canvas.stroke(f"M{number(x - 1)} {middle}h24", "#ffffff", width=line.width + edge)
        canvas.stroke(
            f"M{number(x)} {middle}h22", line.paint, width=line.width, dash=DASHES[line.dash],
            opacity=line.opacity,
        )  # fmt: skip
        if line.marker >= 0:
            canvas.marks([(x + 11, middle)], line.paint, MARKERS[line.marker % len(MARKERS)])
        canvas.text(x + 28, middle + 4, line.name)
        x += room + 14
    return y + LINE + 8 if key else 2.0


def _draw_panel(
    canvas: Canvas, panel: Panel, sides: tuple[float, float], top: float, height: float, last: bool
) -> float:
    """A panel with its title and axes; the y below it."""
    left, right = sides
    if panel.title:
        canvas.text(0, top + 12, panel.title, bold=True)
        top += LINE + 3
    if panel.y.label:
        for text in wrapped(panel.y.label, canvas.width):
            canvas.text(0, top + 11, text)
            top += LINE
    top += 7
    x = scale_of(panel.x, [value for line in panel.lines for value in line.x], left, right)
    y = _y_scale(panel, top, height)
    draw_axes(canvas, (panel.x, panel.y), (x, y), fitting_ticks(panel.x, x, canvas.width))
    drawn = [_pieces(line, x, y) for line in panel.lines]
    # What is pale or dashed lets other lines be seen through it.
    segments = [
        _segments(pieces) if line.opacity == 1 and not line.dash else {}
        for line, pieces in zip(panel.lines, drawn, strict=True)
    ]
    labels = []
    for order, (line, pieces) in enumerate(zip(panel.lines, drawn, strict=True)):
        if not pieces:
            continue
        for place, (low, high) in zip(line.x, line.intervals, strict=False):
            ends = f"M{number(x(place))} {number(y(low))}V{number(y(high))}"
            canvas.stroke(ends, line.paint, width=1.2, opacity=0.6, kind="interval")
        _draw_line(canvas, line, pieces, segments, order)
        if line.name:
            end = pieces[-1][-1]
            labels.append(_Label(line, wrapped(line.name, canvas.width - right - 20), end))
    if not any(drawn):
        empty = "no finite number above 0" if panel.y.log else "no finite number"
        canvas.text((left + right) / 2, top + height / 2 + 4, empty, anchor="middle")
    draw_labels(canvas, labels, right, top, top + height)
    below = top + height + 18
    if last and panel.x.label:
        canvas.text((left + right) / 2, below + 13, panel.x.label, anchor="middle")
        below += LINE + 4
    for text in wrapped(panel.note, canvas.width, SMALL) if panel.note else ():
        canvas.text(0, below + 11, text, size=SMALL)
        below += LINE
    return below + 6


def draw_axes(
    canvas: Canvas, axes: tuple[Axis, Axis], scales: tuple[Scale, Scale], x_ticks: Sequence[Tick]
) -> None:
    """Grid lines with their numbers at the left, ticks with theirs below."""
    x, y = scales
    for tick in upright_ticks(axes[1], y):
        place = y(tick.value)
        canvas.stroke(
            f"M{number(x.begin)} {number(place)}H{number(x.end)}", opacity=0.35, kind="grid"
        )
        canvas.text(x.begin - 6, place + 4, tick.text, anchor="end", size=SMALL)
    canvas.stroke(f"M{number(x.begin)} {number(y.begin)}H{number(x.end)}")
    for tick in x_ticks:
        place = x(tick.value)
        canvas.stroke(f"M{number(place)} {number(y.begin)}v4")
        canvas.text(place, y.begin + 16, tick.text, anchor="middle", size=SMALL)


def _pieces(line: Line, x: Scale, y: Scale) -> Pieces:
    """The places of a line's points, cut where it leaves the panel or has no number.

    On a logarithmic axis 0 is no number: it would be at an infinite depth.
    """
    top, bottom = min(y.begin, y.end), max(y.begin, y.end)
    pieces: Pieces = [[]]
    before: Point | None = None
    for one, other in zip(line.x, line.y, strict=True):
        if math.isnan(one) or math.isnan(other) or (y.log and other <= 0):
            before = None
            pieces.append([])
            continue
        point = (x(one), y(min(other, 1e300)))
        inside = top - 0.01 <= point[1] <= bottom + 0.01
        if before is not None and inside != bool(pieces[-1]):
            pieces[-1].append(_crossing(before, point, top, bottom))
        if inside:
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
        before = point
    return [piece for piece in pieces if piece]


def _crossing(one: Point, other: Point, top: float, bottom: float) -> Point:
    """Where the way between two places, one of them outside, crosses the edge."""
    outside = one if not top <= one[1] <= bottom else other
    edge = top if outside[1] < top else bottom
    share = (edge - one[1]) / (other[1] - one[1])
    return one[0] + share * (other[0] - one[0]), edge


def _draw_line(
    canvas: Canvas, line: Line, pieces: Pieces, segments: Sequence[_Segments], order: int
) -> None:
    """A line; where several cover each other, each shows in turn."""
    own_dash = DASHES[line.dash % len(DASHES)]
    canvas.begin("line", plain(line.name))
    for piece in pieces:
        for (among, place), points in _by_cover(piece, segments, order):
            dash, offset = own_dash, 0.0
            if place:
                dash, offset = f"6 {6 * (among - 1)}", 6.0 * (among - place)
            canvas.stroke(
                path_of(points), line.paint, width=line.width, dash=dash, offset=offset,
                opacity=line.opacity,
            )  # fmt: skip
        if line.marker >= 0 or len(piece) == 1:
            # Of many points a few are marked, other ones than those of the lines before.
            every = math.ceil(len(piece) / _MARKED)
            points = piece[(order + max(line.marker, 0)) % every :: every]
            canvas.marks(points, line.paint, MARKERS[max(line.marker, 0) % len(MARKERS)])
    canvas.end()


def _segments(pieces: Pieces) -> _Segments:
    """The y at both ends of each part of a line, by the x at both ends."""
    return {
        (round(x0, 1), round(x1, 1)): (y0, y1)
        for piece in pieces
        for (x0, y0), (x1, y1) in pairwise(piece)
    }


def _by_cover(
    piece: list[Point], segments: Sequence[_Segments], order: int
) -> list[tuple[tuple[int, int], list[Point]]]:
    """Parts of a line, each with the number of lines that cover each other there, and its place."""
    found: list[tuple[tuple[int, int], list[Point]]] = []
    for (x0, y0), (x1, y1) in pairwise(piece):
        ends = round(x0, 1), round(x1, 1)
        group = [
            other
            for other, known in enumerate(segments)
            if ends in known and math.dist(known[ends], (y0, y1)) < _SAME
        ]
        cover = (len(group), group.index(order)) if order in group else (1, 0)
        if found and found[-1][0] == cover:
            found[-1][1].append((x1, y1))
        else:
            found.append((cover, [(x0, y0), (x1, y1)]))
    return found


def draw_labels(
    canvas: Canvas, labels: Sequence[_Label], right: float, top: float, bottom: float
) -> None:
    """Names in a column right of the panel, each joined to the end of its line."""
    ordered = sorted(labels, key=lambda label: label.end[1])
    heights = [label.height for label in ordered]
    middles = spread([label.end[1] for label in ordered], heights, top - 4, bottom + 4)
    for label, middle in zip(ordered, middles, strict=True):
        x, y = label.end
        if x < right - 1:  # a line that ends early
            canvas.stroke(
                path_of([(x + 4, y), (right, y)]), AXIS, dash="1 3", opacity=0.9, kind="leader"
            )
        canvas.stroke(
            path_of([(max(x, right) + 1, y), (right + 14, middle)]), label.line.paint,
            width=1.2, kind="leader",
        )  # fmt: skip
        first = middle - LINE * (len(label.texts) - 1) / 2
        for place, text in enumerate(label.texts):
            canvas.text(right + 17, first + LINE * place + 0.35 * TEXT, text)
