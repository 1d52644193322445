"""``docs/results.md``: the results of the experiments and the published numbers.

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
    if record.get("remembered"):
        lines += ["", "The published numbers are quoted from memory, not checked in the paper."]
    machine, vectors = record["machine"], record["results"].get("vectors")
    gpu = f" and one {machine['gpu']}" if "gpu" in machine else ""
    sessions = "in the last of several sessions" if record.get("resumed") else "in all"
    files = [*record["data"], *([vectors] if vectors else [])]
    data = ", ".join(f"{file['name']} (CRC-32 {file['crc32']})" for file in files)
    lines += [
        "",
        f"{_time(record['seconds'])} {sessions} on {machine['cores']} cores "
        f"({machine['processor']}){gpu}." + (f" Data: {data}." if data else ""),
    ]
    for picture in record["results"].get("pictures", []):
        lines += ["", f"![{record['experiment']}]({picture})"]
    return "\n".join([*lines, ""])


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
