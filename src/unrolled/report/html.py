"""The report as one HTML file: styles, tables and pictures inside it, nothing fetched."""

from __future__ import annotations

import os
from importlib import resources

from unrolled.comparison.compare import Comparison, Row
from unrolled.errors import MissingExtraError
from unrolled.report import plots, tables
from unrolled.storage.atomic import atomic_write
from unrolled.version import __version__


def write_report(result: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the report of a comparison.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
        UnrolledError: the file cannot be written.
    """
    page = render(result).encode()
    with atomic_write(path) as file:
        file.write(page)


def render(result: Comparison) -> str:
    """The report as text; whatever names and words hold, it stays text.

    Raises:
        MissingExtraError: matplotlib or jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("report", "jinja2") from None
    source = resources.files("unrolled.report").joinpath("template.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # The pictures hold escaped text already, so they alone go in as they are (`| safe`).
    pictures = {
        "curves": plots.learning_curves(result.rows),
        "speed": plots.against_speed(result.rows),
        "size": plots.against_size(result.rows),
    }
    page: str = environment.from_string(source).render(
        lines=tables.lines(result.rows),
        summary=tables.summary(result.rows),
        mixes=tables.mixes(result.rows),
        sentences=tables.sentences(result),
        measured=[row.line for row in result.rows],
        facts=tables.facts(result),
        pictures=pictures,
        left_out=_left_out(result.rows),
        full_bits=tables.FULL_BITS,
        version=__version__,
    )
    return page


def _left_out(rows: list[Row]) -> list[str]:
    """Models with a perplexity that the scatters do not show."""
    shown = {row.name for row in plots.near_best(rows)}
    return [row.name for row in rows if row.test_perplexity is not None and row.name not in shown]
