"""A fresh run of an experiment beside its committed result: which numbers are outside their spread.

The spread of a number comes from several seeds, where the result was made with ``--seeds``;
otherwise the experiment states it for each column of its table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from unrolled.errors import FormatError

Table = Mapping[str, Mapping[str, Any]]
Spreads = Mapping[str, "Spread"]

# Seeds differ more than processors do: with five deviations of eight seeds a false alarm is rare.
_DEVIATIONS = 5


@dataclass(frozen=True)
class Spread:
    """How far a number of a fresh run may be from the result: the larger of the two.

    >>> Spread(absolute=1.5).around(64.9), Spread(relative=0.1, absolute=1).around(120.0)
    (1.5, 12.0)
    """

    absolute: float = 0.0
    relative: float = 0.0

    def around(self, value: float) -> float:
        """The spread around a value."""
        return max(self.absolute, self.relative * abs(value))


NOT_COMPARED = Spread(absolute=math.inf)  # speeds and times, which differ from machine to machine
# Of a column for which an experiment states nothing, and the least that seeds can show.
SAME = Spread(relative=0.02)


@dataclass(frozen=True)
class Deviation:
    """A number outside its spread, or in only one of the two tables.

    >>> print(Deviation("LSTM", "alone", 131.25, 120.4, 5.0))
    LSTM: alone is 131.25, and the result has 120.4, from which it may differ by 5
    >>> print(Deviation("GRU", "alone", 131.25, None))
    GRU: alone is 131.25, and the result has no number
    """

    row: str
    column: str
    fresh: float | None
    expected: float | None
    spread: float = 0.0

    def __str__(self) -> str:
        fresh, expected = (
            "no number" if value is None else f"{value:.6g}"
            for value in (self.fresh, self.expected)
        )
        sentence = f"{self.row}: {self.column} is {fresh}, and the result has {expected}"
        if self.spread:
            sentence += f", from which it may differ by {self.spread:.3g}"
        return sentence


@dataclass(frozen=True)
class Check:
    """What a comparison found: how many numbers it compared, and those outside their spread."""

    compared: int
    outside: list[Deviation]


def compare_with_record(table: Table, record: Mapping[str, Any], stated: Spreads) -> Check:
    """Compare the table of a fresh run with a record of `run_experiment`.

    Args:
        stated: column -> spread; it counts where the record has none from seeds.

    Raises:
        FormatError: the record is damaged.
    """
    try:
        seen = record.get("spread")
        expected = _expected(record["results"]["table"], stated) if seen is None else seen["table"]
        wanted = {
            (row, column): (cell["value"], cell["spread"])
            for row, cells in expected.items()
            for column, cell in cells.items()
            if _compared(column, stated)
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"the results are damaged: {error!r}") from None
    fresh = {
        (row, column): value
        for row, cells in table.items()
        for column, value in cells.items()
        if _compared(column, stated)
    }
    outside, compared = [], 0
    for place in dict.fromkeys([*wanted, *fresh]):
        value = fresh.get(place)
        target, spread = wanted.get(place, (None, 0.0))
        if spread is None:
            continue
        compared += 1
        known = (value is None) + (target is None)
        if known == 2 or (known == 0 and abs(value - target) <= spread):
            continue
        outside.append(Deviation(*place, value, target, spread))
    return Check(compared, outside)


def spread_over_seeds(tables: Sequence[Table], stated: Spreads) -> dict[str, Any]:
    """The mean of each number over seeds, and its spread, as `compare_with_record` reads them.

    A number that some seeds have and others lack has the spread None: it is not compared.

    >>> tables = [{"LSTM": {"alone": value}} for value in (100.0, 104.0, 102.0)]
    >>> spread_over_seeds(tables, {})
    {'seeds': 3, 'table': {'LSTM': {'alone': {'value': 102.0, 'spread': 10.0}}}}
    """
    found: dict[str, dict[str, Any]] = {}
    for row, cells in tables[0].items():
        found[row] = {
            column: _over_seeds([table[row][column] for table in tables], stated.get(column, SAME))
            for column in cells
        }
    return {"seeds": len(tables), "table": found}


def _compared(column: str, stated: Spreads) -> bool:
    return math.isfinite(stated.get(column, SAME).absolute)


def _over_seeds(values: Sequence[float | None], stated: Spread) -> dict[str, Any]:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return {"value": None, "spread": 0.0}
    mean = fmean(numbers)
    if len(numbers) < len(values) or math.isinf(stated.absolute):
        return {"value": mean, "spread": None}  # JSON has no infinity
    return {"value": mean, "spread": max(_DEVIATIONS * stdev(numbers), SAME.around(mean))}


def _expected(table: Table, stated: Spreads) -> dict[str, dict[str, Any]]:
    def cell(column: str, value: float | None) -> dict[str, Any]:
        spread = 0.0 if value is None else stated.get(column, SAME).around(value)
        return {"value": value, "spread": spread}

    return {
        row: {column: cell(column, value) for column, value in cells.items()}
        for row, cells in table.items()
    }
