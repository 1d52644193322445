"""Bar: what compiling all kernels ahead costs, with an empty cache: ``unrolled compile``."""

from __future__ import annotations

from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, Comparison, Report
from benchmarks.workspace import Workspace, remove

NEEDS = ()
_BAR = Bar(at_most=25)


def run(workspace: Workspace, report: Report) -> None:
    """Compile all kernels twice with a cache that begins empty: the difference is compiling."""
    text, _ = workspace.training(20_000)
    folder = workspace.folder / "compilation"
    totals = []
    for turn in range(min(workspace.settings.repeats, 3)):
        cache = folder / f"cache-{turn}"
        cache.mkdir(parents=True)
        cold, warm = (commands.unrolled("compile", cache=cache) for _ in range(2))
        totals.append(cold.wall_s - warm.wall_s)
        report.details[f"turn {turn}"] = {"first_s": cold.wall_s, "second_s": warm.wall_s}
    report.add(Comparison("all kernels compiled", "s", totals, bar=_BAR))
    _check_note(text, folder, report)
    remove(folder)


def _check_note(text: Path, folder: Path, report: Report) -> None:
    """A command that finds no compiled kernels reports it; one that finds them all does not."""
    empty = folder / "empty"
    empty.mkdir()
    for cache, expected in ((empty, True), (folder / "cache-0", False)):
        trained = commands.train(text, folder / "model", order=5, threads=1, cache=cache)
        if ("compiling kernels" in trained.stderr) != expected:
            report.note(f"train did {'NOT ' * expected}report that it compiles, with {cache.name}")
