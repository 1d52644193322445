"""Bar: perplexity of a text file, loading included, against `query -v summary`."""

from __future__ import annotations

from functools import partial

from benchmarks import commands, kenlm_programs
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ("build_binary", "query")
_BAR = Bar(at_least=2)


def run(workspace: Workspace, report: Report) -> None:
    """Score the held-out text with the same n-grams on both sides, KenLM's in its fastest form."""
    text, _ = workspace.training(workspace.settings.model_tokens)
    heldout, tokens = workspace.heldout()
    theirs = workspace.kenlm(text, "probing")
    threads = workspace.settings.threads
    forms = {"plain": workspace.model(text), "8 bits": workspace.quantized(text)}
    for form, mine in forms.items():
        contenders = {
            "unrolled": partial(commands.evaluate, mine, heldout, threads=threads),
            "query": partial(kenlm_programs.query, theirs, heldout),
        }
        warm = {name: contender() for name, contender in contenders.items()}
        ppl = commands.perplexity(warm["unrolled"]), kenlm_programs.perplexity(warm["query"])
        _agree(form, *ppl)
        runs = interleave(contenders, workspace.settings.repeats)
        speeds = {name: [tokens / run.wall_s for run in some] for name, some in runs.items()}
        name = f"batch scoring, {form}, {tokens / 1e6:.3g} M tokens"
        both = speeds["unrolled"], speeds["query"]
        bar = _BAR if form == "plain" else None
        report.add(Comparison(name, "tokens/s", *both, "query on probing", bar))
        report.details[form] = {
            "perplexity": {"unrolled": ppl[0][0], "query": ppl[1][0]},
            "runs": {name: [run.numbers() for run in some] for name, some in runs.items()},
        }


def _agree(form: str, mine: tuple[float, int], theirs: tuple[float, int]) -> None:
    tolerance = 1e-4 if form == "plain" else 0.02  # 8 bits cost something, in KenLM too
    if mine[1] != theirs[1] or abs(mine[0] / theirs[0] - 1) > tolerance:
        raise BenchmarkError(f"perplexity and tokens differ: unrolled {mine}, query {theirs}")
