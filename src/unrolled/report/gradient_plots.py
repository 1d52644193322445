"""Pictures of gradients: by lag, by lag and time, singular values, and a comparison of cells.

Each function draws one figure of a `GradientReport`; `write_pictures` writes them as SVG.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.report.figures import COLOURS, log_axis, new_figure, style, svg_text

if TYPE_CHECKING:
    from unrolled.gradients.measure import GradientReport


def by_lag(reports: Mapping[str, GradientReport]) -> Any:
    """Mean |dE_t/dh_{t-k}| against k, a line for each report and layer, on a logarithmic axis.

    Of an LSTM dashed lines are the cell state's; dotted lines are what ran along the cell state
    only.
    """
    figure = new_figure(7.2, 4.4)
    axes = figure.add_subplot()
    ways = (("norms", "-", ""), ("cell_norms", "--", ", cell state"),
            ("highway_norms", ":", ", along the cell state only"))  # fmt: skip
    number, lines = 0, []
    for name, report in reports.items():
        several = len(report.lags.layers) > 1
        for layer in report.lags.layers:
            label = f"{name}, {layer.name}" if several else name
            for attribute, dashes, more in ways:
                values = getattr(layer, attribute)
                if values is None or (more and len(reports) > 2):
                    continue  # with many to compare, one line each is enough
                colour = COLOURS[number % len(COLOURS)]
                drawn = "-." if number >= len(COLOURS) else dashes
                axes.plot(values, drawn, color=colour, label=label + more)
                lines.append(values)
            number += 1
    axes.set(xlabel="lag k", ylabel="mean norm of dE(t) / dh(t-k)")
    log_axis(axes.yaxis, lines)
    axes.legend()
    return figure


def by_lag_and_time(report: GradientReport) -> Any:
    """A map of the mean norm for each layer, lag upwards and the error's step to the right."""
    from matplotlib.colors import LogNorm

    layers = report.lags.layers
    figure = new_figure(4.6 * len(layers) + 0.8, 3.8)
    panels = figure.subplots(1, len(layers), squeeze=False)[0]
    for axes, layer in zip(panels, layers, strict=True):
        heat = np.where(layer.heat > 0, layer.heat, np.nan)
        axes.grid(False)
        axes.set(title=layer.name, xlabel="step t of the error", ylabel="lag k")
        if np.isfinite(heat).any():
            high = float(np.nanmax(heat))
            low = max(float(np.nanmin(heat)), high * 1e-12)
            norm = LogNorm(min(low, high * 0.999), high)
            image = axes.imshow(heat, origin="lower", aspect="auto", cmap="viridis", norm=norm)
            figure.colorbar(image, ax=axes)
    return figure


def singular_values(report: GradientReport) -> Any:
    """Singular values of Jacobians' products over k steps, and their norms beside the bound."""
    from matplotlib import colormaps

    jacobians = report.jacobians
    figure = new_figure(8.6, 3.6 * len(jacobians))
    panels = figure.subplots(len(jacobians), 2, squeeze=False)
    for (spectrum, norms), jacobian in zip(panels, jacobians, strict=True):
        shades = colormaps["viridis"](np.linspace(0, 0.9, len(jacobian.steps)))
        for k, values, shade in zip(jacobian.steps, jacobian.spectrum, shades, strict=True):
            spectrum.plot(np.arange(1, len(values) + 1), values, color=shade, label=str(k))
        spectrum.set(
            xlabel="number of the singular value", ylabel="singular value of dh(t+k) / dh(t)"
        )
        log_axis(spectrum.yaxis, jacobian.spectrum)
        spectrum.legend(title="k", ncols=2)
        bound = "(beta W beta h)^k" if jacobian.beta_slope is not None else "largest of a step ^k"
        for values, dashes, colour, label in (
            (jacobian.norms, "o-", COLOURS[0], "mean norm"),
            (jacobian.highest, "o--", COLOURS[0], "largest norm"),
            (jacobian.bound, ":", "black", bound),
        ):
            norms.plot(jacobian.steps, values, dashes, color=colour, label=label, markersize=3)
        norms.set(title=jacobian.name, xlabel="steps k", ylabel="spectral norm")
        log_axis(norms.yaxis, [jacobian.norms, jacobian.bound])
        norms.legend()
    return figure


def write_pictures(
    folder: Path, report: GradientReport, others: Mapping[str, GradientReport] | None = None
) -> list[Path]:
    """Write ``by-lag.svg``, ``by-lag-and-time.svg``, ``singular-values.svg``, and, with others to
    compare it with, ``comparison.svg``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from unrolled.storage.atomic import atomic_write

    paths = []
    with style():
        figures = {
            "by-lag": by_lag({report.name: report}),
            "by-lag-and-time": by_lag_and_time(report),
            "singular-values": singular_values(report),
        }
        if others:
            figures["comparison"] = by_lag({report.name: report, **others})
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            paths.append(folder / f"{name}.svg")
            with atomic_write(paths[-1]) as file:
                file.write(svg_text(figure, facecolor="white").encode())
    return paths
