"""``docs/results.md``: what the experiments found, beside what was published.

python -m unrolled.experiments.results_page results/ docs/results.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_HEAD = """# Results of the experiments

Made by `make results` from the JSON files in `results/`; change nothing here by hand. A cell holds
our number and, after a slash, the published one. Perplexities are of the test text.
"""


def results_page(folder: Path) -> str:
    """The page in Markdown, from every experiment's JSON file in a folder."""
    parts = [_HEAD]
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if "experiment" in record:
            parts.append(_section(record))
    return "\n".join(parts)


def _section(record: dict[str, Any]) -> str:
    table, published = record["results"]["table"], record["published"]
    columns = list(dict.fromkeys(key for row in table.values() for key in row))
    lines = [
        f"## {record['experiment']}, {record['size']}",
        "",
        record["source"],
        "",
        f"| | {' | '.join(column.replace('_', ' ') for column in columns)} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    for name, row in table.items():
        theirs = published.get(name, {})
        cells = [_cell(row.get(column), theirs.get(column)) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    machine = record["machine"]
    if record.get("remembered"):
        lines += ["", "The published numbers are quoted from memory, not checked in the paper."]
    lines += [
        "",
        f"{_time(record['seconds'])} {_of_what(record)} on {machine['cores']} cores "
        f"({machine['processor']}){_gpu(machine)}.{_data(_read(record))}",
    ]
    for picture in record["results"].get("pictures", []):
        lines += ["", f"![{record['experiment']}]({picture})"]
    return "\n".join([*lines, ""])


def _of_what(record: dict[str, Any]) -> str:
    """What the seconds count: an experiment that was ended and went on tells of its last part."""
    return "in the last of several sessions" if record.get("resumed") else "in all"


def _gpu(machine: dict[str, Any]) -> str:
    return f" and one {machine['gpu']}" if "gpu" in machine else ""


def _read(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What was read: the data, and word vectors if there were any."""
    vectors = record["results"].get("vectors")
    return [*record["data"], *([vectors] if vectors else [])]


def _data(files: list[dict[str, Any]]) -> str:
    if not files:
        return ""
    return " Data: " + ", ".join(f"{file['name']} (CRC-32 {file['crc32']})" for file in files) + "."


def _cell(ours: float | None, theirs: float | None) -> str:
    shown = "" if ours is None else _shown(ours)
    return shown if theirs is None else f"{shown} / {theirs:,}"


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _shown(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def main() -> None:
    """Write the page."""
    source, target = map(Path, sys.argv[1:3])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(results_page(source), encoding="utf-8")
    for picture in (*source.glob("*.svg"), *source.glob("*.png")):
        (target.parent / picture.name).write_bytes(picture.read_bytes())


if __name__ == "__main__":
    main()
