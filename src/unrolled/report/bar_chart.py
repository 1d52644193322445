"""Bars in columns: a row for each name, a column for each case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unrolled.report.canvas import Canvas, Point, number
from unrolled.report.style import AXIS, COLOURS, LINE, SMALL, WIDTH, text_width, wrapped

_ROW = 22.0


def bar_chart(
    rows: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    title: str,
    *,
    highest: float,
    label: str,
    width: float = WIDTH,
) -> str:
    """Bars from 0 to ``highest`` with their numbers as SVG.

    Args:
        rows: name -> column -> number; what is missing is left empty.
        label: what the numbers are, with their unit.
    """
    names = {name: wrapped(name, 0.34 * width) for name in rows}
    left = max(text_width(text) for texts in names.values() for text in texts) + 12
    room = (width - left) / len(columns)
    number_room = text_width(f"{highest:.0f}", SMALL) + 5
    heights = [max(_ROW, LINE * len(texts) + 4) for texts in names.values()]
    canvas = Canvas(width, 2 * LINE + 16 + sum(heights))
    canvas.text(0, 12, label)
    for place, column in enumerate(columns):
        canvas.text(left + place * room, LINE + 15, column, size=SMALL)
    top = 2 * LINE + 8
    for height, (name, texts) in zip(heights, names.items(), strict=True):
        middle = top + height / 2
        for order, text in enumerate(texts):
            baseline = middle + 4 + LINE * (order - (len(texts) - 1) / 2)
            canvas.text(left - 10, baseline, text, anchor="end")
        for place, column in enumerate(columns):
            value = rows[name].get(column)
            if value is not None:
                canvas.begin("bar", f"{name}, {column}: {value:g}")
                length = value / highest * (room - number_room - 8)
                _draw_bar(canvas, (left + place * room, middle), length, f"{value:.0f}")
                canvas.end()
        top += height
    canvas.stroke(f"M{number(left)} {number(2 * LINE + 6)}H{number(width)}", AXIS, opacity=0.35)
    parts = [
        f"{name}: " + ", ".join(f"{value:g} at {column}" for column, value in cells.items())
        for name, cells in rows.items()
    ]
    return canvas.svg(title, f"{label}. " + "; ".join(parts))


def _draw_bar(canvas: Canvas, begin: Point, length: float, shown: str) -> None:
    x, y = begin
    canvas.stroke(f"M{number(x)} {number(y - 8)}v16")
    if length > 0:
        canvas.fill(f"M{number(x)} {number(y - 6)}h{number(length)}v12H{number(x)}z", COLOURS[0])
    canvas.text(x + length + 4, y + 4, shown, size=SMALL)
