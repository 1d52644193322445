"""Named points, their names beside them where there is room, and a line along the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from unrolled.report.canvas import MARKERS, Box, Canvas, Point, path_of, text_box, union
from unrolled.report.line_chart import draw_axes, tick_room
from unrolled.report.scales import Axis, fitting_ticks, scale_of
from unrolled.report.style import AXIS, COLOURS, LINE, SMALL, WIDTH, text_width, wrapped

_HALF = 5.0  # half the side of the square that a point takes
_BESIDE = 8  # of the candidates are right beside the point
_COVERING, _STRIKING = 1e5, 1e4  # costs of what a name covers, and of a line through a name
_LINE = 13.0  # from one line of a name to the next


@dataclass(frozen=True)
class Dot:
    """A point of a scatter.

    Attributes:
        name: of what it stands for. x, y: numbers. kind: number of its colour and marker.
        details: its numbers in words, shown when it is pointed at.
    """

    name: str
    x: float
    y: float
    kind: int
    details: str


def scatter_chart(
    dots: Sequence[Dot],
    axes: tuple[Axis, Axis],
    title: str,
    description: str,
    *,
    kinds: Sequence[str],
    front: Sequence[Point] = (),
    width: float = WIDTH,
    alone: bool = True,
) -> str:
    """Points with their names as SVG.

    Args:
        axes: of x and of y. kinds: what the colours mean, above the picture.
        front: points of a line below all others.
        width: of the picture. alone: see `Canvas.svg`.
    """
    canvas = Canvas(width, 10_000)
    x_axis, y_axis = axes
    height = max(0.62 * width, 20.0 * len(dots) + 80)
    top = _draw_kinds(canvas, kinds)
    canvas.text(0, top + 11, y_axis.label)
    top += LINE + 7
    y = scale_of(y_axis, [dot.y for dot in dots], top + height, top)
    left = tick_room(y_axis, y)
    x = scale_of(x_axis, [dot.x for dot in dots], left, width - 12)
    draw_axes(canvas, axes, (x, y), fitting_ticks(x_axis, x, width))
    canvas.text((left + width - 12) / 2, top + height + 31, x_axis.label, anchor="middle")
    way = [(x(one), y(other)) for one, other in front]
    if len(way) > 1:
        canvas.stroke(path_of(way), AXIS, width=1.2, opacity=0.6, kind="front")
    area = Box(left + 2, top - 4, width - 2, top + height - 2)
    points = [(x(dot.x), y(dot.y)) for dot in dots]
    canvas.height = math.ceil(_draw_names(canvas, dots, points, area, way))
    for dot, point in zip(dots, points, strict=True):
        canvas.begin("point", dot.details)
        canvas.marks([point], COLOURS[dot.kind], MARKERS[dot.kind])
        canvas.end()
    return canvas.svg(title, description, alone=alone)


def _draw_names(
    canvas: Canvas, dots: Sequence[Dot], points: Sequence[Point], area: Box, way: Sequence[Point]
) -> float:
    """The names, or where they lack room numbers and a list of what they are; the y below."""
    places = _places([dot.name for dot in dots], points, area, way)
    below = area.bottom + 42
    if places is None:
        order = sorted(range(len(dots)), key=lambda number: (dots[number].y, dots[number].x))
        names = [str(order.index(number) + 1) for number in range(len(dots))]
        places = _places(names, points, area, way, at_any_cost=True) or []
        below = _draw_list(canvas, [dots[number].name for number in order], below)
    for place in places:
        _draw_name(canvas, place)
    return below


def _draw_kinds(canvas: Canvas, kinds: Sequence[str]) -> float:
    place = 6.0
    for number, kind in enumerate(kinds):
        canvas.marks([(place, 9)], COLOURS[number], MARKERS[number])
        canvas.text(place + 9, 13, kind)
        place += 30 + text_width(kind)
    return LINE + 6


@dataclass
class _Taken:
    """What names must not cover: points, names, and lines from point to point."""

    dots: list[Box]
    names: list[Box] = field(default_factory=list)
    lines: list[tuple[Point, Point]] = field(default_factory=list)


@dataclass(frozen=True)
class _Place:
    """A name's lines of text with their boxes, and the line that joins a far one to its point."""

    texts: list[str]
    boxes: list[Box]
    leader: tuple[Point, Point] | None
    cost: float = math.inf


