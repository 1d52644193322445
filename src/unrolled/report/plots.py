"""The pictures of the report as SVG text.

Colours are written as CSS variables of the page, so that one picture serves light and dark.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from unrolled.comparison.compare import Row
from unrolled.report.figures import log_axis, new_figure, style, svg_text
from unrolled.report.tables import FAMILIES, family, measured

# What is drawn in the colour on the left gets the page's variable on the right.
_INK, _GRID = "#010203", "#040506"
_SERIES = [f"#0a0b{number:02x}" for number in range(1, 9)]
_VARIABLES = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    **{colour: f"var(--c{number})" for number, colour in enumerate(_SERIES, 1)},
}
_STYLE = {
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.grid.axis": "y",
}
# The size is left to the page.
_SVG_HEAD = (
    r'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \1>'
)
_MARKERS = ("o", "s", "D")
# Offsets of a label from its point, in points: (right, up, alignment).
_PLACES = [
    (7, -3.5, "left"), (7, 6, "left"), (7, -13, "left"), (-7, -3.5, "right"), (-7, 6, "right"),
    (-7, -13, "right"), (0, 9, "center"), (0, -17, "center"), (7, 17, "left"), (7, -25, "left"),
]  # fmt: skip


# Perplexities above so many times the best would press all others into a corner.
_HIGHEST = 4.0


def against_speed(rows: Sequence[Row]) -> str | None:
    """Test perplexity against tokens scored a second; None where there is nothing to draw."""
    fast = [row for row in near_best(rows) if row.score_tokens_per_second > 0]
    label = "tokens scored a second"
    return _drawn("speed", fast, _trade_off, lambda row: row.score_tokens_per_second, label, 1)


def against_size(rows: Sequence[Row]) -> str | None:
    """Test perplexity against megabytes of the model's file."""
    label = "model file, MB"
    return _drawn("size", near_best(rows), _trade_off, lambda row: row.file_bytes / 1e6, label, -1)


def learning_curves(rows: Sequence[Row]) -> str | None:
    """Perplexity over the time of training, of models that were trained in epochs."""
    return _drawn("curves", [row for row in rows if row.curve], _curves)


def near_best(rows: Sequence[Row]) -> list[Row]:
    """The rows that the scatters show: those whose perplexity is within four times the best."""
    order = measured(rows)
    return [row for row in order if _perplexity(row) <= _HIGHEST * _perplexity(order[0])]


def _drawn(salt: str, rows: list[Row], draw: Callable[..., Any], *settings: Any) -> str | None:
    """The SVG of what ``draw`` makes of the rows: a figure and the hover texts of its parts."""
    if not rows:
        return None
    with style({**_STYLE, "svg.hashsalt": salt}):
        figure, titles = draw(rows, *settings)
        return _svg(figure, salt, titles)


def _curves(rows: list[Row]) -> tuple[Any, dict[str, str]]:
    """Lines of validation perplexity, dotted ones of training perplexity."""
    figure = new_figure(9.6, 4.2)
    axes = figure.add_subplot()
    for number, row in enumerate(rows):
        colour = _SERIES[number % len(_SERIES)]
        for key, dashes in (("valid_perplexity", "o-"), ("train_perplexity", ":")):
            points = [
                (point["seconds"], point[key])
                for point in row.curve
                if point.get("seconds") is not None and _drawable(point.get(key))
            ]
            if points:
                label = f"{row.name}, {key.removesuffix('_perplexity')}"
                axes.plot(
                    *zip(*points, strict=True), dashes, color=colour, label=label, linewidth=1.8,
                    markersize=3.5, gid=f"curve-{number}-{dashes[-1]}",
                )  # fmt: skip
    axes.set(xlabel="seconds of training", ylabel="perplexity")
    if axes.lines:
        log_axis(axes.yaxis, [line.get_ydata() for line in axes.lines])
        axes.legend()
    return figure, {
        f"curve-{number}-{style}": f"{row.name}, {name}"
        for number, row in enumerate(rows)
        for style, name in (("-", "validation"), (":", "training"))
    }


def _trade_off(
    rows: list[Row], x: Callable[[Row], float], label: str, sign: int
) -> tuple[Any, dict[str, str]]:
    """A scatter with names, and a line along the models that no other beats in both."""
    figure = new_figure(6.2, 4.6)
    axes = figure.add_subplot()
    axes.set_xlabel(label)
    axes.set_ylabel("test perplexity")
    front = [(x(row), _perplexity(row)) for row in _front(rows, x, sign)]
    axes.plot(*zip(*front, strict=True), color=_INK, linewidth=0.8, alpha=0.35)
    titles, digits = {}, 1 if sign < 0 else 0
    for number, row in enumerate(rows):
        kind, name = FAMILIES.index(family(row)), f"point-{number}"
        titles[name] = (
            f"{row.name}: perplexity {_perplexity(row):.2f}, {x(row):,.{digits}f} {label}"
        )
        axes.plot(
            x(row), _perplexity(row), _MARKERS[kind], color=_SERIES[kind], markersize=6.5, gid=name
        )
    log_axis(axes.xaxis, [x(row) for row in rows])
    log_axis(axes.yaxis, [_perplexity(row) for row in rows])
    _place_names(figure, axes, [(x(row), _perplexity(row), row.name) for row in rows])
    return figure, titles


def _front(rows: Sequence[Row], x: Callable[[Row], float], sign: int) -> list[Row]:
    """The rows that none beats in both perplexity and x, best perplexity first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (_perplexity(row), -sign * x(row))):
        if not front or sign * x(row) > sign * x(front[-1]):
            front.append(row)
    return front


def _place_names(figure: Any, axes: Any, points: list[tuple[float, float, str]]) -> None:
    """Names of points, each at the first offset where it covers no point and no other name.

    A name without such an offset is left out; it is still shown on hover.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is measured below must stay where it is
    middles = [axes.transData.transform((x, y)) for x, y, _ in points]
    dots = [Bbox([middle - 5, middle + 5]) for middle in middles]
    names: list[Any] = []
    for number, (x, y, name) in enumerate(points):
        shown = name if len(name) <= 34 else name[:32] + "…"
        for right, up, side in _PLACES:
            text = axes.annotate(
                shown, (x, y), (right, up), textcoords="offset points", ha=side, fontsize=8.5
            )
            box = text.get_window_extent()
            others = [*dots[:number], *dots[number + 1 :], *names]
            inside = figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            if inside and not any(box.overlaps(other) for other in others):
                names.append(box)
                break
            text.remove()


def _svg(figure: Any, salt: str, titles: dict[str, str]) -> str:
    """The picture's SVG without head or metadata, with a hover text on each named part."""
    text = svg_text(figure, transparent=True)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    for name, title in titles.items():
        given = f'<g id="{name}">'
        text = text.replace(given, f'<g class="hover"><title>{html.escape(title)}</title>')
    # Several pictures share one page: what they name inside them must not clash.
    text = re.sub(r' id="(?=[\w.]+_\d+")', f' id="{salt}-', text)
    return re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", _SVG_HEAD, text, count=1)


def _perplexity(row: Row) -> float:
    return math.inf if row.test_perplexity is None else row.test_perplexity


def _drawable(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value < math.inf
