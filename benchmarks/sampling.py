"""Bar: random text from a 5-gram model at 2 M tokens/s on two cores, the whole command."""

from __future__ import annotations

from benchmarks import commands
from benchmarks.measure import Bar, Comparison, Report, Run
from benchmarks.workspace import Workspace, remove

NEEDS = ()
_BAR = Bar(at_least=2_000_000)
_TEXTS = 5  # as long as so many of the training text


def run(workspace: Workspace, report: Report) -> None:
    """Draw a long text, loading and preparing the model included."""
    settings = workspace.settings
    text, tokens = workspace.training(settings.model_tokens)
    model, drawn = workspace.model(text), _TEXTS * tokens
    target = workspace.folder / "sampled.txt"
    _draw(model, drawn // 1000, target, settings.threads)  # compiles the kernels
    runs: list[Run] = []
    for _ in range(settings.repeats):
        runs.append(_draw(model, drawn, target, settings.threads))
        remove(target)
    speeds = [drawn / run.wall_s for run in runs]
    name = f"sampling {drawn / 1e6:.3g} M tokens, order {settings.order} of {tokens / 1e6:.3g} M"
    report.add(Comparison(name, "tokens/s", speeds, bar=_BAR))
    report.details["runs"] = [run.numbers() for run in runs]


def _draw(model: object, tokens: int, target: object, threads: int) -> Run:
    return commands.unrolled(
        *("generate", str(model), "--tokens", str(tokens), "-o", str(target)),
        *("--seed", "1", "--threads", str(threads)),
    )
