"""Pictures of experiments, each a file of its own: lines in panels, a surface with two paths."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unrolled.errors import MissingExtraError

Array = np.ndarray[Any, Any]
Series = tuple[Sequence[float], Sequence[float]]  # x and y of a line

_COLOURS = ("#1668b8", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#be185d", "#4b5563")
_STYLES = ("-", "--", "-.", ":")


def require_matplotlib() -> None:
    """Say early what is missing, not after an hour of training.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("report", "matplotlib") from None


def line_panels(
    panels: Mapping[str, Mapping[str, Series]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = False,
) -> str:
    """Panels side by side with one y axis and one legend, as SVG.

    Args:
        panels: title -> name of a line -> its points; a name has one colour in all panels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(4.4 * len(panels) + 1.2, 4.0)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    handles: dict[str, Any] = {}
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        for name, (xs, ys) in lines.items():
            number = names.index(name)
            (handles[name],) = axes.plot(
                xs, ys, _STYLES[number // len(_COLOURS) % len(_STYLES)],
                color=_COLOURS[number % len(_COLOURS)], marker="o" if markers else None,
                markersize=4, linewidth=1.6,
            )  # fmt: skip
        axes.set(title=title, xlabel=x_label)
        axes.set_xscale("log" if log_x else "linear")
        axes.set_yscale("log" if log_y else "linear")
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel(y_label)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", frameon=False, fontsize=9,
        ncols=min(len(handles), 4),
    )  # fmt: skip
    return _svg(figure)


def surface(
    w: Array, b: Array, errors: Array, paths: Mapping[str, Array], heights: Mapping[str, Array]
) -> bytes:
    """An error surface in three dimensions with paths on it, as PNG.

    Args:
        w, b: axes (W,) and (B,).
        errors: (B, W).
        paths: name -> points (N, 2) of w and b; one that ends outside flies off to the edge.
        heights: name -> errors (N,) at the points.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.0, 5.2)
    axes = figure.add_subplot(projection="3d", computed_zorder=False)
    grid_w, grid_b = np.meshgrid(w, b)
    axes.plot_surface(
        grid_w, grid_b, errors, cmap="viridis", rcount=160, ccount=160, linewidth=0, alpha=0.9,
        zorder=1,
    )  # fmt: skip
    for number, (name, points) in enumerate(paths.items()):
        inside = _inside(points, w, b)
        drawn = np.column_stack([points[inside], heights[name][inside] + 0.01])
        if not inside[-1]:
            drawn = np.vstack([drawn, _exit(drawn[-1], points[-1], w, b)])
        axes.plot(
            *drawn.T, ("-", "--")[number % 2], color=("#c2410c", "#111111")[number % 2],
            linewidth=1.8, marker="o", markersize=2.5, label=name, zorder=2 + number,
        )  # fmt: skip
    axes.set(xlabel="w", ylabel="b", zlabel="error")
    axes.view_init(elev=32, azim=62)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return _png(figure)


def contours(
    w: Array, b: Array, errors: Array, paths: Mapping[str, Array], *, note: str = ""
) -> bytes:
    """The same surface from above; an arrow shows where a path leaves the picture, as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure(7.0, 4.8)
    axes = figure.add_subplot()
    filled = axes.contourf(w, b, errors, levels=24, cmap="viridis")
    figure.colorbar(filled, label="error", shrink=0.9)
    for number, (name, points) in enumerate(paths.items()):
        colour = ("#ff6b35", "#ffffff")[number % 2]
        axes.plot(
            points[:, 0], points[:, 1], ("-", "--")[number % 2], color=colour, linewidth=1.5,
            marker="o", markersize=2.5, label=name,
        )  # fmt: skip
    axes.set(xlabel="w", ylabel="b", xlim=(w[0], w[-1]), ylim=(b[0], b[-1]), title=note)
    legend = axes.legend(fontsize=9, loc="lower left", facecolor="#333333", framealpha=0.6)
    for text in legend.get_texts():
        text.set_color("white")
    return _png(figure)


def _inside(points: Array, w: Array, b: Array) -> Array:
    within: Array = (
        (points[:, 0] >= w[0]) & (points[:, 0] <= w[-1])
        & (points[:, 1] >= b[0]) & (points[:, 1] <= b[-1])
    )  # fmt: skip
    return within


def _exit(last: Array, target: Array, w: Array, b: Array) -> Array:
    """Where a flight from a last point (w, b, height) to a target (w, b) passes the edge."""
    way = target - last[:2]
    edges = np.array([w[-1] if way[0] > 0 else w[0], b[-1] if way[1] > 0 else b[0]])
    share = np.min(np.abs(edges - last[:2]) / np.maximum(np.abs(way), 1e-300))
    return np.append(last[:2] + share * way, last[2])


def _figure(width: float, height: float) -> Any:
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any) -> str:
    """A standalone picture on white, the same bytes for the same numbers."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "unrolled"}):
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    text = file.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, facecolor="white", metadata={"Software": None})
    return file.getvalue()
