"""Bars: 8-bit models of a text's n-grams, made in time, and with the perplexity they had before.

Perplexities are of the text that the model was trained on and of text that it was not; KenLM
quantizes the very same n-grams.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import commands, kenlm_programs
from benchmarks.measure import Bar, Comparison, Report, interleave
from benchmarks.workspace import Workspace, ngrams_of

NEEDS = ("build_binary", "module")
_SECONDS = Bar(at_most=6)  # for 27 M n-grams, from which it is scaled
_NGRAMS = 27e6
_CHANGE = Bar(at_most=0.15)
_SUMS = Bar(at_most=1e-3)
_HISTORIES = 300


def run(workspace: Workspace, report: Report) -> None:
    """On the text and, where it is there, on the Penn Treebank."""
    text, tokens = workspace.training(workspace.settings.model_tokens)
    _time(workspace, report, text)
    texts = {f"{tokens / 1e6:.3g} M tokens": (text, workspace.heldout()[0])}
    if workspace.settings.ptb:
        texts["Penn Treebank"] = (workspace.ptb("train"), workspace.ptb("test"))
    for name, (seen, unseen) in texts.items():
        for kind, scored in (("seen", seen), ("unseen", unseen)):
            _perplexity(workspace, report, f"{kind} text, {name}", seen, scored)
        _sums(workspace, report, name, seen, unseen)


def _time(workspace: Workspace, report: Report, text: Path) -> None:
    """From a model file to a smaller one, and from an ARPA file to KenLM's."""
    model, arpa = workspace.model(text), workspace.arpa(text)
    ngrams = ngrams_of(arpa)
    target, theirs = workspace.folder / "made.safetensors", workspace.folder / "made.kenlm"
    options = kenlm_programs.QUANTIZED
    contenders = {
        "unrolled": partial(commands.convert, model, target, bits=8),
        "KenLM": partial(kenlm_programs.build_binary, arpa, theirs, "trie", options),
    }
    contenders["unrolled"]()  # kernels are compiled before
    runs = interleave(contenders, workspace.settings.repeats)
    walls = {name: [run.wall_s for run in some] for name, some in runs.items()}
    name, peer = f"quantizing {ngrams / 1e6:.3g} M n-grams", "build_binary trie -q 8 -b 8 -a 255"
    report.add(Comparison(f"{name}, from a model", "s", walls["unrolled"], walls["KenLM"], peer))
    if ngrams > 0.8 * _NGRAMS:  # starting weighs more in small models
        scaled = [wall * _NGRAMS / ngrams for wall in walls["unrolled"]]
        report.add(Comparison("quantizing, scaled to 27 M n-grams", "s", scaled, bar=_SECONDS))
    report.details["time"] = {name: [run.numbers() for run in some] for name, some in runs.items()}


def _perplexity(workspace: Workspace, report: Report, name: str, text: Path, scored: Path) -> None:
    """By how many percent rounding changes the perplexity, either way."""
    lines = scored.read_text("utf-8").splitlines()[: workspace.settings.heldout_tokens // 10]
    ours = [
        _our_perplexity(model, lines, workspace.settings.threads)
        for model in (workspace.model(text), workspace.quantized(text))
    ]
    forms = (
        workspace.kenlm(text, "probing"),
        workspace.kenlm(text, "trie", kenlm_programs.QUANTIZED),
    )
    theirs = [_their_perplexity(form, lines) for form in forms]
    changes = [100 * (after / before - 1) for before, after in (ours, theirs)]
    both = [abs(changes[0])], [max(abs(changes[1]), 1e-9)]
    report.add(Comparison(f"8-bit perplexity, change on {name}", "%", both[0], bar=_CHANGE))
    report.add(
        Comparison(f"8-bit perplexity, change on {name}", "%", *both, "trie -q 8 -b 8 -a 255")
    )
    report.details[f"perplexity, {name}"] = {
        "unrolled": {"exact": ours[0], "8 bits": ours[1], "change_percent": changes[0]},
        "KenLM": {"exact": theirs[0], "8 bits": theirs[1], "change_percent": changes[1]},
    }


def _our_perplexity(model: Path, lines: list[str], threads: int) -> float:
    log_probs, _, _ = commands.predicted(commands.load(model), lines, threads)
    return float(np.exp(-log_probs.mean(dtype=np.float64)))


def _their_perplexity(model: Path, lines: list[str]) -> float:
    import kenlm

    scored = kenlm.Model(str(model))
    total = sum(scored.score(line) for line in lines)
    tokens = sum(line.count(" ") + 2 for line in lines)
    return float(10 ** (-total / tokens))


def _sums(workspace: Workspace, report: Report, name: str, text: Path, scored: Path) -> None:
    """The largest distance from one of the sums over all words after histories of both texts."""
    model = commands.load(workspace.quantized(text))
    off = []
    for source in (text, scored):
        with source.open(encoding="utf-8") as lines:
            for line, _ in zip(lines, range(_HISTORIES), strict=False):
                state = model.start()
                for word in model.vocabulary.ids(line.split()[: len(off) % 20]):
                    state = model.advance(state, int(word))
                found = np.exp(model.next_log_probs(state).astype(np.float64))
                off.append(abs(float(found.sum()) - 1))
    report.add(
        Comparison(f"8-bit sums, largest distance from 1, {name}", "", [max(off)], bar=_SUMS)
    )
