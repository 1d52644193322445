"""Bars: text to usable binary model, against lmplz plus build_binary, and tongrams' estimator."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks import commands, kenlm_programs, tongrams_programs
from benchmarks.measure import Bar, Comparison, Report, Run, interleave
from benchmarks.workspace import Workspace, remove

NEEDS = ("lmplz", "build_binary")
_TIME = Bar(at_most=0.25)
_TONGRAMS = Bar(at_most=0.18)
_RATE = Bar(at_least=4.5e6)
_MEMORY = Bar(at_most=37)
# The bars on time are for 23 to 60 M tokens; at 1 M tokens starting Python weighs more.
_LARGE = 10_000_000


def run(workspace: Workspace, report: Report) -> None:
    """Estimate at every size, in alternation with the peer."""
    report.note(
        "lmplz has no thread option: both use the same cores; KenLM's binary form is "
        "probing, the one that builds fastest; kernels are compiled before"
    )
    small, _ = workspace.training(20_000)
    _ours(workspace, small)
    contenders = {"unrolled": _ours, "KenLM": _kenlm, "tongrams": _tongrams}
    if lacking := tongrams_programs.missing("estimate"):
        report.note(lacking)
        del contenders["tongrams"]
    for size in workspace.settings.tokens:
        text, tokens = workspace.training(size)
        runs = interleave(
            {name: partial(run, workspace, text) for name, run in contenders.items()},
            workspace.settings.repeats,
        )
        _compare(report, runs, tokens)


def _compare(report: Report, runs: dict[str, list[Run]], tokens: int) -> None:
    size, large = f"{tokens / 1e6:.3g} M tokens", tokens >= _LARGE
    walls = {name: [run.wall_s for run in some] for name, some in runs.items()}
    peaks = {name: [run.peak_bytes / tokens for run in some] for name, some in runs.items()}
    name, unit = f"estimation time, {size}", "s"
    peers = {"KenLM": ("lmplz + build_binary", _TIME), "tongrams": ("tongrams estimate", _TONGRAMS)}
    for peer, (shown, bar) in peers.items():
        if peer in runs:
            ours, theirs = walls["unrolled"], walls[peer]
            report.add(Comparison(name, unit, ours, theirs, shown, bar if large else None))
    rates = [tokens / wall for wall in walls["unrolled"]]
    bar = _RATE if large else None
    report.add(Comparison(f"estimation, {size}", "tokens/s", rates, bar=bar))
    name, unit = f"estimation memory, {size}", "bytes a token"
    # Below that the interpreter itself is most of it.
    memory = _MEMORY if large else None
    report.add(Comparison(name, unit, peaks["unrolled"], bar=memory))
    for peer, (shown, _) in peers.items():
        if peer in runs:
            report.add(Comparison(name, unit, peaks["unrolled"], peaks[peer], shown))
    report.details[f"{tokens} tokens"] = {
        name: [run.numbers() for run in some] for name, some in runs.items()
    }


def _ours(workspace: Workspace, text: Path) -> Run:
    settings = workspace.settings
    model = workspace.folder / "estimated.safetensors"
    run = commands.train(text, model, order=settings.order, threads=settings.threads)
    remove(model)
    return run


def _kenlm(workspace: Workspace, text: Path) -> Run:
    settings = workspace.settings
    arpa, binary = workspace.folder / "estimated.arpa", workspace.folder / "estimated.kenlm"
    run = kenlm_programs.lmplz(text, arpa, order=settings.order, memory=settings.lmplz_memory)
    run = run.then(kenlm_programs.build_binary(arpa, binary))
    remove(arpa, binary)
    return run


def _tongrams(workspace: Workspace, text: Path) -> Run:
    settings = workspace.settings
    model = workspace.folder / "estimated.tongrams"
    run = tongrams_programs.estimate(text, model, order=settings.order, threads=settings.threads)
    remove(model)
    return run
