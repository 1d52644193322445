"""Bar: training with the class-factored softmax, against torch's full and adaptive ones."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ()
_HIDDEN, _BATCH, _STEPS, _CLASSES = 200, 64, 35, 100
_BATCHES, _FULL_BATCHES = 25, 4
_FULL, _ADAPTIVE = Bar(at_least=15), Bar(at_least=2)


def run(workspace: Workspace, report: Report) -> None:
    """An Elman net of 200 units, the same text and batches, forward, backward, clip and update."""
    try:
        import unrolled.neural  # noqa: F401 (before torch: it settles how torch's threads wait)
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    import torch

    threads = workspace.settings.threads
    torch.set_num_threads(threads)
    loop = _new_loop(workspace)
    batches = [batch for _, batch in zip(range(_BATCHES + 2), loop.task.batches(0), strict=False)]
    plain = [(batch.inputs, batch.targets) for batch in batches]
    size = len(loop.task.corpus.vocabulary)
    # torch's nets have a process of their own, as its users have: ours tells the C library to keep
    # freed memory, and threads how to wait.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:

        def torchs(kind: str, count: int | None) -> float:
            return apart.submit(_torchs, kind, size, plain[:count], threads).result()

        contenders: dict[str, Any] = {
            "ours": lambda: _ours(loop, batches),
            "full": lambda: torchs("full", _FULL_BATCHES),
            "adaptive": lambda: torchs("adaptive", None),
        }
        runs = interleave(contenders, workspace.settings.repeats)
    name = f"class-factored softmax, Elman {_HIDDEN}, batch {_BATCH} x {_STEPS}"
    report.add(Comparison(name, "tokens/s", runs["ours"], runs["full"], "torch full", _FULL))
    report.add(
        Comparison(name, "tokens/s", runs["ours"], runs["adaptive"], "torch adaptive", _ADAPTIVE)
    )


def _new_loop(workspace: Workspace) -> Any:
    from unrolled.neural.config import split_settings
    from unrolled.neural.task import LanguageModelTask
    from unrolled.text.corpus import read_corpus
    from unrolled.training.loop import TrainingLoop

    settings = {"cell": "elman", "hidden": _HIDDEN, "batch": _BATCH, "bptt": _STEPS,
                "classes": _CLASSES, "classes_by": "sqrt-frequency", "dropout_input": 0.0,
                "dropout_output": 0.0}  # fmt: skip
    corpus = read_corpus(str(workspace.ptb("train")))
    if len(corpus.vocabulary) < 5000:
        raise BenchmarkError("the text is too small for this measure")
    task = LanguageModelTask(corpus, None, *split_settings(settings))
    task.net.train()
    return TrainingLoop(task)


def _ours(loop: Any, batches: list[Any]) -> float:
    for batch in batches[:2]:
        loop.train_batch(batch)
    begin, tokens = time.perf_counter(), 0
    for batch in batches[2:]:
        tokens += loop.train_batch(batch).tokens
    return tokens / (time.perf_counter() - begin)


def _torchs(kind: str, size: int, batches: list[tuple[Any, Any]], threads: int) -> float:
    """The same net in plain torch, with its own optimiser and clipping."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    vectors, body = nn.Embedding(size, _HIDDEN), nn.RNN(_HIDDEN, _HIDDEN)
    head: Any = nn.Linear(_HIDDEN, size)
    if kind == "adaptive":
        head = nn.AdaptiveLogSoftmaxWithLoss(_HIDDEN, size, [2000, 5000], head_bias=True)
    parameters = [*vectors.parameters(), *body.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=0.005, fused=True)
    state = torch.zeros(1, _BATCH, _HIDDEN)
    begin, tokens = 0.0, 0
    for number, (inputs, targets) in enumerate(batches):
        if number == min(2, len(batches) - 2):
            begin, tokens = time.perf_counter(), 0
        h, state = body(vectors(torch.from_numpy(inputs)), state.detach())
        h, words = h.flatten(0, 1), torch.from_numpy(targets).flatten()
        full = kind == "full"
        loss = nn.functional.cross_entropy(head(h), words) if full else head(h, words).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        tokens += inputs.size
    return tokens / (time.perf_counter() - begin)
