"""Bar: perplexity of a text file, loading included, beside KenLM's `query` and tongrams' `score`.

KenLM's form is probing, its fastest; of tongrams' 8-bit tries the one that scores fastest counts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks import commands, kenlm_programs, tongrams_programs
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace, remove

NEEDS = ("build_binary", "query")
_BAR, _TONGRAMS = Bar(at_least=2), Bar(at_least=4)


def run(workspace: Workspace, report: Report) -> None:
    """Score the held-out text with the same n-grams on all sides."""
    text, _ = workspace.training(workspace.settings.model_tokens)
    heldout, tokens = workspace.heldout()
    theirs, tries = workspace.kenlm(text, "probing"), _tries(workspace, report, text, heldout)
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
        for kind, path in tries.items():
            contenders[kind] = partial(tongrams_programs.score, path, heldout)
        runs = interleave(contenders, workspace.settings.repeats)
        speeds = {name: [tokens / run.wall_s for run in some] for name, some in runs.items()}
        name, unit = f"batch scoring, {form}, {tokens / 1e6:.3g} M tokens", "tokens/s"
        ours = speeds["unrolled"]
        report.add(Comparison(name, unit, ours, speeds["query"], "query on probing", _BAR))
        for kind in tries:
            peer = f"tongrams score, {kind}"
            report.add(Comparison(name, unit, ours, speeds[kind], peer, _TONGRAMS))
        report.details[form] = {
            "perplexity": {"unrolled": ppl[0][0], "query": ppl[1][0]},
            "runs": {name: [run.numbers() for run in some] for name, some in runs.items()},
        }


def _tries(workspace: Workspace, report: Report, text: Path, heldout: Path) -> dict[str, Path]:
    """Tongrams' trie that scores fastest, by its name, if tongrams is built."""
    if lacking := tongrams_programs.missing("sort_arpa", "build_trie", "score"):
        report.note(f"no comparison with tongrams: {lacking}")
        return {}
    arpa, order = workspace.arpa(text), workspace.settings.order
    source, seconds = arpa.with_suffix(".sorted"), {}
    tongrams_programs.sorted_arpa(arpa, source, order)
    for form in tongrams_programs.FORMS:
        path = arpa.with_suffix(f".{form[0]}{form[1]}")
        tongrams_programs.build_trie(source, path, form, order)
        run = tongrams_programs.score(path, heldout)
        seconds[f"{form[0]} --remapping {form[1]}", path] = run.wall_s
    remove(source)
    report.details["seconds of tongrams' forms"] = {kind: s for (kind, _), s in seconds.items()}
    kind, fastest = min(seconds, key=seconds.__getitem__)
    remove(*(path for _, path in seconds if path != fastest))
    return {kind: fastest}


def _agree(form: str, mine: tuple[float, int], theirs: tuple[float, int]) -> None:
    tolerance = 1e-4 if form == "plain" else 0.02  # 8 bits cost something, in KenLM too
    if mine[1] != theirs[1] or abs(mine[0] / theirs[0] - 1) > tolerance:
        raise BenchmarkError(f"perplexity and tokens differ: unrolled {mine}, query {theirs}")
