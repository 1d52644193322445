"""`train_tagger`: from tagged sentences to a tagger."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.runtime.threads import return_memory
from unrolled.tagging.config import split_settings
from unrolled.tagging.data.column_reader import ColumnFormat
from unrolled.tagging.data.columns import TaggedSentence, all_columns, read_rows
from unrolled.tagging.neural_tagger import NeuralTagger
from unrolled.tagging.task import TaggerTask
from unrolled.text.options import training_record
from unrolled.training.devices import computing_on, device_of
from unrolled.training.loop import TrainingLoop
from unrolled.training.records import Progress

if TYPE_CHECKING:
    import torch

    from unrolled.text.sources import Sources

__all__ = ["train_tagger"]


def train_tagger(
    train: Sources | Sequence[TaggedSentence],
    *,
    valid: Sources | Sequence[TaggedSentence] | None = None,
    layout: ColumnFormat | None = None,
    encoding: str = "utf-8",
    checkpoint: str | Path | None = None,
    checkpoint_minutes: float = 5.0,
    resume: bool = False,
    threads: int = 2,
    device: str | torch.device = "auto",
    report: Callable[[str], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **settings: Any,
) -> NeuralTagger:
    """Train a tagger; by default a bidirectional LSTM over words and characters under a CRF.

    Args:
        train: column files, folders, ``-``, sentences, or rows as `read_rows` takes them.
        valid: the same, to choose the best epoch by; without it the last epoch is the result.
        layout: how column files are laid out. encoding: theirs.
        checkpoint: file to write every ``checkpoint_minutes`` and after each epoch.
        resume: continue from ``checkpoint`` if it is there: on the CPU to the same weights, bit
            for bit, as without the interruption.
        threads: for the net's arithmetic.
        device: where that is done, and where the tagger then tags: ``auto``, a GPU if there is one;
            ``cpu``; or ``cuda``, where a seed gives nearly, but not just, the same tagger again.
        report: called with a line at each stage and epoch. progress: called about every
            second.
        **settings: those of `TaggerConfig` and `TaggerTraining`.

    Raises:
        TextError: a file that cannot be read or is broken, no sentences, or no tags.
        SettingError: a setting that is unknown or not allowed, or no GPU.
        UnrolledError: training diverges.

    >>> one = TaggedSentence(("Ann", "ran"), ("B-PER", "O"))
    >>> other = TaggedSentence(("we", "ran"), ("O", "O"))
    >>> tagger = train_tagger([one, other], hidden=8, embedding=8, epochs=30, dropout_input=0.0,
    ...                       dropout_output=0.0, rate=0.02, batch=2, word_dropout=0.0, warmup=0)
    >>> tagger.predict([["Ann", "ran"]])
    [['B-PER', 'O']]
    """
    config, training = split_settings(settings)
    where = device_of(device)
    say = report or (lambda line: None)
    say("reading sentences")
    sentences = sentences_of(train, layout, encoding)
    held_out = sentences_of(valid, layout, encoding) if valid is not None else []
    task = TaggerTask(sentences, held_out, config, training, threads=threads, device=where)
    for line in (task.vectors_line, computing_on(where)):
        if line:
            say(line)
    loop = TrainingLoop(task)
    if checkpoint is not None:
        loop.enable_checkpoints(Path(checkpoint), checkpoint_minutes, resume)
    loop.run(report=say, progress=progress)
    tagger = task.finished(loop.curve)
    tagger.provenance |= training_record(
        config, training, texts=train, valid=valid, threads=threads
    )
    del loop, task
    return_memory()  # of word vectors, gradients and averages
    return tagger


def sentences_of(
    given: Sources | Sequence[TaggedSentence], layout: ColumnFormat | None, encoding: str
) -> list[TaggedSentence]:
    """Sentences as they are given, or of files.

    Raises:
        TextError: a file that cannot be read or is broken, or no sentences in files.
    """
    if not isinstance(given, (str, os.PathLike)):
        items = list(given)
        if all(isinstance(item, TaggedSentence) for item in items):
            return items  # type: ignore[return-value]
        if all(isinstance(item, Mapping) for item in items):
            return read_rows(given)  # type: ignore[arg-type]
    return all_columns(given, layout, encoding=encoding)  # type: ignore[arg-type]
