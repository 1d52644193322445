"""Bar: bytes on disk, plain and with 8 bits a value, beside KenLM's and tongrams' tries.

All hold the same n-grams. Of tongrams' forms the smallest counts.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import kenlm_programs, tongrams_programs
from benchmarks.measure import Bar, Comparison, Report
from benchmarks.workspace import Workspace, ngrams_of, remove

NEEDS = ("build_binary",)
_BARS = {"plain": Bar(at_most=0.75), "8 bits": Bar(at_most=1)}
_BAR = Bar(at_most=1)
_PRUNE = (0, 0, 1)


def run(workspace: Workspace, report: Report) -> None:
    """Compare on the text and, where it is there, on the Penn Treebank; unpruned and pruned."""
    text, tokens = workspace.training(workspace.settings.model_tokens)
    texts = {f"{tokens / 1e6:.3g} M tokens": text}
    if workspace.settings.ptb:
        texts["Penn Treebank"] = workspace.ptb("train")
    for name, path in texts.items():
        for prune in ((), _PRUNE):
            _compare(workspace, report, name, path, prune)


def _compare(
    workspace: Workspace, report: Report, name: str, text: Path, prune: tuple[int, ...]
) -> None:
    ngrams = ngrams_of(workspace.arpa(text, prune))
    pruned = f", pruned {' '.join(map(str, prune))}" if prune else ""
    label = f"{name}{pruned}, {ngrams / 1e6:.3g} M n-grams"
    plain = workspace.kenlm(text, "trie", (), prune)
    small = workspace.kenlm(text, "trie", kenlm_programs.QUANTIZED, prune)
    pairs = {
        "plain": (workspace.model(text, prune), plain, "trie"),
        "8 bits": (workspace.quantized(text, prune), small, "trie -q 8 -b 8 -a 255"),
    }
    for form, (mine, theirs, peer) in pairs.items():
        sizes = [mine.stat().st_size], [theirs.stat().st_size]
        report.add(Comparison(f"model size, {form}, {label}", "bytes", *sizes, peer, _BARS[form]))
        report.details[f"{form}, {label}"] = {
            "ngrams": ngrams,
            "ours_bytes_a_ngram": sizes[0][0] / ngrams,
            "peer_bytes_a_ngram": sizes[1][0] / ngrams,
        }
    _compare_tongrams(workspace, report, label, text, prune)


def _compare_tongrams(
    workspace: Workspace, report: Report, label: str, text: Path, prune: tuple[int, ...]
) -> None:
    lacking = tongrams_programs.missing("sort_arpa", "build_trie")
    if lacking:
        report.note(f"no comparison with tongrams: {lacking}")
        return
    arpa, order = workspace.arpa(text, prune), workspace.settings.order
    source, target = arpa.with_suffix(".sorted"), arpa.with_suffix(".tongrams")
    tongrams_programs.sorted_arpa(arpa, source, order)
    sizes = {}
    for form in tongrams_programs.FORMS:
        tongrams_programs.build_trie(source, target, form, order)
        sizes[f"{form[0]} --remapping {form[1]}"] = target.stat().st_size
    peer = min(sizes, key=sizes.__getitem__)
    ours = workspace.quantized(text, prune).stat().st_size
    name = f"model size beside tongrams, 8 bits, {label}"
    report.add(Comparison(name, "bytes", [ours], [sizes[peer]], f"tongrams {peer}", _BAR))
    report.details[f"tongrams, {label}"] = sizes
    remove(source, target)
