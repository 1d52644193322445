"""Pictures of gradients: by lag, by lag and time, singular values, and a comparison of cells.

Each function draws one figure of a `GradientReport` as SVG; `write_pictures` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unrolled.report.canvas import MARKERS
from unrolled.report.heat_chart import heat_chart
from unrolled.report.line_chart import Line, Panel, line_chart, numbered
from unrolled.report.scales import Axis
from unrolled.report.style import INK, Maths, ordered_colours

if TYPE_CHECKING:
    from unrolled.gradients.jacobians import JacobianReport
    from unrolled.gradients.measure import GradientReport

_NORM = Maths("mean norm of ∂*E*_{*t*} / ∂*h*_{*t*−*k*}")
_LAG = Maths("lag *k*, steps")
_SPECTRUM = Maths("singular values of ∂*h*_{*t*+*k*} / ∂*h*_{*t*}")
_PRODUCT = Maths("spectral norm of ∂*h*_{*t*+*k*} / ∂*h*_{*t*}")
_BOUND = Maths("bound (*β*_{*W*}*β*_{*h*})^{*k*}")  # the lecture's
_ONE_STEP = "bound: powers of a step's largest"  # of LSTM and GRU, which the lecture leaves out


def by_lag(reports: Mapping[str, GradientReport]) -> str:
    """Mean |dE_t/dh_{t-k}| against k, a line for each report and layer, on a logarithmic axis.

    Of an LSTM dashed lines are the cell state's; dotted lines are what ran along the cell state
    only. With more than two reports one line each is enough.
    """
    several = {name: len(report.lags.layers) > 1 for name, report in reports.items()}
    layers = {
        f"{name}, {layer.name}" if several[name] else name: layer
        for name, report in reports.items()
        for layer in report.lags.layers
    }
    lines = []
    for number, (name, layer) in enumerate(layers.items()):
        colour, dash = numbered([*layers])[name]
        lags = range(len(layer.norms))
        lines.append(
            Line(name, lags, layer.norms.tolist(), colour, dash, marker=number % len(MARKERS))
        )
        ways = ((layer.cell_norms, 1, "cell state"),
                (layer.highway_norms, 2, "along the cell state only"))  # fmt: skip
        for values, dash, what in ways if len(reports) <= 2 else ():
            if values is not None:
                lines.append(Line(f"{name}, {what}", lags, values.tolist(), colour, dash))
    return line_chart(
        [Panel(lines, Axis(_LAG, whole=True), Axis(_NORM, log=True), height=250)],
        "Gradient norm by lag",
    )


def by_lag_and_time(report: GradientReport) -> str:
    """A map of the mean norm for each layer, lag upwards and the error's step to the right."""
    maps = {
        layer.name if len(report.lags.layers) > 1 else "": np.where(
            layer.heat > 0, layer.heat, np.nan
        )
        for layer in report.lags.layers
    }
    return heat_chart(
        maps, (Axis(Maths("step *t* of the error"), whole=True), Axis(_LAG, whole=True)),
        Axis(_NORM, log=True), "Gradient norm by lag and step",
        f"{report.name}: how much of the error of each step arrives so many steps before",
    )  # fmt: skip


def singular_values(report: GradientReport) -> str:
    """Singular values of Jacobians' products over k steps, and their norms beside the bound."""
    panels = [
        panel
        for jacobian in report.jacobians
        for panel in _jacobian_panels(jacobian, len(report.jacobians) > 1)
    ]
    return line_chart(
        panels, f"Singular values of products of Jacobians, {report.name}", shared_y=False
    )


def _jacobian_panels(jacobian: JacobianReport, titled: bool) -> list[Panel]:
    steps = jacobian.steps.tolist()
    places = range(1, jacobian.spectrum.shape[1] + 1)
    colours = ordered_colours(len(steps))
    spectrum = [
        Line(Maths(f"*k* = {k}"), places, values.tolist(), colour, width=1.5)
        for k, values, colour in zip(steps, jacobian.spectrum, colours, strict=True)
    ]
    bound = _ONE_STEP if jacobian.beta_slope is None else _BOUND
    norms = [
        Line("mean", steps, jacobian.norms.tolist(), 0, marker=0),
        Line("largest", steps, jacobian.highest.tolist(), 1, marker=1),
        # It may grow without end: what was measured sets the range.
        Line(bound, steps, jacobian.bound.tolist(), INK, 1, framed=False),
    ]
    title = jacobian.name if titled else ""
    return [
        Panel(
            spectrum, Axis("number of the singular value", whole=True),
            Axis(_SPECTRUM, log=True), title, 210,
        ),
        Panel(
            norms, Axis(Maths("steps *k*"), whole=True),
            Axis(_PRODUCT, log=True, limits=_range(jacobian), decades=40), "", 210,
        ),
    ]  # fmt: skip


def _range(jacobian: JacobianReport) -> tuple[float, float]:
    """What was measured, and up to two decades of the bound above it."""
    measured = np.concatenate([jacobian.norms, jacobian.highest])
    measured = measured[np.isfinite(measured) & (measured > 0)]
    if not measured.size:
        return 0.1, 10.0
    low, high = float(measured.min()), float(measured.max())
    bound = jacobian.bound[np.isfinite(jacobian.bound) & (jacobian.bound > 0)]
    highest = min(float(bound.max(initial=high)), 100 * max(high, 1.0))
    lowest = max(min(low, float(bound.min(initial=low))), low / 100)
    return lowest / 1.3, max(high, highest) * 1.3


def write_pictures(
    folder: Path, report: GradientReport, others: Mapping[str, GradientReport] | None = None
) -> list[Path]:
    """Write ``by-lag.svg``, ``by-lag-and-time.svg``, ``singular-values.svg``, and, with others to
    compare it with, ``comparison.svg``.
    """
    from unrolled.storage.atomic import atomic_write

    pictures = {
        "by-lag": by_lag({report.name: report}),
        "by-lag-and-time": by_lag_and_time(report),
        "singular-values": singular_values(report),
    }
    if others:
        pictures["comparison"] = by_lag(_without_copies(report, others))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in pictures.items():
        paths.append(folder / f"{name}.svg")
        with atomic_write(paths[-1]) as file:
            file.write(picture.encode())
    return paths


def _without_copies(
    report: GradientReport, others: Mapping[str, GradientReport]
) -> dict[str, GradientReport]:
    """The report and the others; not twice where one of them is the report's cell."""
    same = [name for name, other in others.items() if _same_norms(report, other)]
    own: Sequence[tuple[str, GradientReport]] = [] if same else [(report.name, report)]
    return dict([*own, *others.items()])


def _same_norms(one: GradientReport, other: GradientReport) -> bool:
    layers, theirs = one.lags.layers, other.lags.layers
    return len(layers) == len(theirs) and all(
        np.array_equal(mine.norms, its.norms) for mine, its in zip(layers, theirs, strict=True)
    )
