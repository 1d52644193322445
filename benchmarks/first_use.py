"""Bar: what compiling the kernels costs, once, with an empty cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, Comparison, Report, Run
from benchmarks.workspace import Workspace, remove

NEEDS = ()
_BAR = Bar(at_most=15)
_QUIET_SECONDS = 10


def run(workspace: Workspace, report: Report) -> None:
    """Run the commands twice with a cache that begins empty: the difference is compiling."""
    text, _ = workspace.training(20_000)
    folder = workspace.folder / "first-use"
    totals = []
    for turn in range(min(workspace.settings.repeats, 3)):
        cache = folder / f"cache-{turn}"
        cache.mkdir(parents=True)
        cold = {name: command() for name, command in _commands(workspace, text, cache).items()}
        _wait_for_the_background(cache)
        warm = {name: command() for name, command in _commands(workspace, text, cache).items()}
        totals.append(sum(cold[name].wall_s - warm[name].wall_s for name in cold))
        report.details[f"turn {turn}"] = {
            name: {"first_s": cold[name].wall_s, "second_s": warm[name].wall_s} for name in cold
        }
        if turn == 0 and "compil" not in cold["train"].stderr.lower():
            report.note("the first run of train did NOT say that it compiles")
    report.add(Comparison("first use, all kernels compiled", "s", totals, bar=_BAR))
    remove(folder)


def _wait_for_the_background(cache: Path) -> None:
    """Until the process that compiles the rest has ended: beside it the second run is no measure.

    Its end is told by the cache, to which nothing is added for a while.
    """
    before, quiet = -1, 0
    while quiet < _QUIET_SECONDS:
        time.sleep(1)
        files = sum(1 for _ in cache.rglob("*"))
        quiet = quiet + 1 if files == before else 0
        before = files


def _commands(workspace: Workspace, text: Path, cache: Path) -> dict[str, Callable[[], Run]]:
    """Commands that together use every kernel that a user of n-grams meets."""
    folder = cache.parent
    model, pruned = folder / "model.safetensors", folder / "pruned.safetensors"
    arpa, small = folder / "model.arpa", folder / "small.safetensors"
    back = folder / "back.safetensors"
    threads = workspace.settings.threads
    return {
        "train": lambda: commands.train(text, model, order=5, threads=threads, cache=cache),
        "train pruned": lambda: commands.train(
            text, pruned, order=5, threads=threads, prune=(0, 0, 1), cache=cache
        ),
        "evaluate": lambda: commands.evaluate(model, text, threads=threads, cache=cache),
        "to ARPA": lambda: commands.convert(model, arpa, cache=cache),
        "from ARPA": lambda: commands.convert(arpa, back, cache=cache),
        "to 8 bits": lambda: commands.convert(model, small, bits=8, cache=cache),
        "evaluate 8 bits": lambda: commands.evaluate(small, text, threads=threads, cache=cache),
    }
