"""Bar: what a Python user gets in a second: every token's scores, sums, one short sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ("build_binary", "module")
_TOKENS = 500_000
_TOKEN_SCORES = Bar(at_least=5)
_SUMS = Bar(at_least=1.5)
_SENTENCE = Bar(at_most=20)
_SHORT_WORDS = 8


def run(workspace: Workspace, report: Report) -> None:
    """Load both models of the same n-grams into this process, in alternation."""
    import kenlm

    text, _ = workspace.training(workspace.settings.model_tokens)
    texts, tokens = _sentences(workspace.heldout()[0])
    threads = workspace.settings.threads
    mine, theirs = (
        commands.load(workspace.model(text)),
        kenlm.Model(str(workspace.kenlm(text, "probing"))),
    )
    _agree(commands.predicted(mine, texts, threads), _full_scores(theirs, texts))
    repeats = workspace.settings.repeats
    for name, contenders, bar in (
        (
            "every token's log-probability, length and OOV flag",
            {
                "unrolled": lambda: commands.token_scores(mine, texts, threads),
                "KenLM": lambda: [list(theirs.full_scores(text)) for text in texts],
            },
            _TOKEN_SCORES,
        ),
        (
            "sums",
            {
                "unrolled": lambda: commands.sums(mine, texts, threads),
                "KenLM": lambda: [theirs.score(text) for text in texts],
            },
            _SUMS,
        ),
    ):
        speeds = _speeds(contenders, tokens, repeats)
        report.add(Comparison(name, "tokens/s", *speeds, "kenlm module", bar))
    _one_sentence(report, mine, theirs, texts)


def _sentences(path: Path) -> tuple[list[str], int]:
    texts: list[str] = []
    tokens = 0
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            texts.append(line.rstrip("\n"))
            tokens += line.count(" ") + 2
            if tokens >= _TOKENS:
                break
    return texts, tokens


def _speeds(
    contenders: dict[str, Callable[[], Any]], tokens: int, repeats: int
) -> tuple[list[float], list[float]]:
    runs = interleave({name: _timed(some) for name, some in contenders.items()}, repeats)
    unrolled, kenlm = ([tokens / seconds for seconds in some] for some in runs.values())
    return unrolled, kenlm


def _timed(function: Callable[[], Any]) -> Callable[[], float]:
    def seconds() -> float:
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin

    return seconds


def _one_sentence(report: Report, mine: Any, theirs: Any, texts: Sequence[str]) -> None:
    short = [text for text in texts if text.count(" ") < _SHORT_WORDS][:1000]
    runs = interleave(
        {
            "unrolled": _timed(lambda: [commands.score(mine, text) for text in short]),
            "KenLM": _timed(lambda: [theirs.score(text) for text in short]),
        },
        9,
    )
    unrolled, kenlm = ([1e6 * seconds / len(short) for seconds in some] for some in runs.values())
    name = f"one sentence of up to {_SHORT_WORDS} words"
    report.add(Comparison(name, "microseconds", unrolled, bar=_SENTENCE))
    report.add(Comparison(name, "microseconds", unrolled, kenlm, "kenlm module"))


def _full_scores(model: Any, texts: Sequence[str]) -> tuple[Any, Any, Any]:
    rows = [row for text in texts for row in model.full_scores(text)]
    log10, lengths, oov = zip(*rows, strict=True)
    return np.array(log10) * np.log(10), np.array(lengths), np.array(oov)


def _agree(mine: tuple[Any, Any, Any], theirs: tuple[Any, Any, Any]) -> None:
    if len(mine[0]) != len(theirs[0]):
        raise BenchmarkError(f"unrolled scored {len(mine[0])} tokens, KenLM {len(theirs[0])}")
    worst = float(np.abs(np.asarray(mine[0]) - theirs[0]).max())
    if worst > 1e-4:
        raise BenchmarkError(f"log-probabilities differ by up to {worst:.2g}")
    for name, one, other in (("lengths", mine[1], theirs[1]), ("OOV flags", mine[2], theirs[2])):
        if not np.array_equal(one, other):
            raise BenchmarkError(f"{np.count_nonzero(np.asarray(one) != other)} {name} differ")
