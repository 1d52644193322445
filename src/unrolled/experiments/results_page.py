"""``docs/results.md`` and pictures: results of the experiments beside the published numbers.

Other pages include its tables by their names, so that each number is written once.

python -m unrolled.experiments.results_page results/ docs/results.md
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.experiments import write_pictures
from unrolled.experiments.lecture_pictures import lecture_pictures
from unrolled.experiments.scale_page import with_measured

_HEAD = """# Results of the experiments

Made by `make results` from the JSON files in `results/`; change nothing here by hand. A cell holds
our number and, after a slash, the published one. Perplexities are of the test text. Checksums of
the data, seeds and all other numbers are in the JSON files.
"""


def results_page(
    records: Sequence[dict[str, Any]], pictures: Mapping[str, Mapping[str, str]]
) -> str:
    """The page in Markdown.

    Args:
        records: of `run_experiment`.
        pictures: experiment and size -> names of files beside the page -> their titles.
    """
    sections = [_section(record, pictures.get(_key(record), {})) for record in records]
    return "\n".join([_HEAD, *sections])


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records of the experiments in a folder, in the order of their files' names."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [record for record in found if "experiment" in record]


def _key(record: dict[str, Any]) -> str:
    return f"{record['experiment']}-{record['size']}"


def _section(record: dict[str, Any], pictures: Mapping[str, str]) -> str:
    table, published = record["results"]["table"], record["published"]
    columns = list(dict.fromkeys(key for row in table.values() for key in row))
    lines = [
        f"## {record['experiment']}, {record['size']}",
        "",
        record["source"],
        "",
        f"<!-- --8<-- [start:{_key(record)}] -->",
        f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for name, row in table.items():
        theirs = published.get(name, {})
        cells = [_cell(row.get(column), theirs.get(column)) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"<!-- --8<-- [end:{_key(record)}] -->")
    machine = record["machine"]
    gpu = f" and one {machine['gpu']}" if "gpu" in machine else ""
    sessions = "in the last of several sessions" if record.get("resumed") else "in all"
    data = _data(record)
    lines += [
        "",
        f"{_time(record['seconds'])} {sessions} on {machine['cores']} cores "
        f"({machine['processor']}){gpu}." + (f" Data: {data}." if data else ""),
    ]
    for picture, title in pictures.items():
        lines += ["", f"![{title}]({picture})"]
    return "\n".join([*lines, ""])


def _data(record: dict[str, Any]) -> str:
    """Names of the files; of many the first ones."""
    vectors = record["results"].get("vectors")
    names = [file["name"] for file in [*record["data"], *([vectors] if vectors else [])]]
    if len(names) <= 6:
        return ", ".join(names)
    return f"{', '.join(names[:4])} and {len(names) - 4} more files"


def _cell(ours: float | None, theirs: float | None) -> str:
    shown = "" if ours is None else _shown(ours)
    return shown if theirs is None else f"{shown} / {theirs:,}"


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _shown(value: float) -> str:
    """A number with three or four digits.

    >>> [_shown(value) for value in (0.0, 500.0, 120.44, 0.000663, 3836304)]
    ['0', '500', '120.4', '0.00066', '3,836,304']
    """
    if value == round(value):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{value:.2g}"


def write_page(source: Path, target: Path) -> None:
    """Draw the pictures of all records in a folder, and write the page beside them.

    Pictures of the page on the lecture are put into ``pictures`` there, and ``scale.md`` beside it
    gets its tables.
    """
    (target.parent / "pictures").mkdir(parents=True, exist_ok=True)
    records = read_records(source)
    pictures = {
        _key(record): {path.name: _title(path) for path in write_pictures(record, target.parent)}
        for record in records
    }
    target.write_text(results_page(records, pictures), encoding="utf-8")
    for name, picture in lecture_pictures(source).items():
        (target.parent / "pictures" / name).write_text(picture, encoding="utf-8")
    if (large := target.parent / "scale.md").exists():
        page = with_measured(large.read_text(encoding="utf-8"), source)
        large.write_text(page, encoding="utf-8")


def _title(picture: Path) -> str:
    text = picture.read_text(encoding="utf-8")
    return html.unescape(text[text.index("<title") :].partition(">")[2].partition("<")[0])


def main() -> None:
    """Write the page."""
    write_page(*map(Path, sys.argv[1:3]))


if __name__ == "__main__":
    main()
