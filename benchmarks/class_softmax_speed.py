"""Bar: training with the class-factored softmax, against torch's full and adaptive ones."""

from __future__ import annotations

import time
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

    torch.set_num_threads(workspace.settings.threads)
    loop = _new_loop(workspace)
    batches = [batch for _, batch in zip(range(_BATCHES + 2), loop.task.batches(0), strict=False)]
    contenders: dict[str, Any] = {
        "ours": lambda: _ours(loop, batches),
        "full": lambda: _torchs(_full(loop), loop, batches[:_FULL_BATCHES]),
        "adaptive": lambda: _torchs(_adaptive(loop), loop, batches),
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


def _full(loop: Any) -> Any:
    from torch import nn

    size = len(loop.task.corpus.vocabulary)
    head = nn.Linear(_HIDDEN, size)
    return head, lambda h, targets: nn.functional.cross_entropy(head(h), targets)


def _adaptive(loop: Any) -> Any:
    from torch import nn

    head = nn.AdaptiveLogSoftmaxWithLoss(
        _HIDDEN, len(loop.task.corpus.vocabulary), [2000, 5000], head_bias=True
    )
    return head, lambda h, targets: head(h, targets).loss


def _torchs(head_and_loss: Any, loop: Any, batches: list[Any]) -> float:
    """The same net in plain torch, with its own optimiser and clipping."""
    import torch
    from torch import nn

    head, loss_of = head_and_loss
    vectors = nn.Embedding(len(loop.task.corpus.vocabulary), _HIDDEN)
    body = nn.RNN(_HIDDEN, _HIDDEN)
    parameters = [*vectors.parameters(), *body.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=0.005, fused=True)
    state = torch.zeros(1, _BATCH, _HIDDEN)
    begin, tokens = 0.0, 0
    for number, batch in enumerate(batches):
        if number == min(2, len(batches) - 2):
            begin, tokens = time.perf_counter(), 0
        h, state = body(vectors(torch.from_numpy(batch.inputs)), state.detach())
        loss = loss_of(h.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        tokens += batch.inputs.size
    return tokens / (time.perf_counter() - begin)
