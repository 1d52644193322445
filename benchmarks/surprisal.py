"""Bar: a table of surprisals of 1,000 sentences under a 5-gram and an LSTM, entropies included.

The command's time from its start to its end; every word's surprisal is that of `score --by word`.
Beside it the entropies of the 5-gram, against summing over the whole vocabulary at each word.
"""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ()
_SENTENCES = 1000
_SECONDS = Bar(at_most=10)
_DIFFERENCE = Bar(at_most=2e-6)  # bits; both print six decimals
_SLOW_SENTENCES = 20  # of the whole distribution at each word, which takes its time
_NET_TOKENS = 1_000_000  # the LSTM's text; how good it is does not matter here


def run(workspace: Workspace, report: Report) -> None:
    """Models of the workspace's text, and sentences that it does not hold."""
    try:
        import torch  # noqa: F401
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    text, _ = workspace.training(workspace.settings.model_tokens)
    ngram, net = workspace.model(text), workspace.folder / "surprisal-lstm.safetensors"
    small, _ = workspace.training(min(_NET_TOKENS, workspace.settings.model_tokens))
    commands.unrolled(
        "train", "net", small, "-o", net, "--hidden", "256", "--epochs", "1", "--set",
        "vocabulary_size=10000",
    )  # fmt: skip
    lines = workspace.heldout()[0].read_text(encoding="utf-8").splitlines()[:_SENTENCES]
    table, target = workspace.folder / "stimuli.csv", workspace.folder / "surprisal.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "text"])
        writer.writerows(enumerate(lines, 1))
    words = sum(len(line.split()) for line in lines)
    name = f"{len(lines)} sentences, {words:,} words, under a 5-gram and an LSTM"
    seconds = [_timed(ngram, net, table, target) for _ in range(workspace.settings.repeats)]
    report.add(Comparison(name, "s", seconds, bar=_SECONDS))
    for model in (ngram, net):
        name = f"largest difference from score --by word, {model.stem}"
        difference = _difference(model, lines, target, workspace.settings.threads)
        report.add(Comparison(name, "bits", [difference], bar=_DIFFERENCE))
    _entropies(ngram, lines, report, workspace.settings.repeats)


def _timed(ngram: Path, net: Path, table: Path, target: Path) -> float:
    return commands.unrolled("surprisal", ngram, net, table, "-o", target, "--no-text").wall_s


def _difference(path: Path, lines: list[str], target: Path, threads: int) -> float:
    """Largest difference of a word's surprisal, in bits."""
    from unrolled.language_models.scoring import surprisals

    model = commands.load(path)
    expected = [token.bits for token in surprisals(model, lines, threads=threads) if not token.last]
    with target.open(encoding="utf-8", newline="") as file:
        found = [float(row[f"surprisal_{path.stem}"]) for row in csv.DictReader(file)]
    if len(found) != len(expected):
        raise BenchmarkError(f"the table has {len(found)} words, the text {len(expected)}")
    return max(abs(one - other) for one, other in zip(found, expected, strict=True))


def _entropies(path: Path, lines: list[str], report: Report, repeats: int) -> None:
    from unrolled.language_models.protocol import LanguageModel

    model: Any = commands.load(path)
    ids, few = (
        model.vocabulary.encode_block("\n".join(some).encode()).ids
        for some in (lines, lines[:_SLOW_SENTENCES])
    )
    worst = float(np.abs(model.entropies(few) - LanguageModel.entropies(model, few)).max())
    if worst > 1e-4:
        raise BenchmarkError(f"entropies differ by up to {worst / math.log(2):.2g} bits")

    def rate(function: Any, some: Any) -> float:
        begin = time.perf_counter()
        function(some)
        return some.size / (time.perf_counter() - begin)

    runs = interleave(
        {
            "contexts": lambda: rate(model.entropies, ids),
            "vocabulary": lambda: rate(lambda some: LanguageModel.entropies(model, some), few),
        },
        repeats,
    )
    name = f"entropies of the 5-gram, {len(model.vocabulary):,} words"
    report.add(Comparison(name, "tokens/s", *runs.values(), "over the whole vocabulary"))
