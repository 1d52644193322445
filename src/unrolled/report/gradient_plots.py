"""Pictures of gradients: by lag, lag by time, singular values, and cures side by side.

Each function draws one figure from what `unrolled.gradients.laboratory` measures; `write_pictures`
writes them into a folder as SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import MissingExtraError

if TYPE_CHECKING:
    from unrolled.gradients.laboratory import GradientReport

_COLOURS = ("#1668b8", "#c2410c", "#15803d", "#7e22ce", "#b45309", "#0e7490", "#be123c", "#4d7c0f")
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gradients",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
}
# What lies further below the largest value is of no interest, and would flatten all else.
_DECADES = 12


def by_lag(reports: Mapping[str, GradientReport]) -> Any:
    """Mean |dE_t/dh_{t-k}| against k, a line for each report and layer, on a logarithmic axis.

    Of an LSTM dashed lines are the cell state's; dotted lines are what ran along the cell state
    only.
    """
    figure, axes = _figure(7.2, 4.4)
    ways = (("norms", "-", ""), ("cell_norms", "--", ", cell state"),
            ("highway_norms", ":", ", along the cell state only"))  # fmt: skip
    number, lines = 0, []
    for name, report in reports.items():
        several = len(report.lags.layers) > 1
        for layer in report.lags.layers:
            label = f"{name}, {layer.name}" if several else name
            for attribute, style, more in ways:
                values = getattr(layer, attribute)
                if values is None or (more and len(reports) > 2):
                    continue  # with many to compare, one line each is enough
                colour = _COLOURS[number % len(_COLOURS)]
                drawn = "-." if number >= len(_COLOURS) else style
                axes.plot(values, drawn, color=colour, label=label + more, linewidth=1.6)
                lines.append(values)
            number += 1
    axes.set_xlabel("lag k")
    axes.set_ylabel("mean norm of dE(t) / dh(t-k)")
    _log_scale(axes, lines)
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def by_lag_and_time(report: GradientReport) -> Any:
    """A map of the mean norm for each layer, lag upwards and the error's step to the right."""
    from matplotlib.colors import LogNorm

    layers = report.lags.layers
    figure, grid = _figure(4.6 * len(layers) + 0.8, 3.8, len(layers))
    for axes, layer in zip(np.atleast_1d(grid), layers, strict=True):
        heat = np.where(layer.heat > 0, layer.heat, np.nan)
        axes.grid(False)
        axes.set_title(layer.name, fontsize=10)
        axes.set_xlabel("step t of the error")
        axes.set_ylabel("lag k")
        if np.isfinite(heat).any():
            high = float(np.nanmax(heat))
            low = max(float(np.nanmin(heat)), high * 10.0**-_DECADES)
            norm = LogNorm(min(low, high * 0.999), high)
            image = axes.imshow(heat, origin="lower", aspect="auto", cmap="viridis", norm=norm)
            figure.colorbar(image, ax=axes)
    return figure


def singular_values(report: GradientReport) -> Any:
    """Singular values of Jacobians' products over k steps, and their norms beside the bound."""
    jacobians = report.jacobians
    figure, grid = _figure(8.6, 3.6 * len(jacobians), len(jacobians), columns=2)
    for (spectrum, norms), jacobian in zip(np.reshape(grid, (-1, 2)), jacobians, strict=True):
        lines = []
        count = len(jacobian.steps)
        for place, (k, values) in enumerate(
            zip(jacobian.steps.tolist(), jacobian.spectrum, strict=True)
        ):
            shade = _shade(place / max(count - 1, 1))
            spectrum.plot(np.arange(1, len(values) + 1), values, color=shade, label=str(k))
            lines.append(values)
        spectrum.set_xlabel("number of the singular value")
        spectrum.set_ylabel("singular value of dh(t+k) / dh(t)")
        _log_scale(spectrum, lines)
        spectrum.legend(title="k", frameon=False, fontsize=8, ncols=2)
        bound = "(beta W beta h)^k" if jacobian.beta_slope is not None else "largest of a step ^k"
        for values, style, label in (
            (jacobian.norms, "o-", "mean norm"), (jacobian.highest, "o--", "largest norm"),
            (jacobian.bound, "k:", bound),
        ):  # fmt: skip
            colour = None if "k" in style else _COLOURS[0]
            norms.plot(
                jacobian.steps, values, style, label=label, markersize=3,
                **({} if colour is None else {"color": colour}),
            )  # fmt: skip
        norms.set_title(jacobian.name, fontsize=10)
        norms.set_xlabel("steps k")
        norms.set_ylabel("spectral norm")
        _log_scale(norms, [jacobian.norms, jacobian.bound])
        norms.legend(frameon=False, fontsize=8.5)
    return figure


def write_pictures(
    folder: Path, report: GradientReport, others: Mapping[str, GradientReport] | None = None
) -> list[Path]:
    """Write ``by-lag.svg``, ``by-lag-and-time.svg``, ``singular-values.svg``, and, with others to
    compare it with, ``cures.svg``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("report", "matplotlib") from None
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_SETTINGS):
        figures = {
            "by-lag": by_lag({report.name: report}),
            "by-lag-and-time": by_lag_and_time(report),
            "singular-values": singular_values(report),
        }
        if others:
            figures["cures"] = by_lag({report.name: report, **others})
        return [_written(folder / f"{name}.svg", figure) for name, figure in figures.items()]


def _written(path: Path, figure: Any) -> Path:
    from unrolled.storage.atomic import atomic_write

    with atomic_write(path) as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
    return path


def _figure(width: float, height: float, rows: int = 1, columns: int | None = None) -> Any:
    """A figure and its axes; without columns the panels stand in one row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_facecolor("white")
    axes = figure.subplots(rows, columns) if columns else figure.subplots(1, rows)
    return figure, axes


def _log_scale(axes: Any, lines: Sequence[Any]) -> None:
    """A logarithmic axis over what is above zero and not too far below the largest."""
    values = np.concatenate([np.asarray(line, np.float64) for line in lines])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return
    from matplotlib.ticker import NullLocator

    axes.set_yscale("log")
    low, high = float(values.min()), float(values.max())
    if high > 30 * low:  # the tens are enough
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(max(low, high * 10.0**-_DECADES) / 1.5, high * 1.5)


def _shade(place: float) -> tuple[float, float, float]:
    """From blue to orange."""
    first, last = np.array([0.09, 0.41, 0.72]), np.array([0.85, 0.35, 0.05])
    red, green, blue = (first + (last - first) * place).tolist()
    return red, green, blue
