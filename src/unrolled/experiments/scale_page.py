"""The measured part of ``docs/scale.md``, from the files in ``results/``; see `results_page`."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BEGIN = "<!-- begin {}: made by `make results` from the files in results/ -->"
_END = "<!-- end -->"
LARGE = 126e9  # tokens of Heafield et al. 2013
IN_MEMORY = 100_000_000  # tokens; the benchmarks give more of them a budget
WINDOW, PART, READ = 24, 100e9, 2e9  # bytes a window of order 5, a part, and read in a second
_TEXTS = {
    "books.txt": "English books",
    "books300m.txt": "text sampled from a model of English books",
}


@dataclass(frozen=True)
class _Size:
    """What training on so many tokens took: seconds and bytes at the peak."""

    tokens: int
    seconds: float
    memory: float


def with_measured(page: str, results: Path) -> str:
    """A page whose parts between marks are made anew."""
    for name, text in {"growth": measured(results), "spark": _spark(results)}.items():
        begin = _BEGIN.format(name)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(_END)
        page = f"{before}{begin}\n\n{text}\n\n{_END}{after}"
    return page


def measured(results: Path) -> str:
    """Tables of what was measured, and what they make of 126 billion tokens, in Markdown."""
    name, contender = "growth.json", ""
    if not (results / name).exists():
        name, contender = "estimation-57M.json", "unrolled"
    record = _read(results / name)
    sizes = _sizes(record, contender)
    budgets = [_read(path) for path in sorted(results.glob("memory_budget-*.json"))]
    within = [row for budget in budgets for row in _within(budget)]
    return "\n".join(
        [
            f"Measured on {_machine(record)} (`results/{name}`, {_text(record)}, order "
            f"{record['settings']['order']}{_limit(sizes)}):",
            "",
            "| tokens | time | a token | memory | memory a token |",
            "| ---: | ---: | ---: | ---: | ---: |",
            *map(_row, sizes),
            "",
            "Within a budget of memory (`results/memory_budget-*.json`), beside KenLM's lmplz with "
            "the same budget",
            "and its build_binary:",
            "",
            "| tokens | `--memory` | time | KenLM's | memory | disk, the model's included |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
            *(_budget_row(row) for row in sorted(within, key=lambda row: row["tokens"])),
            "",
            *_reckoned([size for size in sizes if size.tokens <= IN_MEMORY], within),
        ]
    )


def _spark(results: Path) -> str:
    """What training and scoring on a small cluster took."""
    record = _read(results / "spark.json")
    found = {one["name"].split()[0]: one for one in record["comparisons"]}
    training, shuffled, scoring = (found[name] for name in ("training", "bytes", "scoring"))
    size = training["name"].split(", ")[-1]
    seconds = round(training["ours_median"]), round(training["peer_median"])
    volume = record["details"]["training"]["shuffled_bytes"] / 1e9
    return "\n".join(
        [
            "Measured with two worker processes on two cores (`results/spark.json`): "
            f"{size} took {seconds[0]} s, beside {seconds[1]} s in",
            f"memory; {volume:.2f} GB went through the exchanges, "
            f"{shuffled['ours_median']:.2f} times the bytes of the model. Scoring rows ran at "
            f"{scoring['ratio']:.2f} of the speed",
            "of `evaluate`, in pieces of 128 MB. A cluster is for texts that one machine cannot "
            "take.",
        ]
    )


def _read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def _machine(record: dict[str, Any]) -> str:
    return f"{record['settings']['threads']} cores of a server"


def _text(record: dict[str, Any]) -> str:
    return _TEXTS.get(record["settings"]["text"], "text")


def _limit(sizes: list[_Size]) -> str:
    beyond = any(size.tokens > IN_MEMORY for size in sizes)
    return "; from 100 M tokens on with `--memory 4G`" if beyond else ""


def _sizes(record: dict[str, Any], contender: str) -> list[_Size]:
    found = []
    for name, runs in record["details"].items():
        own = runs[contender] if contender else runs
        found.append(_size(int(name.split()[0]), own))
    return sorted(found, key=lambda size: size.tokens)


def _size(tokens: int, runs: list[dict[str, float]]) -> _Size:
    seconds, memory = (
        statistics.median(run[key] for run in runs) for key in ("wall_s", "peak_bytes")
    )
    return _Size(tokens, seconds, memory)


def _within(record: dict[str, Any]) -> list[dict[str, Any]]:
    """For each size of the text: what it took within the budget, and what the peer took."""
    found = []
    for name, runs in record["details"].items():
        if "within" not in runs or not name.split()[0].isdigit():
            continue
        tokens = int(name.split()[0])
        shown = f"{tokens / 1e6:.3g} M"
        given = [
            one for one in record["comparisons"] if f" {shown} tokens, --memory" in one["name"]
        ]
        if not given:
            continue
        disk = [one["ours_median"] for one in given if one["name"].startswith("most bytes on disk")]
        found.append(
            {
                "tokens": tokens,
                "budget": given[0]["name"].split("--memory ")[1].split(",")[0],
                "ours": _size(tokens, runs["within"]),
                "peer": _size(tokens, runs["KenLM"]).seconds if "KenLM" in runs else None,
                "disk": disk[0] if disk else None,
            }
        )
    return found


def _row(size: _Size) -> str:
    return (
        f"| {size.tokens / 1e6:.3g} M | {_duration(size.seconds)} | "
        f"{size.seconds / size.tokens * 1e6:.2g} µs | {size.memory / 1e9:.2f} GB | "
        f"{size.memory / size.tokens:.0f} bytes |"
    )


def _budget_row(row: dict[str, Any]) -> str:
    own, peer, disk = row["ours"], row["peer"], row["disk"]
    return (
        f"| {own.tokens / 1e6:.3g} M | {row['budget']} | {_duration(own.seconds)} | "
        f"{'' if peer is None else _duration(peer)} | {own.memory / 1e9:.2f} GB | "
        f"{'' if disk is None else f'{disk:.0f} bytes a token'} |"
    )


def _reckoned(sizes: list[_Size], within: list[dict[str, Any]]) -> list[str]:
    """What the sizes in memory and within budgets make of the large text."""
    first, last = sizes[0], sizes[-1]
    slope = (last.seconds - first.seconds) / (last.tokens - first.tokens)
    hours = slope * LARGE / 3600
    per_token = last.memory / last.tokens
    files = [
        "over temporary files, the bound that the project holds is twice that",
        f"{2 * hours:.0f} h",
    ]
    over = 2 * hours
    if within and max(row["tokens"] for row in within) > IN_MEMORY:
        largest = max(within, key=lambda row: row["tokens"])["ours"]
        over = largest.seconds / largest.tokens * LARGE / 3600
        files = [
            f"over temporary files {largest.seconds / largest.tokens * 1e6:.2g} µs a token, as of "
            f"{largest.tokens / 1e6:.3g} M tokens",
            f"{over:.0f} h",
        ]
    windows, ids = WINDOW * LARGE, 4 * LARGE
    parts = windows / PART
    reading = parts * ids / READ / 3600
    disk = max([60, *(row["disk"] or 0 for row in within)])
    passed = f"({last.seconds:.1f} - {first.seconds:.1f}) s"
    more = f"{(last.tokens - first.tokens) / 1e6:.1f} M"
    return [
        f"Between {first.tokens / 1e6:.3g} M and {last.tokens / 1e6:.3g} M a token takes "
        f"{passed} / {more} = {slope * 1e6:.2f} microseconds. From there to the text",
        'of Heafield, Pouzyrevsky, Clark and Koehn ("Scalable modified Kneser-Ney language model '
        'estimation", 2013),',
        "126 billion tokens, on one machine with 140 GB of memory, where lmplz took 2.8 days:",
        "",
        "| assumption | number |",
        "| --- | --- |",
        f"| time in memory stays at {slope * 1e6:.2f} µs a token: sorting is within first words, "
        f"whose share of a text does not grow | {hours:.0f} h |",
        f"| {files[0]} | {files[1]} |",
        f"| memory in one piece would be {per_token:.0f} bytes a token | "
        f"{per_token * LARGE / 1e12:.1f} TB, so it goes over temporary files |",
        f"| windows of {WINDOW} bytes a token, read for each part of the model that fits into "
        f"{PART / 1e9:.0f} GB | {windows / 1e12:.1f} TB in {parts:.0f} parts: the ids "
        f"({ids / 1e12:.1f} TB) are read {parts:.0f} times, at {READ / 1e9:.0f} GB/s "
        f"{reading:.1f} h |",
        f"| temporary files, at most {disk:.0f} bytes a token | {disk * LARGE / 1e12:.1f} TB |",
        "| two cores as here; the steps run on ranges of first words side by side, so 16 cores "
        f"divide what is not disk by eight | {over / 8:.0f} h, plus the disk |",
    ]


def _duration(seconds: float) -> str:
    """A time with its unit.

    >>> _duration(22.84), _duration(1510)
    ('22.8 s', '25 min')
    """
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
