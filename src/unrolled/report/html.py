"""The report as one HTML file: styles, tables and pictures inside it, nothing fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources

from unrolled.comparison.compare import Comparison, Row
from unrolled.errors import MissingExtraError
from unrolled.report import plots, tables
from unrolled.report.style import COLOURS, STYLE_SHEET, WIDTH
from unrolled.storage.atomic import atomic_write
from unrolled.version import __version__

BROAD, NARROW = 680.0, 320.0  # widths of pictures that take the page's width


def write_report(result: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the report of a comparison.

    Raises:
        MissingExtraError: jinja2 is not installed.
        UnrolledError: the file cannot be written.
    """
    page = render(result).encode()
    with atomic_write(path) as file:
        file.write(page)


def render(result: Comparison) -> str:
    """The report as text; whatever names and words hold, it stays text.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        raise MissingExtraError("report", "jinja2") from None
    source = resources.files("unrolled.report").joinpath("template.html").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    pictures = {
        name: _both_widths(draw, result.rows)
        for name, draw in (
            ("curves", plots.learning_curves),
            ("speed", plots.against_speed),
            ("size", plots.against_size),
        )
    }
    page: str = environment.from_string(source).render(
        lines=tables.lines(result.rows),
        summary=tables.summary(result.rows),
        mixes=tables.mixes(result.rows),
        sentences=tables.sentences(result),
        measured=[row.line for row in result.rows],
        facts=tables.facts(result),
        epochs=tables.epochs(result.rows),
        colours=COLOURS,
        picture_styles=Markup(STYLE_SHEET),
        pictures=pictures,
        left_out=_left_out(result.rows),
        full_bits=tables.FULL_BITS,
        version=__version__,
    )
    return page


def _both_widths(draw: Callable[..., str | None], rows: list[Row]) -> dict[str, str] | None:
    """A picture for wide screens and one for telephones, whose text would else be too small.

    They hold escaped text already, so they go into the page as they are.
    """
    width = BROAD if draw is plots.learning_curves else WIDTH
    broad = draw(rows, width)
    return None if broad is None else {"broad": broad, "narrow": draw(rows, NARROW) or ""}


def _left_out(rows: list[Row]) -> list[str]:
    """Models with a perplexity that the scatters do not show."""
    shown = {row.name for row in plots.near_best(rows)}
    return [row.name for row in rows if row.test_perplexity is not None and row.name not in shown]
