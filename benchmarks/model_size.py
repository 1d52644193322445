"""Bar: bytes on disk, plain and with 8 bits a value, on the same n-grams as KenLM's tries."""

from __future__ import annotations

from pathlib import Path

from benchmarks import kenlm_programs
from benchmarks.measure import Bar, Comparison, Report
from benchmarks.workspace import Workspace, ngrams_of

NEEDS = ("build_binary",)
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
        report.add(Comparison(f"model size, {form}, {label}", "bytes", *sizes, peer, _BAR))
        report.details[f"{form}, {label}"] = {
            "ngrams": ngrams,
            "ours_bytes_a_ngram": sizes[0][0] / ngrams,
            "peer_bytes_a_ngram": sizes[1][0] / ngrams,
        }
