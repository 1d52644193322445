"""The sentences, numbers and coloured cells of the report, as plain values for its template."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.comparison.compare import Comparison, Row, cells_of, number
from unrolled.errors import FormatError
from unrolled.report.style import COLOURS

FULL_BITS = 16.0  # the surprisal at which a cell's colour is full
FAMILIES = ("n-gram", "net", "mixture")
_CLOSE = 1.1  # perplexities within a tenth of the best are close to it


@dataclass(frozen=True)
class Line:
    """One row of the table of perplexities: texts, and how long its bar is, 0 to 1."""

    name: str
    family: str
    cells: tuple[str, ...]
    bar: float | None
    best: bool


@dataclass(frozen=True)
class Cell:
    """One word under one model: its bits, how strong its colour is, 0 to 1, and its probability."""

    text: str
    strength: float
    details: str
    oov: bool


@dataclass(frozen=True)
class Sentence:
    """One sentence: its words, and under each model the cells of the words and of the whole."""

    words: list[str]
    rows: list[tuple[str, list[Cell], Cell]]


@dataclass(frozen=True)
class Share:
    """One model's part of a mixture: its share of the bar in percent, and its weight."""

    model: str
    percent: float
    weight: str
    colour: int


@dataclass(frozen=True)
class Mix:
    """The weights of one mixture."""

    name: str
    how: str
    shares: list[Share]


def read_results(path: str | os.PathLike[str]) -> Comparison:
    """The results.json of a comparison.

    Raises:
        FormatError: it cannot be read or is something else.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        return Comparison(**{**raw, "rows": [Row(**row) for row in raw["rows"]]})
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, TypeError, KeyError):
        raise FormatError(
            "holds no results of unrolled compare", where=str(path), hint="Name its results.json"
        ) from None


def measured(rows: Sequence[Row]) -> list[Row]:
    """The rows that have a finite test perplexity, best first."""
    have = [row for row in rows if math.isfinite(_test(row))]
    return sorted(have, key=_test)


def _test(row: Row) -> float:
    return math.inf if row.test_perplexity is None else row.test_perplexity


def lines(rows: Sequence[Row]) -> list[Line]:
    """The table, in the order in which the models were trained.

    A bar shows how far a perplexity is above the best, on a logarithmic scale that ends at four
    times the best.
    """
    order = measured(rows)
    best = _test(order[0]) if order else 1.0
    return [
        Line(
            name=row.name,
            family=family(row),
            cells=(*cells_of(row)[:2], seconds(row.train_seconds), *cells_of(row)[2:]),
            bar=_bar(_test(row) / best) if row in order else None,
            best=bool(order) and row is order[0],
        )
        for row in rows
    ]


def _bar(times_best: float) -> float:
    return 0.04 + 0.96 * min(math.log(times_best) / math.log(4), 1.0)


def summary(rows: Sequence[Row]) -> list[str]:
    """The sentences on top: the best model, and a smaller one that is nearly as good."""
    order = measured(rows)
    if not order:
        return []
    best = order[0]
    found = [f"{best.name} is best, with a test perplexity of {_test(best):.2f}."]
    if len(order) > 1:
        gain = 100 * (1 - _test(best) / _test(order[1]))
        found[0] = f"{found[0][:-1]}, {gain:.1f} % below the next, {order[1].name}."
    close = [row for row in order if _test(row) <= _CLOSE * _test(best)]
    small = min(close, key=lambda row: row.file_bytes)
    if small is not best:
        found.append(
            f"{small.name} comes within {100 * (_test(small) / _test(best) - 1):.1f} % of it in "
            f"{100 * small.file_bytes / best.file_bytes:.0f} % of its size."
        )
    return found


def family(row: Row) -> str:
    """The row's family, which gives it its colour."""
    return row.kind if row.kind in FAMILIES else FAMILIES[0]


def sentences(result: Comparison) -> list[Sentence]:
    """Each shown sentence with the surprisal of its words under each model."""
    shown = []
    for place, text in enumerate(result.sentences):
        rows = [row for row in result.rows if len(row.surprisals) > place]
        if not rows:
            continue
        words = [token["word"] for token in rows[0].surprisals[place]] or text.split()
        cells = [(row.name, *_cells(row.surprisals[place])) for row in rows]
        shown.append(Sentence(words, cells))
    return shown


def _cells(tokens: list[dict[str, Any]]) -> tuple[list[Cell], Cell]:
    cells = [_cell(token) for token in tokens]
    bits = [token["bits"] for token in tokens]
    if not bits or None in bits:
        return cells, Cell("∞", 1.0, "∞", False)
    mean = sum(bits) / len(bits)
    return cells, Cell(f"{mean:.1f}", _strength(mean), f"{sum(bits):.1f}", False)


def _cell(token: dict[str, Any]) -> Cell:
    bits = token["bits"]
    unknown = " (unknown)" if token["oov"] else ""
    if bits is None:
        return Cell("∞", 1.0, f"0{unknown}", token["oov"])
    bits = max(bits, 0.0) + 0.0  # rounding leaves a sure word just below 0, or at -0.0
    return Cell(f"{bits:.1f}", _strength(bits), f"{2**-bits:.2g}{unknown}", token["oov"])


def _strength(bits: float) -> float:
    return min(bits / FULL_BITS, 1.0)


def mixes(rows: Sequence[Row]) -> list[Mix]:
    """The weights of the mixtures, as shares of a bar; powers are scaled to fill it."""
    colours: dict[str, int] = {}
    shown = []
    for row in rows:
        total = sum(part["weight"] for part in row.weights)
        if total <= 0:
            continue
        shares = [
            Share(
                model=part["model"],
                percent=round(100 * part["weight"] / total, 2),
                weight=f"{part['weight']:.3f}",
                colour=colours.setdefault(part["model"], len(colours) % len(COLOURS) + 1),
            )
            for part in row.weights
        ]
        shown.append(Mix(row.name, str(row.settings.get("how", "linear")), shares))
    return shown


def epochs(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The points of the learning curves: model, epoch, end of its training, perplexities."""
    found = []
    for row in rows:
        elapsed = 0.0
        for point in row.curve:
            elapsed += point.get("seconds") or 0.0
            both = (point.get(f"{text}_perplexity") for text in ("train", "valid"))
            shown = [number(value, 1) for value in both]
            found.append((row.name, str(point.get("epoch", "")), seconds(elapsed), *shown))
    return found


def facts(result: Comparison) -> list[tuple[str, str]]:
    """Texts, settings and machine."""
    found = [
        (f"{name} text", f"{text['name']}, {text['bytes']:,} bytes, CRC-32 {text['crc32']}")
        for name, text in result.texts.items()
    ]
    for name, values in (("settings", result.settings), ("machine", result.machine)):
        found.append((name, ", ".join(f"{key} {value}" for key, value in values.items())))
    return found


def seconds(value: float) -> str:
    """A time in readable units.

    >>> seconds(0.61), seconds(75), seconds(7400)
    ('0.6 s', '1 min 15 s', '2 h 3 min')
    """
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
