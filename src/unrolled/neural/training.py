"""`train_net`: from text to a net that can be queried."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.neural.config import split_settings
from unrolled.neural.model import NeuralModel
from unrolled.neural.task import LanguageModelTask
from unrolled.runtime.threads import return_memory
from unrolled.text.corpus import read_corpus
from unrolled.text.options import TextOptions, VocabularyLimits, training_record
from unrolled.training.devices import computing_on
from unrolled.training.distributed import join, leave, refuse_standard_input
from unrolled.training.loop import TrainingLoop
from unrolled.training.records import Progress
from unrolled.training.task import Monitor

if TYPE_CHECKING:
    import torch

    from unrolled.text.sources import Sources


def train_net(
    sources: Sources,
    *,
    valid: Sources | None = None,
    options: TextOptions | None = None,
    vocabulary: Any = None,
    min_count: int = 0,
    max_size: int | None = None,
    words: Iterable[str] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
    resume: bool = False,
    threads: int = 2,
    device: str | torch.device = "auto",
    report: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    monitor: Callable[..., Monitor] | None = None,
    **settings: Any,
) -> NeuralModel:
    """Train a neural language model; a tied LSTM of 256 units by default, its output by classes.

    Under torchrun all processes call this with the same arguments and get the same model; each
    trains on its share of every batch, and the first one validates, reports and writes.

    Args:
        sources: files, folders or "-".
        valid: a text to choose the best epoch by, and to adapt the rate; without one the last
            epoch is the result.
        options: how text becomes tokens; the model keeps them for later texts.
        vocabulary, min_count, max_size, words: limits of the vocabulary, see `read_corpus`.
        checkpoint: file to write every ``checkpoint_minutes`` and after each epoch.
        resume: continue from ``checkpoint`` if it is there: on the CPU to the same weights, bit
            for bit, as without the interruption.
        threads: for reading and for the nets' arithmetic, of all processes on this machine.
        device: where that is done: ``auto``, a GPU if there is one; ``cpu``; or ``cuda``.
        report: called with a line at each stage and epoch. progress: called about every second.
        monitor: watches the gradients: `GradientMonitor`, perhaps with settings of its own, as in
            ``partial(GradientMonitor, record="gradients.jsonl")``. It is called with the net and
            ``clip_norm``, ``step`` and ``append``; under torchrun in the first process only.
        **settings: those of `NetConfig` and `TrainingConfig`.

    Raises:
        TextError: a text that cannot be read or is too short. SettingError: a setting that is
            unknown or not allowed. UnrolledError: training diverges, or another process of the
            group has ended.
    """
    net_config, training_config = split_settings(settings)
    group = join(device)
    threads = group.threads(threads)
    if not group.first:
        report = progress = monitor = None
    if group.size > 1:
        refuse_standard_input(sources)
    say = report or (lambda line: None)
    say("reading text")
    corpus = read_corpus(
        sources, options=options, vocabulary=vocabulary, min_count=min_count, max_size=max_size,
        words=words, threads=threads,
    )  # fmt: skip
    held_out = None
    if valid is not None:
        held_out = read_corpus(
            valid, options=options, vocabulary=corpus.vocabulary, threads=threads
        )
    task = LanguageModelTask(
        corpus, held_out, net_config, training_config, options=options, threads=threads,
        group=group,
    )  # fmt: skip
    for line in (task.vectors_line, computing_on(group.device)):
        if line:
            say(line)
    loop = TrainingLoop(task, group)
    if checkpoint is not None:
        loop.enable_checkpoints(Path(checkpoint), checkpoint_minutes, resume)
    if monitor is not None:
        clip_norm = training_config.clip_norm
        loop.monitor = monitor(task.net, clip_norm=clip_norm, step=loop.step, append=resume)
    loop.run(report=say, progress=progress)
    leave(group)
    model = task.model(loop.curve)
    limits = VocabularyLimits(min_count, max_size)
    model.provenance |= training_record(
        net_config, training_config, options or TextOptions(), limits, texts=sources, valid=valid,
        threads=threads,
    )  # fmt: skip
    del loop, task
    return_memory()  # of gradients and averages, hundreds of MB for many words
    return model
