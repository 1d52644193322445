"""Bars: taggers' training beside plain PyTorch, and how fast they tag."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, interleave
from benchmarks.workspace import Workspace

NEEDS = ()
_HIDDEN, _EMBEDDING, _BATCH, _DROPOUT = 200, 100, 16, 0.5
_STEPS, _WARM = 60, 3
_SINGLE = 300  # sentences that are tagged one by one
_TRAINING, _TAGGING, _SMALL, _LATENCY = (
    Bar(at_least=2), Bar(at_least=20_000), Bar(at_least=100_000), Bar(at_most=5),
)  # fmt: skip
# Three layers of an Elman net as Irsoy and Cardie's, 24 thousand parameters with these vectors.
_SMALL_SETTINGS = {
    "cell": "elman", "nonlinearity": "relu", "hidden": 35, "layers": 3, "embedding": 100,
    "characters": "none", "casing_dim": 0, "output_layer": "softmax",
}  # fmt: skip


def run(workspace: Workspace, report: Report) -> None:
    """CoNLL-2003: the same batches to both; untrained taggers tag as fast as trained ones."""
    try:
        import unrolled.neural  # noqa: F401 (before torch: it settles how torch's threads wait)
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    folder = workspace.settings.conll2003
    if folder is None:
        report.note("skipped: no CoNLL-2003, name its folder (eng.train ...) with --conll2003")
        return
    import torch

    from unrolled.tagging.data.folds import read_conll2003

    torch.set_num_threads(workspace.settings.threads)
    data = read_conll2003(folder)
    _training(data.train, workspace, report)
    _tagging("CoNLL-2003, characters and CRF", {}, data, workspace, report, _TAGGING)
    _tagging("24 thousand parameters", _SMALL_SETTINGS, data, workspace, report, _SMALL)


def _training(train: Any, workspace: Workspace, report: Report) -> None:
    batches = _batches(train)
    loop = _new_loop(
        train, workspace, hidden=_HIDDEN, embedding=_EMBEDDING, batch=_BATCH, characters="none",
        casing_dim=0, dropout_input=_DROPOUT, dropout_output=_DROPOUT,
    )  # fmt: skip
    plain = _plain(train, loop)
    runs = interleave(
        {
            "ours": lambda: _speed(lambda batch: _our_step(loop, batch), batches),
            "plain": lambda: _speed(plain.step, batches),
        },
        workspace.settings.repeats,
    )
    name = f"training a BiLSTM-CRF of {_HIDDEN}, batch {_BATCH}"
    report.add(
        Comparison(name, "tokens/s", runs["ours"], runs["plain"], "plain PyTorch", _TRAINING)
    )
    report.details["numbers trained"] = {
        "ours": loop.task.tagger.parameters,
        "plain": sum(parameter.numel() for parameter in plain.model.parameters()),
    }


def _batches(train: Any) -> list[Any]:
    """Batches of sentences of like lengths, as our loop makes them: little padding for both."""
    import numpy as np

    from unrolled.tagging.data.batches import shuffled

    lengths = np.array([len(sentence.words) for sentence in train])
    drawn = list(shuffled(lengths, _BATCH, np.random.default_rng(1)))
    if len(drawn) < _STEPS + _WARM:
        raise BenchmarkError("the data are too small for this measure")
    return drawn[: _STEPS + _WARM]


def _new_loop(train: Any, workspace: Workspace, **settings: Any) -> Any:
    from unrolled.tagging.config import split_settings
    from unrolled.tagging.task import TaggerTask
    from unrolled.training.loop import TrainingLoop

    config, training = split_settings(settings)
    task = TaggerTask(train, [], config, training, threads=workspace.settings.threads)
    task.tagger.net.train()
    return TrainingLoop(task)


def _our_step(loop: Any, batch: Any) -> int:
    unknown = loop.task.draw_unknown(batch)
    return int(loop.train_batch((batch, unknown)).tokens)


def _plain(train: Any, loop: Any) -> Any:
    """The plain tagger of the same size, with the same words and tags."""
    import torch

    from benchmarks.plain_tagger import PlainTagger, PlainTraining

    lexicon, data = loop.task.tagger.lexicon, loop.task._data
    words = [torch.from_numpy(lexicon.ids(sentence.words)).long() for sentence in train]
    bounds = [int(offset) for offset in data.offsets[1:-1]]
    tags = list(torch.tensor_split(torch.from_numpy(data.tags).long(), bounds))
    size = len(loop.task.tagger.vectors.trained)
    model = PlainTagger(size, len(loop.task.tagger.tags), _EMBEDDING, _HIDDEN, _DROPOUT)
    return PlainTraining(model, words, tags)


def _speed(step: Any, batches: list[Any]) -> float:
    for batch in batches[:_WARM]:
        step(batch)
    begin, tokens = time.perf_counter(), 0
    for batch in batches[_WARM:]:
        tokens += step(batch)
    return tokens / (time.perf_counter() - begin)


def _tagging(
    name: str, settings: dict[str, Any], data: Any, workspace: Workspace, report: Report, bar: Bar
) -> None:
    tagger = _new_loop(data.train, workspace, **settings).task.tagger
    tagger.net.eval()
    sentences = [sentence.words for sentence in data.test]
    tokens = sum(map(len, sentences))
    tagger.predict(sentences[:200])  # kernels are compiled
    speeds, known, singles = [], [], []
    for _ in range(workspace.settings.repeats):
        tagger.forget()  # inputs of words cached by the last run
        speeds.append(tokens / _seconds(lambda: tagger.predict(sentences)))
        known.append(tokens / _seconds(lambda: tagger.predict(sentences)))
        tagger.forget()
        singles.append(
            [1000 * _seconds(lambda s=s: tagger.predict([s])) for s in sentences[:_SINGLE]]
        )
    size = sum(parameter.numel() for parameter in tagger.net.parameters())
    report.add(Comparison(f"tagging, {name}, batches", "tokens/s", speeds, bar=bar))
    report.add(
        Comparison(
            f"tagging, {name}, one sentence (median)", "ms",
            [statistics.median(run) for run in singles], bar=_LATENCY,
        )
    )  # fmt: skip
    report.details[name] = {
        "parameters without word vectors": size,
        "tokens/s once all words were seen": known,
        "slowest of one sentence, ms": [max(run) for run in singles],
        "99 in 100 sentences are faster than, ms": [
            statistics.quantiles(run, n=100)[-1] for run in singles
        ],
    }


def _seconds(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
