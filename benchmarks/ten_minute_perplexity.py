"""Bar: the best single net within ten minutes of training, alone and mixed with a 5-gram model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, Comparison, Report, Run
from benchmarks.workspace import Workspace

NEEDS = ()
SEEDS = (1, 2, 3)
_ALONE, _MIXED, _SECONDS = Bar(at_most=92), Bar(at_most=86), Bar(at_most=600)


def run(workspace: Workspace, report: Report) -> None:
    """The default net of ``unrolled train net``, from raw text to the test perplexity, by seed."""
    train, valid, test = (workspace.ptb(part) for part in ("train", "valid", "test"))
    counts = workspace.folder / "kn5.safetensors"
    commands.unrolled("train", "ngram", train, "-o", counts)
    alone, mixed, seconds, cpu_seconds = [], [], [], []
    for seed in SEEDS:
        net = workspace.folder / f"net-{seed}.safetensors"
        both = workspace.folder / f"both-{seed}.safetensors"
        trained = _train(train, valid, net, seed)
        seconds.append(trained.wall_s)
        cpu_seconds.append(trained.cpu_s)
        alone.append(_perplexity(net, test))
        commands.unrolled("mix", net, counts, "-o", both, "--dynamic", "--tune", valid)
        mixed.append(_perplexity(both, test))
        report.note(
            f"seed {seed}: {seconds[-1]:.0f} s ({cpu_seconds[-1]:.0f} of all cores), "
            f"test {alone[-1]:.2f}, mixed {mixed[-1]:.2f}"
        )
        report.details[f"seed {seed}"] = {
            **trained.numbers(),
            "curve": re.findall(r"epoch +\d+ .*", trained.stderr),
        }
    report.add(Comparison("ten minutes, wall time of training", "s", seconds, bar=_SECONDS))
    name = "ten minutes, time of all cores together"
    report.add(Comparison(name, "s", cpu_seconds, bar=_SECONDS))
    report.add(Comparison("ten minutes, test perplexity alone", "", alone, bar=_ALONE))
    report.add(Comparison("ten minutes, mixed with KN5", "", mixed, bar=_MIXED))


def _train(train: Path, valid: Path, model: Path, seed: int) -> Run:
    return commands.unrolled(
        "train", "net", train, "--valid", valid, "-o", model, "--set", f"seed={seed}"
    )


def _perplexity(model: Path, test: Path) -> float:
    output = commands.unrolled("evaluate", model, test, "--json").stdout
    return float(json.loads(output)["perplexity"])
