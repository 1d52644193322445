"""Bar: text to usable binary model, against lmplz to ARPA plus build_binary; time and memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks import commands, kenlm_programs
from benchmarks.measure import Bar, Comparison, Report, Run, interleave
from benchmarks.workspace import Workspace, remove

NEEDS = ("lmplz", "build_binary")
_TIME = Bar(at_most=0.25)
_MEMORY = Bar(at_most=40)
_GROWTH = Bar(at_most=1.5)
# The bar on time is for 34 to 60 M tokens; at 1 M tokens starting Python weighs more.
_LARGE = 10_000_000


def run(workspace: Workspace, report: Report) -> None:
    """Estimate at every size, in alternation with the peer."""
    report.note(
        "lmplz has no thread option: both use the same cores; KenLM's binary form is "
        "probing, the one that builds fastest; kernels are compiled before"
    )
    small, _ = workspace.training(20_000)
    _ours(workspace, small)
    per_token = {}
    for size in workspace.settings.tokens:
        text, tokens = workspace.training(size)
        runs = interleave(
            {
                "unrolled": partial(_ours, workspace, text),
                "KenLM": partial(_theirs, workspace, text),
            },
            workspace.settings.repeats,
        )
        _compare(report, runs, tokens)
        per_token[tokens] = [run.wall_s / tokens for run in runs["unrolled"]]
    first, last = min(per_token), max(per_token)
    if first < last:
        name = f"time a token at {_millions(last)} tokens over that at {_millions(first)}"
        grown = _middle(per_token[last]) / _middle(per_token[first])
        report.add(Comparison(name, "times", [grown], bar=_GROWTH))


def _compare(report: Report, runs: dict[str, list[Run]], tokens: int) -> None:
    size = _millions(tokens)
    mine, theirs = runs["unrolled"], runs["KenLM"]
    peer = "lmplz + build_binary"
    time = _TIME if tokens >= _LARGE else None
    walls = [run.wall_s for run in mine], [run.wall_s for run in theirs]
    report.add(Comparison(f"estimation time, {size} tokens", "s", *walls, peer, time))
    peaks = [run.peak_bytes / tokens for run in mine]
    # Below that the interpreter itself is most of it.
    memory = _MEMORY if tokens >= _LARGE else None
    name, unit = f"estimation memory, {size} tokens", "bytes a token"
    report.add(Comparison(name, unit, peaks, bar=memory))
    others = [run.peak_bytes / tokens for run in theirs]
    report.add(Comparison(name, unit, peaks, others, peer))
    report.details[f"{tokens} tokens"] = {
        name: [run.numbers() for run in some] for name, some in runs.items()
    }


def _ours(workspace: Workspace, text: Path) -> Run:
    settings = workspace.settings
    model = workspace.folder / "estimated.safetensors"
    run = commands.train(text, model, order=settings.order, threads=settings.threads)
    remove(model)
    return run


def _theirs(workspace: Workspace, text: Path) -> Run:
    settings = workspace.settings
    arpa, binary = workspace.folder / "estimated.arpa", workspace.folder / "estimated.kenlm"
    run = kenlm_programs.lmplz(text, arpa, order=settings.order, memory=settings.lmplz_memory)
    run = run.then(kenlm_programs.build_binary(arpa, binary))
    remove(arpa, binary)
    return run


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:.3g} M"
