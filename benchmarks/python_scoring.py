"""Bars: what a Python user gets in a second, and how long a single call takes beside KenLM's.

Single calls go by this process's CPU time, so that other processes do not count; each sentence is
another one, as in use, where the model's arrays are not in the processor's caches.
"""

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
_SINGLE = Bar(at_most=1.5)
_LENGTHS = 1, 5, 8, 20  # words
_CALLS, _ROUNDS = 1000, 15


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
    _single_calls(report, "the text's model", mine, theirs, texts)
    if workspace.settings.ptb is not None:
        _of_the_treebank(workspace, report)


def _of_the_treebank(workspace: Workspace, report: Report) -> None:
    import kenlm

    text = workspace.ptb("train")
    theirs = kenlm.Model(str(workspace.kenlm(text, "probing")))
    texts, _ = _sentences(workspace.ptb("test"))
    _single_calls(report, "PTB", commands.load(workspace.model(text)), theirs, texts)


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


def _timed(
    function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    def seconds() -> float:
        begin = clock()
        function()
        return clock() - begin

    return seconds


def _single_calls(report: Report, name: str, mine: Any, theirs: Any, texts: Sequence[str]) -> None:
    """Calls of one sentence or one word, by ours, our KenLM-compatible class, and KenLM's."""
    import kenlm

    import unrolled.integrations.kenlm as compatible

    alike, words = compatible.Model.from_model(mine), " ".join(texts).split()
    for length in _LENGTHS:
        count = min(_CALLS, len(words) // length)
        given = [" ".join(words[i * length : (i + 1) * length]) for i in range(count)]
        title = f"{length} words, {name}" if length > 1 else f"1 word, {name}"
        score = {
            name: _calls(model.score, given) for name, model in (("score", mine), ("KenLM", theirs))
        }
        _compare(report, f"score of {title}", score, count)
        unended = {
            name: _unended(model, given) for name, model in (("score", alike), ("KenLM", theirs))
        }
        _compare(report, f"compatible score without marks of {title}", unended, count)
        for form, forms in (("str", given), ("bytes", [text.encode() for text in given])):
            for call in ("score", "full_scores"):
                contenders = {
                    name: _calls(getattr(model, call), forms)
                    for name, model in ((call, alike), ("KenLM", theirs))
                }
                _compare(report, f"compatible {call} of {title}, {form}", contenders, count)
    sentences = [text.split() for text in texts[:_CALLS]]
    steps = {
        "BaseScore": lambda: _steps(alike, compatible.State, sentences),
        "KenLM": lambda: _steps(theirs, kenlm.State, sentences),
    }
    _compare(report, f"BaseScore, {name}", steps, sum(map(len, sentences)))


def _calls(call: Callable[[Any], Any], texts: Sequence[Any]) -> Callable[[], Any]:
    if call.__name__ == "score":
        return lambda: [call(text) for text in texts]
    return lambda: [list(call(text)) for text in texts]


def _unended(model: Any, texts: Sequence[str]) -> Callable[[], Any]:
    return lambda: [model.score(text, False, False) for text in texts]


def _steps(model: Any, state: Callable[[], Any], sentences: Sequence[Sequence[str]]) -> None:
    before, after, step = state(), state(), model.BaseScore
    for sentence in sentences:
        model.BeginSentenceWrite(before)
        for word in sentence:
            step(before, word, after)
            before, after = after, before


def _compare(
    report: Report, name: str, contenders: dict[str, Callable[[], Any]], calls: int
) -> None:
    clocked = {name: _timed(some, time.thread_time) for name, some in contenders.items()}
    runs = interleave(clocked, _ROUNDS)
    ours, peer = ([1e6 * seconds / calls for seconds in some] for some in runs.values())
    report.add(Comparison(name, "microseconds", ours, peer, "kenlm module", _SINGLE))


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
