"""Bar: a net of 100 units on sequences of 784 numbers, an epoch in a minute and thrice as fast as
torch's own layers on the same batch.

An epoch is of 60,000 sequences, as MNIST has. A part of it is measured, forwards and backwards,
and scaled up: every batch is the same work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.measure import Bar, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ()
_STEPS, _HIDDEN, _SEQUENCES = 784, 100, 60_000
_PART = 256  # sequences of a measurement
_EPOCH, _RATIO = Bar(at_most=60), Bar(at_most=1 / 3)


def run(workspace: Workspace, report: Report) -> None:
    """IRNN at two sizes of the batch, LSTM and GRU: seconds of an epoch, and those of torch."""
    try:
        import unrolled.neural  # noqa: F401 (before torch: it settles how torch's threads wait)
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    from unrolled.training.task import prepare

    prepare(1, workspace.settings.threads)
    report.note(f"measured on {_PART} sequences and multiplied by {_SEQUENCES / _PART:g}")
    for kind, batch in (("irnn", 64), ("irnn", 128), ("lstm", 64), ("gru", 64)):
        contenders = {"ours": _ours(kind, batch), "torch": _torchs(kind, batch)}
        for seconds in contenders.values():
            seconds()  # compiles kernels, and maps memory
        runs = interleave(contenders, workspace.settings.repeats)
        name = f"an epoch of {kind} {_HIDDEN}, {_STEPS} steps, batch {batch}"
        bar = _RATIO if kind == "irnn" else None  # the bar is set for plain recurrent nets
        report.add(Comparison(name, "s", runs["ours"], runs["torch"], "torch", bar))
        if kind == "irnn":
            report.add(Comparison(f"{name}, alone", "s", runs["ours"], bar=_EPOCH))


def _ours(kind: str, batch: int) -> Callable[[], float]:
    """Seconds of an epoch by `Cell.run_fused`."""
    from unrolled.neural.cells import Cell

    cell = Cell(kind, 1, _HIDDEN)
    return _seconds(lambda x, state: cell.run_fused(x, (state,) * cell.states)[1][0], batch)


def _torchs(kind: str, batch: int) -> Callable[[], float]:
    """Seconds of an epoch by torch's layer of the same sizes and weights of the same scale."""
    import torch
    from torch import nn

    layers = {"lstm": nn.LSTM, "gru": nn.GRU}
    if kind in layers:
        layer: Any = layers[kind](1, _HIDDEN)
    else:
        layer = nn.RNN(1, _HIDDEN, nonlinearity="relu")
        with torch.no_grad():
            layer.weight_hh_l0.copy_(torch.eye(_HIDDEN))
    return _seconds(lambda x, state: layer(x)[0][-1], batch)


def _seconds(last_state: Callable[[Any, Any], Any], batch: int) -> Callable[[], float]:
    import torch

    x, state = torch.rand(_STEPS, batch, 1), torch.zeros(batch, _HIDDEN)

    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(_PART // batch):
            last_state(x, state).sum().backward()
        return (time.perf_counter() - begin) * _SEQUENCES / _PART

    return measure
