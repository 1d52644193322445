"""Bars: all gradients by lag in at most one and a half training steps; the monitor under 5 %."""

from __future__ import annotations

import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ()
_HIDDEN, _BATCH, _STEPS = 200, 32, 35
_LAGS, _MONITOR = Bar(at_most=1.5), Bar(at_most=1.05)
_PASSES = 15  # of the lags, and steps of training beside them
_MONITORED = 300  # steps of training, so that the monitor looks six times


def run(workspace: Workspace, report: Report) -> None:
    """Elman and LSTM nets of 200 units, 35 steps of 32 texts, the default output and optimiser."""
    try:
        import unrolled.neural  # noqa: F401 (before torch: it settles how torch's threads wait)
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    repeats = workspace.settings.repeats
    for cell in ("elman", "lstm"):
        loop = _new_loop(workspace, cell)
        name = f"{cell} {_HIDDEN}, batch {_BATCH} x {_STEPS}"
        contenders: dict[str, Any] = {
            "lags": lambda t=loop: _seconds_of_lags(t),
            "alone": lambda t=loop: _seconds_of_lags(t, at_hand=True),
            "step": lambda t=loop: _seconds_of_steps(t, _PASSES, None),
        }
        runs = interleave(contenders, repeats)
        bar = _LAGS if cell == "elman" else None  # the bar is set for plain recurrent nets
        label = f"all gradients by lag, {name}"
        report.add(Comparison(label, "s", runs["lags"], runs["step"], "a training step", bar))
        label += ", errors and states at hand"
        report.add(Comparison(label, "s", runs["alone"], runs["step"], "a training step"))
        contenders = {
            "watched": lambda t=loop: _seconds_of_steps(t, _MONITORED, report),
            "plain": lambda t=loop: _seconds_of_steps(t, _MONITORED, None),
        }
        runs = interleave(contenders, repeats)
        label = f"a training step with the monitor, {name}"
        report.add(Comparison(label, "s", runs["watched"], runs["plain"], "without", _MONITOR))


def _new_loop(workspace: Workspace, cell: str) -> Any:
    from unrolled.neural.config import split_settings
    from unrolled.neural.task import LanguageModelTask
    from unrolled.text.corpus import read_corpus
    from unrolled.training.loop import TrainingLoop

    settings = {"cell": cell, "hidden": _HIDDEN, "batch": _BATCH, "bptt": _STEPS}
    corpus = read_corpus(str(workspace.ptb("train")))
    if len(corpus.vocabulary) < 5000:
        raise BenchmarkError("the text is too small for this measure")
    threads = workspace.settings.threads
    task = LanguageModelTask(corpus, None, *split_settings(settings), threads=threads)
    task.net.train()
    return TrainingLoop(task)


def _seconds_of_steps(loop: Any, count: int, report: Report | None) -> float:
    """Mean seconds of a training step; with a report, under the monitor as it is by default."""
    from unrolled.gradients.monitor import GradientMonitor

    batches = list(islice(loop.task.batches(0), count + 3))
    for batch in batches[:3]:
        loop.train_batch(batch)
    with tempfile.TemporaryDirectory() as folder:
        monitor = None
        if report is not None:
            record = Path(folder) / "gradients.jsonl"
            monitor = GradientMonitor(loop.task.net, record=record, clip_norm=1.0)
        loop.monitor = monitor
        begin = time.perf_counter()
        for batch in batches[3:]:
            loop.train_batch(batch)
        seconds = time.perf_counter() - begin
        loop.monitor = None
        if monitor is not None and report is not None and monitor.last is not None:
            monitor.close()
            looks = f"at the end it looked every {monitor.every} steps"
            report.note(
                f"the monitor counted {monitor.last.cost:.1%} of the time as its own; {looks}"
            )
    return seconds / (len(batches) - 3)


def _seconds_of_lags(loop: Any, at_hand: bool = False) -> float:
    """Middle of the seconds of one whole call: forwards, the loss, and all errors by lag.

    With errors and states at hand, as in the middle of training: of the last part only.
    """
    import torch

    from unrolled.gradients.lags import trace_net

    batch = next(loop.task.batches(0))
    words, targets = torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets)
    trace = trace_net(loop.task.net, words, targets)
    seconds = []
    for _ in range(_PASSES + 1):
        begin = time.perf_counter()
        if at_hand:
            trace.lags(highway=False)
        else:
            trace_net(loop.task.net, words, targets).lags(highway=False)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])
