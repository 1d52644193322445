"""Pictures of ``docs/lecture.md`` that no experiment draws, from the files in ``results/``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from unrolled.report.bar_chart import bar_chart
from unrolled.report.line_chart import Line, Panel, line_chart
from unrolled.report.scales import Axis

_TIME = re.compile(r"estimation time, ([\d.]+) M tokens")


def lecture_pictures(folder: Path) -> dict[str, str]:
    """Names of SVG files -> the pictures.

    Args:
        folder: of the results.
    """
    return {
        "lecture-estimation.svg": _estimation(folder),
        "lecture-perplexity.svg": _perplexity(folder),
    }


def _read(folder: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return record


def _estimation(folder: Path) -> str:
    """Seconds of estimating a 5-gram model by the size of the text, beside KenLM's."""
    points = {}
    for name in ("estimation-34M.json", "estimation-57M.json"):
        for row in _read(folder, name)["comparisons"]:
            found = _TIME.fullmatch(row["name"])
            if found and row["peer_median"]:
                points[float(found[1])] = row["ours_median"], row["peer_median"]
    sizes = sorted(points)
    lines = [
        Line(name, sizes, [points[size][place] for size in sizes], place, marker=place)
        for place, name in enumerate(("unrolled", "lmplz and build_binary"))
    ]
    x, y = Axis("tokens of the text, millions", log=True), Axis("seconds", log=True)
    return line_chart([Panel(lines, x, y, height=170)], "Time to estimate a 5-gram model")


def _perplexity(folder: Path) -> str:
    """Mikolov et al. 2011, table 2: ours beside the published numbers."""
    record = _read(folder, "mikolov2011-table2-laptop.json")
    ours, published = record["results"]["table"], record["published"]
    columns = {
        "ours": (ours, "alone"), "published": (published, "alone"),
        "ours, mixed": (ours, "mixed"), "theirs, mixed": (published, "mixed"),
    }  # fmt: skip
    rows = {
        name: {
            column: table[name][key]
            for column, (table, key) in columns.items()
            if key in table.get(name, {})
        }
        for name in ours
    }
    return bar_chart(
        rows, [*columns], "Perplexity on Penn Treebank, ours beside the published", highest=145,
        label="test perplexity alone and mixed with the 5-gram model",
    )  # fmt: skip
