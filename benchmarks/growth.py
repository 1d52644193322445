"""Bar: time a token from 1 M tokens to the whole text; beyond 100 M within a budget of memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, Comparison, Report, Run
from benchmarks.workspace import Workspace, remove

NEEDS = ()
_SIZES = tuple(size * 1_000_000 for size in (1, 3, 10, 30, 100, 300))
_IN_MEMORY, _BUDGET = 100_000_000, "4G"
_GROWTH = Bar(at_most=2)


def run(workspace: Workspace, report: Report) -> None:
    """Train on more and more of the text; each size once in a round, so that load falls evenly."""
    small, _ = workspace.training(20_000)
    _train(workspace, small, 20_000)
    # Sizes beyond the text's are all that of the text.
    texts = {tokens: text for text, tokens in map(workspace.training, _SIZES)}
    runs: dict[int, list[Run]] = {tokens: [] for tokens in texts}
    for _ in range(workspace.settings.repeats):
        for tokens, text in texts.items():
            runs[tokens].append(_train(workspace, text, tokens))
    per_token = {
        tokens: [run.wall_s / tokens * 1e9 for run in some] for tokens, some in runs.items()
    }
    first, last = min(per_token), max(per_token)
    if first < last:
        name = f"time a token, {_millions(last)} tokens over {_millions(first)}"
        peer = f"{_millions(first)} tokens"
        report.add(Comparison(name, "ns", per_token[last], per_token[first], peer, _GROWTH))
        best = min(per_token, key=lambda tokens: sorted(per_token[tokens]))
        name = f"time a token, {_millions(last)} tokens over the best, {_millions(best)}"
        peer = f"{_millions(best)} tokens"
        report.add(Comparison(name, "ns", per_token[last], per_token[best], peer))
    for tokens, times in per_token.items():
        within = f", --memory {_BUDGET}" if tokens > _IN_MEMORY else ""
        report.add(Comparison(f"time a token, {_millions(tokens)} tokens{within}", "ns", times))
        report.details[f"{tokens} tokens"] = [run.numbers() for run in runs[tokens]]


def _train(workspace: Workspace, text: Path, tokens: int) -> Run:
    settings = workspace.settings
    model = workspace.folder / "grown.safetensors"
    budget = _BUDGET if tokens > _IN_MEMORY else None
    run = commands.train(text, model, order=settings.order, threads=settings.threads, memory=budget)
    remove(model)
    return run


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:.3g} M"
