"""Pictures of experiments, each a file of its own: lines in panels, a surface with two paths."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unrolled.report.figures import COLOURS, new_figure, style, svg_text

Array = np.ndarray[Any, Any]
Series = tuple[Sequence[float], Sequence[float]]  # x and y of a line

_STYLES = ("-", "--", "-.", ":")


def line_panels(
    panels: Mapping[str, Mapping[str, Series]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = False,
) -> str:
    """Panels in a row with one y axis and one legend, as SVG.

    Args:
        panels: title -> name of a line -> its points; a name has one colour in all panels.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    handles: dict[str, Any] = {}
    with style():
        figure = new_figure(4.4 * len(panels) + 1.2, 4.0)
        all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
            for name, (xs, ys) in lines.items():
                wrapped, colour = divmod(names.index(name), len(COLOURS))
                (handles[name],) = axes.plot(
                    xs, ys, _STYLES[wrapped % len(_STYLES)], color=COLOURS[colour],
                    marker="o" if markers else None, markersize=4,
                )  # fmt: skip
            axes.set(title=title, xlabel=x_label)
            if log_x:
                axes.set_xscale("log")
            if log_y:
                axes.set_yscale("log")
        all_axes[0].set_ylabel(y_label)
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 4)
        )
        return svg_text(figure, facecolor="white")


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
    grid_w, grid_b = np.meshgrid(w, b)
    with style():
        figure = new_figure(7.0, 5.2)
        axes = figure.add_subplot(projection="3d", computed_zorder=False)
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
                marker="o", markersize=2.5, label=name, zorder=2 + number,
            )  # fmt: skip
        axes.set(xlabel="w", ylabel="b", zlabel="error")
        axes.view_init(elev=32, azim=62)
        axes.legend(loc="upper left")
        return _png(figure)


def contours(w: Array, b: Array, errors: Array, paths: Mapping[str, Array]) -> bytes:
    """The same surface from above, as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with style():
        figure = new_figure(7.0, 4.8)
        axes = figure.add_subplot()
        filled = axes.contourf(w, b, errors, levels=24, cmap="viridis")
        figure.colorbar(filled, label="error", shrink=0.9)
        for number, (name, points) in enumerate(paths.items()):
            axes.plot(
                points[:, 0], points[:, 1], ("-", "--")[number % 2],
                color=("#ff6b35", "#ffffff")[number % 2], marker="o", markersize=2.5, label=name,
            )  # fmt: skip
        axes.set(xlabel="w", ylabel="b", xlim=(w[0], w[-1]), ylim=(b[0], b[-1]))
        axes.legend(
            loc="lower left", frameon=True, facecolor="#333333", framealpha=0.6, labelcolor="white"
        )
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


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90, facecolor="white", metadata={"Software": None})
    return file.getvalue()