def _places(
    names: Sequence[str],
    points: Sequence[Point],
    area: Box,
    way: Sequence[Point],
    at_any_cost: bool = False,
) -> list[_Place] | None:
    """Each name at the best place that covers no point, no name and no line; None without room."""
    taken = _Taken(
        [Box(px - _HALF, py - _HALF, px + _HALF, py + _HALF) for px, py in points],
        lines=[*pairwise(way)],
    )
    # Those with many neighbours first, as they have the fewest places to choose from.
    crowd = [sum(math.dist(point, other) < 40 for other in points) for point in points]
    found = []
    for number in sorted(range(len(points)), key=lambda number: -crowd[number]):
        texts = wrapped(names[number], 0.36 * (area.right - area.left), SMALL)
        place = _place(texts, points[number], area, taken)
        if place.cost >= _STRIKING and not at_any_cost:
            return None
        if place.leader:
            taken.lines.append(place.leader)
        taken.names += [Box(b.left - 2, b.top - 1, b.right + 2, b.bottom + 1) for b in place.boxes]
        found.append(place)
    return found


def _draw_name(canvas: Canvas, place: _Place) -> None:
    if place.leader:
        canvas.stroke(path_of(place.leader), AXIS, opacity=0.8, kind="leader")
    for box, text in zip(place.boxes, place.texts, strict=True):
        canvas.text(box.left, box.top + 0.8 * SMALL, text, size=SMALL)


def _draw_list(canvas: Canvas, names: Sequence[str], top: float) -> float:
    """What the numbers stand for; the y below it."""
    for number, name in enumerate(names, 1):
        for text in wrapped(f"{number}: {name}", canvas.width, SMALL):
            canvas.text(0, top + 10, text, size=SMALL)
            top += LINE
    return top + 4


def _place(texts: Sequence[str], point: Point, area: Box, taken: _Taken) -> _Place:
    """The best place for a name; the first one that is beside its point and free."""
    texts = list(texts)
    best = _Place(texts, [text_box(*point, text, size=SMALL) for text in texts], None)
    for order, (left, baseline) in enumerate(_candidates(texts, point)):
        boxes = [
            text_box(left, baseline + _LINE * line, text, size=SMALL)
            for line, text in enumerate(texts)
        ]
        if not all(box.within(area) for box in boxes):
            continue
        leader = _leader(point, union(boxes)) if order >= _BESIDE else None
        cost = _cost(boxes, leader, taken)
        if cost < best.cost:
            best = _Place(texts, boxes, leader, cost)
        if cost == 0:
            break
    return best


def _cost(boxes: Sequence[Box], leader: tuple[Point, Point] | None, taken: _Taken) -> float:
    """How bad a place is: names on anything are worst, then leaders over points, then length."""
    covered = sum(box.overlaps(other) for box in boxes for other in (*taken.dots, *taken.names))
    covered += sum(box.crossed_by(*line) for box in boxes for line in taken.lines)
    if leader is None:
        return _COVERING * covered
    struck = sum(name.crossed_by(*leader) for name in taken.names)
    touched = sum(dot.crossed_by(*leader) for dot in taken.dots) - 1  # its own point
    crossed = sum(_cross(leader, line) for line in taken.lines)
    worst = _COVERING * covered + _STRIKING * struck
    return worst + 20 * touched + 8 * crossed + 0.4 * math.dist(*leader) + 1


def _cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two lines cross within both."""

    def side(line: tuple[Point, Point], point: Point) -> float:
        (x0, y0), (x1, y1) = line
        return (x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0)

    return (
        side(one, other[0]) * side(one, other[1]) < 0
        and side(other, one[0]) * side(other, one[1]) < 0
    )


def _leader(point: Point, box: Box) -> tuple[Point, Point]:
    """From a point to the nearest place of a box's edge."""
    x = min(max(point[0], box.left), box.right)
    y = min(max(point[1], box.top), box.bottom)
    return point, (x, y)


def _candidates(texts: Sequence[str], middle: Point) -> Iterator[Point]:
    """Left ends and first baselines: beside the point, then in wider and wider rings."""
    px, py = middle
    wide = max(text_width(text, SMALL) for text in texts)
    tall = _LINE * (len(texts) - 1)
    level, above, below = py + 4 - tall / 2, py - 8 - tall, py + 16
    for baseline in (level, above, below):
        yield px + 8, baseline
        yield px - 8 - wide, baseline
    yield px - wide / 2, above - 2
    yield px - wide / 2, below + 2
    for ring in range(2, 20):
        for step in range(16):
            angle = math.pi * step / 8
            across, up = math.cos(angle), math.sin(angle)
            left = px + 12 * ring * across - wide * (1 - across) / 2
            yield left, level + 12 * ring * up
