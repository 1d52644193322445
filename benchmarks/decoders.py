"""Bar: what a decoder asks for: 500 hypotheses in one call, beside KenLM's BaseScore for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ("module",)
_HYPOTHESES = 500
_EACH = Bar(at_most=0.15)  # microseconds
_CALLS = 20
_BRANCHES = 20  # candidates of each hypothesis


def run(workspace: Workspace, report: Report) -> None:
    """Hypotheses amid held-out sentences, each advanced by its next word."""
    import kenlm

    text, _ = workspace.training(workspace.settings.model_tokens)
    mine = commands.load(workspace.model(text))
    theirs = kenlm.Model(str(workspace.arpa(text)))
    heads, following = _hypotheses(workspace)
    ids = np.array(mine.vocabulary.ids(following), np.int64)
    states = mine.start_states(_HYPOTHESES)
    before = [_state(kenlm, theirs, head) for head in heads]
    for place in range(len(heads[0])):
        words = mine.vocabulary.ids([head[place] for head in heads])
        states, _ = mine.extend(states, words)
    after = kenlm.State()
    _agree(mine.extend(states, ids)[1], [theirs.BaseScore(s, w, after) for s, w in
                                         zip(before, following, strict=True)])  # fmt: skip

    def base_scores() -> None:
        for state, word in zip(before, following, strict=True):
            theirs.BaseScore(state, word, after)

    runs = interleave(
        {
            "unrolled": _each(lambda: mine.extend(states, ids), _HYPOTHESES),
            "KenLM": _each(base_scores, _HYPOTHESES),
        },
        9,
    )
    name = f"{_HYPOTHESES} hypotheses in one call of extend, each"
    report.add(Comparison(name, "microseconds", runs["unrolled"], bar=_EACH))
    report.add(Comparison(name, "microseconds", *runs.values(), "kenlm BaseScore"))
    candidates = np.stack([np.roll(ids, shift) for shift in range(_BRANCHES)], axis=1)
    runs = interleave(
        {"unrolled": _each(lambda: mine.score_beams(states, candidates), candidates.size)}, 9
    )
    name = f"{_HYPOTHESES} x {_BRANCHES} candidates in one call of score_beams, each"
    report.add(Comparison(name, "microseconds", runs["unrolled"], bar=_EACH))


def _hypotheses(workspace: Workspace) -> tuple[list[list[str]], list[str]]:
    """Six words and the next one of held-out sentences."""
    found = []
    with workspace.heldout()[0].open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            words = line.split()
            if len(words) > 6:
                found.append((words[:6], words[6]))
            if len(found) == _HYPOTHESES:
                break
    if len(found) < _HYPOTHESES:
        raise BenchmarkError(f"the held-out text has only {len(found)} sentences of seven words")
    return [head for head, _ in found], [word for _, word in found]


def _state(kenlm: Any, model: Any, words: list[str]) -> Any:
    state = kenlm.State()
    model.BeginSentenceWrite(state)
    for word in words:
        after = kenlm.State()
        model.BaseScore(state, word, after)
        state = after
    return state


def _each(function: Callable[[], Any], count: int) -> Callable[[], float]:
    """Microseconds of each of ``count`` hypotheses, the best of some calls."""

    def measured() -> float:
        times = []
        for _ in range(_CALLS):
            begin = time.perf_counter()
            function()
            times.append(time.perf_counter() - begin)
        return 1e6 * min(times) / count

    return measured


def _agree(mine: Any, theirs: list[float]) -> None:
    worst = float(np.abs(mine - np.array(theirs) * np.log(10)).max())
    if worst > 1e-4:
        raise BenchmarkError(f"log-probabilities differ by up to {worst:.2g}")
