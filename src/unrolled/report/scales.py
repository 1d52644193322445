"""From numbers to places: linear and logarithmic scales, and ticks with their texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from unrolled.report.style import SMALL, text_width

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALLEST = 1e-300  # in place of 0 on a logarithmic axis


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Attributes:
        label: with the unit. log: logarithmic. whole: ticks at whole numbers only.
        limits: lowest and highest value; by default those of the data.
        names: of the places 0, 1, 2, ... of an axis of categories.
        decades: how far below its largest value a logarithmic axis may reach.
    """

    label: str
    log: bool = False
    whole: bool = False
    limits: tuple[float, float] | None = None
    names: tuple[str, ...] = ()
    decades: float = 12.0


@dataclass(frozen=True)
class Tick:
    """A place of an axis and its text."""

    value: float
    text: str


@dataclass(frozen=True)
class Scale:
    """Places from ``begin`` to ``end`` for values from ``low`` to ``high``."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = (math.log10(max(v, _SMALLEST)) for v in (low, high, value))
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)


def scale_of(axis: Axis, values: Iterable[float], begin: float, end: float) -> Scale:
    """A scale for an axis that shows values, with a small margin at both ends."""
    if axis.names:
        return Scale(-0.5, len(axis.names) - 0.5, begin, end)
    shown = np.asarray([*values], np.float64)
    shown = shown[np.isfinite(shown) & ((shown > 0) | (not axis.log))]
    if axis.limits is not None:
        low, high = axis.limits
    elif not shown.size:
        low, high = (1.0, 10.0) if axis.log else (0.0, 1.0)
    else:
        low, high = float(shown.min()), float(shown.max())
    if axis.log:
        low = max(low, high * 10.0**-axis.decades)
        margin = 1.0 if axis.limits else max((high / low) ** 0.04, 1.02)
        return Scale(low / margin, high * margin, begin, end, log=True)
    if high <= low:
        low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    margin = 0.0 if axis.limits else 0.04 * (high - low)
    return Scale(low - margin, high + margin, begin, end)


def ticks_of(axis: Axis, scale: Scale, wanted: int = 5) -> list[Tick]:
    """Ticks of an axis: its categories, decades, or about so many round numbers."""
    if axis.names:
        return [Tick(place, name) for place, name in enumerate(axis.names)]
    if scale.log:
        values = _log_values(scale.low, scale.high, wanted)
        if len(values) >= 3 or (len(values) == 2 and scale.high > 10 * scale.low):
            return _log_ticks(values)
    values, digits = _round_values(scale.low, scale.high, wanted, axis.whole)
    return [Tick(value, number_text(value, digits)) for value in values]


def fitting_ticks(axis: Axis, scale: Scale, right: float = math.inf) -> list[Tick]:
    """Ticks of a horizontal axis whose texts stand apart and end before ``right``."""
    found: list[Tick] = []
    for wanted in (6, 5, 4, 3, 2):
        found = ticks_of(axis, scale, wanted)
        places = [(scale(tick.value), text_width(tick.text, SMALL) / 2) for tick in found]
        if all(a + w + 5 <= b - v for (a, w), (b, v) in pairwise(places)):
            break
    return [tick for tick in found if scale(tick.value) + text_width(tick.text, SMALL) / 2 <= right]


def number_text(value: float, digits: int = 0) -> str:
    """A number of an axis; a power of ten where it is large or needs five digits.

    >>> number_text(20000), number_text(-0.5, 1), number_text(2.5e-7, 5)
    ('20,000', '−0.5', '2.5·10⁻⁷')
    """
    if value and (abs(value) >= 1e7 or digits > 4):
        first, exponent = f"{value:.3e}".split("e")
        power = str(int(exponent)).translate(_RAISED)
        return f"{float(first):g}·10{power}".replace("-", "−")
    return f"{value:,.{digits if value else 0}f}".replace("-", "−")


def power_text(value: float) -> str:
    """A number as a power of ten.

    >>> power_text(1e-6), power_text(200)
    ('10⁻⁶', '2·10²')
    """
    exponent = math.floor(math.log10(value) + 1e-9)
    first = round(value / 10.0**exponent)
    power = "10" + str(exponent).translate(_RAISED)
    return power if first == 1 else f"{first}·{power}"


def _log_values(low: float, high: float, wanted: int) -> list[float]:
    """The most of 1, 2, 3, 5, 10, ..., of 1, 2, 5, ..., of 1, 3, ... or of powers that are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for digits in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        every = [digit * 10.0**e for e in range(first, last + 1) for digit in digits]
        found = [value for value in every if 0.999 * low <= value <= 1.001 * high]
        if len(found) <= wanted + 1:
            return found
    step = math.ceil(len(found) / (wanted + 1))
    return [value for value in found if round(math.log10(value)) % step == 0]


def _log_ticks(values: Sequence[float]) -> list[Tick]:
    if values[0] >= 0.000999 and values[-1] < 1e10:
        return [Tick(value, _short(value)) for value in values]
    return [Tick(value, power_text(value)) for value in values]


def _short(value: float) -> str:
    """A round number between a thousandth and ten billion: 0.05, 1,000, 20k, 5M."""
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= 0.999 * size:
            return f"{value / (1e3 if mark == 'k' else size):.0f}{mark}"
    return number_text(value, max(0, -math.floor(math.log10(value) + 1e-9)))


def _round_values(low: float, high: float, wanted: int, whole: bool) -> tuple[list[float], int]:
    """Round numbers from low to high, and the digits that they need."""
    rough = (high - low) / max(wanted, 1)
    power = math.floor(math.log10(rough))
    step = next(f * 10.0**power for f in (1, 2, 2.5, 5, 10) if f * 10.0**power >= 0.999 * rough)
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = next((d for d in range(5) if abs(round(step, d) - step) < 1e-9 * step), 5)
    return [place * step for place in range(first, last + 1)], digits
