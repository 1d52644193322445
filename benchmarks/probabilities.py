"""Bar: every n-gram of a Penn Treebank 5-gram against lmplz's ARPA, and the known perplexities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import commands, kenlm_programs
from benchmarks.lmplz_miscounts import miscounts, without_miscounts
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report
from benchmarks.workspace import Workspace

NEEDS = ("lmplz", "build_binary", "query")
_TOLERANCE = 1e-4  # in log10
_AGREE = Bar(at_most=_TOLERANCE)
_PERPLEXITY = Bar(at_most=0.05)
# Test perplexity of Mikolov's Penn Treebank, closed vocabulary, 82,430 tokens.
_KNOWN = {3: 148.28, 5: 141.19}

# One order of an ARPA file: words -> log10 probability, log10 back-off.
Section = dict[bytes, tuple[float, float]]


def run(workspace: Workspace, report: Report) -> None:
    """Compare values on the text as it is and without lmplz's miscounts, then perplexities."""
    if workspace.settings.ptb is None:
        report.note("skipped: name the folder of the Penn Treebank with --ptb")
        return
    text = workspace.ptb("train")
    moved = workspace.folder / "ptb.moved.txt"
    without_miscounts(text, moved)
    order = workspace.settings.order
    flaws = miscounts(text, order)
    _compare(workspace, report, "text as it is", text, None if flaws else _AGREE)
    for flaw in flaws:
        report.note(f"explained by kpu/kenlm issues 405 and 427: {flaw}")
    if flaws:
        label = "one line moved, so that lmplz miscounts nothing"
        _compare(workspace, report, label, moved, _AGREE)
    for order, known in _KNOWN.items():
        _perplexity(workspace, report, order, known)


def _compare(workspace: Workspace, report: Report, label: str, text: Path, bar: Bar | None) -> None:
    order = workspace.settings.order
    theirs = workspace.folder / f"{text.stem}.lmplz.arpa"
    run = kenlm_programs.lmplz(text, theirs, order=order, memory=workspace.settings.lmplz_memory)
    differences = _differences(workspace.arpa(text), theirs)
    worst = max(max(found["probability"], found["backoff"]) for found in differences)
    total = sum(found["ngrams"] for found in differences)
    over = ", ".join(
        f"{found['over']:.0f} of {found['ngrams']:.0f} {size}-grams"
        for size, found in enumerate(differences, start=1)
        if found["over"]
    )
    name = f"largest difference in log10 over {total:,.0f} n-grams, {label}"
    report.add(Comparison(name, "", [worst], bar=bar))
    report.note(f"differ by more than {_TOLERANCE:g}: {over or 'none'}")
    report.details[label] = {
        "orders": differences,
        "lmplz_discounts": kenlm_programs.discounts(run),
    }


def _differences(mine: Path, theirs: Path) -> list[dict[str, float]]:
    found = []
    for one, other in zip(_sections(mine), _sections(theirs), strict=True):
        if one.keys() != other.keys():
            wrong = sorted(one.keys() ^ other.keys())[:3]
            raise BenchmarkError(f"not the same n-grams, such as {wrong}")
        worst, worst_backoff, over = 0.0, 0.0, 0
        for ngram, (probability, backoff) in one.items():
            # <s> is never predicted: 0 in lmplz's ARPA, -99 in others, both by convention.
            difference = 0.0 if ngram == b"<s>" else abs(probability - other[ngram][0])
            of_backoff = abs(backoff - other[ngram][1])
            worst, worst_backoff = max(worst, difference), max(worst_backoff, of_backoff)
            over += max(difference, of_backoff) > _TOLERANCE
        found.append(
            {"ngrams": len(one), "probability": worst, "backoff": worst_backoff, "over": over}
        )
    return found


def _sections(arpa: Path) -> Iterator[Section]:
    section: Section | None = None
    with arpa.open("rb") as lines:
        for line in lines:
            if line.endswith(b"-grams:\n"):
                section = {}
            elif section is not None and line.strip():
                fields = line.rstrip(b"\n").split(b"\t")
                backoff = float(fields[2]) if len(fields) > 2 else 0.0
                section[fields[1]] = float(fields[0]), backoff
            elif section is not None:
                yield section
                section = None


def _perplexity(workspace: Workspace, report: Report, order: int, known: float) -> None:
    train, test = workspace.ptb("train"), workspace.ptb("test")
    model = workspace.folder / f"ptb-order-{order}.safetensors"
    arpa, binary = model.with_suffix(".arpa"), model.with_suffix(".kenlm")
    threads = workspace.settings.threads
    commands.train(train, model, order=order, threads=threads)
    mine, tokens = commands.perplexity(commands.evaluate(model, test, threads=threads))
    kenlm_programs.lmplz(train, arpa, order=order, memory=workspace.settings.lmplz_memory)
    kenlm_programs.build_binary(arpa, binary)
    theirs, others = kenlm_programs.perplexity(kenlm_programs.query(binary, test))
    if tokens != others:
        raise BenchmarkError(f"unrolled scored {tokens} tokens, query {others}")
    name = f"test perplexity of order {order}"
    report.add(
        Comparison(f"{name}, distance from {known}", "", [abs(mine - known)], bar=_PERPLEXITY)
    )
    report.add(Comparison(name, "", [mine], [theirs], "KenLM"))
