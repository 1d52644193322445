"""`train_net`: from text to a net that can be queried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.neural.config import Tick, split_settings
from unrolled.neural.model import NeuralModel
from unrolled.neural.trainer import Trainer
from unrolled.text.corpus import TextOptions, read_corpus
from unrolled.training.distributed import join, leave, refuse_standard_input

if TYPE_CHECKING:
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
    report: Callable[[str], None] | None = None,
    tick: Callable[[Tick], None] | None = None,
    monitor: dict[str, Any] | None = None,
    **settings: Any,
) -> NeuralModel:
    """Train a neural language model; a tied LSTM of 256 units with 100 classes by default.

    Under torchrun all processes call this with the same arguments and get the same model; each
    trains on its share of every batch, and the first one validates, reports and writes.

    Args:
        sources: files, folders or "-".
        valid: a text to choose the best epoch by, and to steer the rate; without one the last
            epoch is kept.
        options: how text becomes tokens; the model keeps them for later texts.
        vocabulary, min_count, max_size, words: limits of the vocabulary, see `read_corpus`.
        checkpoint: file to write every ``checkpoint_minutes`` and after each epoch.
        resume: go on from ``checkpoint`` if it is there: on the CPU to the same weights, bit for
            bit, as without the break.
        threads: for reading and for the nets' arithmetic, of all processes on this machine.
        report: called with a line at each stage and epoch.
        tick: called about every second.
        monitor: watch the gradients: what `GradientMonitor` is to be made with, such as
            ``{"record": "gradients.jsonl"}``; the first process's own gradients under torchrun.
        **settings: those of `NetConfig` and `TrainingConfig`.

    Raises:
        TextError: a text that cannot be read or is too short. SettingError: a setting that is
            unknown or not allowed. UnrolledError: the loss is no longer a number, or another
            process of the group has ended.
    """
    net_config, training_config = split_settings(settings)
    group = join()
    threads = group.threads(threads)
    if not group.first:
        report = tick = None
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
    trainer = Trainer(
        corpus, held_out, net_config, training_config, options=options, threads=threads,
        group=group,
    )  # fmt: skip
    if trainer.vectors_line:
        say(trainer.vectors_line)
    if checkpoint is not None:
        trainer.keep(Path(checkpoint), checkpoint_minutes, resume)
    with watched(trainer, monitor if group.first else None, append=resume):
        model = trainer.run(report=say, tick=tick)
    leave(group)
    return model


@contextmanager
def watched(trainer: Trainer, settings: dict[str, Any] | None, *, append: bool) -> Iterator[None]:
    """Hang a monitor of these settings, or none, on a trainer."""
    if settings is None:
        yield
        return
    from unrolled.gradients.monitor import GradientMonitor

    own = {"clip_norm": trainer.config.clip_norm, "step": trainer.step, "append": append}
    with GradientMonitor(trainer.net, **{**own, **settings}) as monitor:
        trainer.monitor = monitor
        yield
