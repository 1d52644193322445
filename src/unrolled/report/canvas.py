"""SVG text, written piece by piece, and the boxes that texts take."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unrolled.report.style import (
    AXIS,
    EDGES,
    FONT,
    INK,
    STYLE_SHEET,
    TEXT,
    runs,
    text_width,
    tspans,
)

Point = tuple[float, float]

_MARGIN = 4  # around a picture

# Markers around a point, about seven units wide.
_MARKERS = {
    "circle": "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "square": "m-3-3h6v6h-6z",
    "diamond": "m0-4.2l4.2 4.2l-4.2 4.2l-4.2-4.2z",
    "up": "m0-4l3.8 7h-7.6z",
    "down": "m0 4l3.8-7h-7.6z",
}
MARKERS = tuple(_MARKERS)


@dataclass(frozen=True)
class Box:
    """A rectangle, in the units of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        return (
            self.left < other.right and other.left < self.right
            and self.top < other.bottom and other.top < self.bottom
        )  # fmt: skip

    def crossed_by(self, one: Point, other: Point) -> bool:
        """Whether the line between two points runs through it."""
        begin, end = 0.0, 1.0
        for low, high, start, way in (
            (self.left, self.right, one[0], other[0] - one[0]),
            (self.top, self.bottom, one[1], other[1] - one[1]),
        ):
            if way == 0:
                if not low < start < high:
                    return False
                continue
            near, far = sorted(((low - start) / way, (high - start) / way))
            begin, end = max(begin, near), min(end, far)
        return begin < end

    def within(self, other: Box) -> bool:
        """Whether the other holds all of it."""
        return (
            self.left >= other.left and self.right <= other.right
            and self.top >= other.top and self.bottom <= other.bottom
        )  # fmt: skip


def number(value: float) -> str:
    """A coordinate, to a hundredth.

    >>> number(12.0), number(0.123), number(-0.001)
    ('12', '0.12', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def path_of(points: Sequence[Point]) -> str:
    """The ``d`` of a line through points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def text_box(x: float, y: float, label: str, anchor: str = "start", size: float = TEXT) -> Box:
    """The box of a text whose baseline begins, ends or is centred at (x, y)."""
    width = text_width(label, size)
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
    return Box(left, y - 0.8 * size, left + width, y + 0.25 * size)


class Canvas:
    """A picture of a given size; y goes down, as in SVG."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        """Add SVG text."""
        self._parts.append(part)

    def text(
        self,
        x: float,
        y: float,
        label: str,
        *,
        anchor: str = "start",
        size: float = TEXT,
        bold: bool = False,
    ) -> Box:
        """Write a label; its box."""
        box = text_box(x, y, label, anchor, size)
        if len(runs(label)) > 1:  # some programs cannot align text of several kinds
            x, anchor = box.left, "start"
        given = "" if anchor == "start" else f' text-anchor="{anchor}"'
        given += "" if size == TEXT else f' font-size="{number(size)}"'
        given += ' font-weight="600"' if bold else ""
        self.add(f'<text x="{number(x)}" y="{number(y)}"{given}>{tspans(label, size)}</text>')
        return box

    def stroke(
        self,
        d: str,
        colour: str = AXIS,
        *,
        width: float = 1.0,
        dash: str = "",
        offset: float = 0.0,
        opacity: float = 1.0,
        kind: str = "",
    ) -> None:
        """Draw a path; axes and what has the colour of text follow the page."""
        classes = " ".join(filter(None, (kind, {AXIS: "u-a", INK: "u-s"}.get(colour))))
        given = f' class="{classes}"' if classes else ""
        given += f' stroke-width="{number(width)}"' if width != 1 else ""
        given += f' stroke-dasharray="{dash}"' if dash else ""
        given += f' stroke-dashoffset="{number(offset)}"' if offset else ""
        given += f' stroke-opacity="{number(opacity)}"' if opacity != 1 else ""
        self.add(f'<path{given} d="{d}" fill="none" stroke="{colour}" stroke-linejoin="round"/>')

    def marks(self, points: Iterable[Point], colour: str, shape: str = "circle") -> None:
        """Draw a marker at each point."""
        given = ' class="u-d"' if colour == INK else ""
        d = "".join(f"M{number(x)} {number(y)}{_MARKERS[shape]}" for x, y in points)
        self.add(f'<path{given} d="{d}" fill="{colour}"/>')

    def fill(self, d: str, colour: str) -> None:
        """Fill a path, its edges not smoothed, so that neighbours meet without a gap."""
        self.add(f'<path d="{d}" fill="{colour}" shape-rendering="crispEdges"/>')

    def begin(self, kind: str, title: str) -> None:
        """Begin a group of marks with a title; `end` ends it."""
        self.add(f'<g class="{kind}"><title>{html.escape(title, quote=False)}</title>')

    def end(self) -> None:
        """End the group."""
        self.add("</g>")

    def svg(self, title: str, description: str, *, alone: bool = True) -> str:
        """The picture as text.

        Args:
            title, description: for those who do not see it.
            alone: as a file; else inside a page, whose width it takes and whose style sheet holds
                `STYLE_SHEET`.
        """
        width, height = number(self.width + 2 * _MARGIN), number(self.height + 2 * _MARGIN)
        size = f"-{_MARGIN} -{_MARGIN} {width} {height}"
        body = "".join(self._parts)
        # Several pictures share a page: each has names of its own.
        name = "u" + hashlib.sha256(f"{title}{size}{body}".encode()).hexdigest()[:10]
        given = f' width="{width}" height="{height}"' if alone else ""
        style = f"<style>{STYLE_SHEET}{EDGES}</style>" if alone else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}"{given} role="img" '
            f'aria-labelledby="{name}t {name}d" font-family="{FONT}" font-size="{number(TEXT)}" '
            f'class="u-i" fill="{INK}">'
            f'<title id="{name}t">{html.escape(title, quote=False)}</title>'
            f'<desc id="{name}d">{html.escape(description, quote=False)}</desc>{style}{body}</svg>'
            + ("\n" if alone else "")
        )


def spread(
    wanted: Sequence[float], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Middles of labels in one column, as near to the wanted ones as they can be without overlap.

    Args:
        wanted: middles, ascending. heights: of the labels. low, high: ends of the column.

    >>> spread([10, 11, 40], [8, 8, 8], 0, 100)
    [6.5, 14.5, 40.0]
    """
    before = [sum(heights[:place]) + heights[place] / 2 for place in range(len(heights))]
    # Least squares under an order: blocks of labels that touch stand at their mean.
    blocks: list[tuple[float, int]] = []
    for value, offset in zip(wanted, before, strict=True):
        mean, count = value - offset, 1
        while blocks and blocks[-1][0] > mean:
            last, size = blocks.pop()
            mean = (last * size + mean * count) / (size + count)
            count += size
        blocks.append((mean, count))
    last_place = max(high - sum(heights), low)
    starts = [min(max(mean, low), last_place) for mean, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, before, strict=True)]


def union(boxes: Iterable[Box]) -> Box:
    """The smallest box around boxes."""
    sides = [(box.left, box.top, box.right, box.bottom) for box in boxes]
    lefts, tops, rights, bottoms = zip(*sides, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))
