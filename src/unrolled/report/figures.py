"""What all pictures share: style, logarithmic axes, SVG. Only this folder imports matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from unrolled.errors import MissingExtraError

COLOURS = ("#1668b8", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#be185d", "#4b5563")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unrolled",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("report", "matplotlib") from None


@contextmanager
def style(changes: Any = None) -> Iterator[None]:
    """Draw and save figures in the house style, with matplotlib's settings changed on top of it."""
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context({**_STYLE, **(changes or {})}):
        yield


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg_text(figure: Any, **options: Any) -> str:
    """The figure as SVG, the same text for the same numbers."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, **options)
    text = file.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)


def log_axis(axis: Any, values: Iterable[Any], decades: float = 12) -> None:
    """A logarithmic axis with few ticks, over the positive values but those far below the largest.

    Args:
        axis: ``axes.xaxis`` or ``axes.yaxis``. values: numbers or arrays that are drawn.
        decades: how far below the largest value the axis may reach.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    flat = np.concatenate([np.atleast_1d(np.asarray(value, np.float64)) for value in values])
    flat = flat[np.isfinite(flat) & (flat > 0)]
    if not flat.size:
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    high = float(flat.max())
    low = max(float(flat.min()), high * 10.0**-decades)
    margin = 1.5 if high > 10 * low else 1.1
    axis.axes.set(**{f"{axis.axis_name}lim": (low / margin, high * margin)})
    axis.set_minor_locator(NullLocator())
    if high <= 10 * low:
        axis.set_major_locator(MaxNLocator(5))
    elif high <= 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """A number of an axis: 1e-06, 0.5, 140, 20k, 3M."""
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if mark == 'k' else size):.4g}{mark}"
    return f"{value:.4g}"
