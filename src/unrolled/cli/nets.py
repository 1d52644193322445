"""``unrolled train net``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.outputs import check_model_output, check_output, checkpoint_path
from unrolled.cli.settings_options import with_settings
from unrolled.neural.config import NetConfig, TrainingConfig
from unrolled.settings import check_settings, divide, setting
from unrolled.text.options import TextOptions, VocabularyLimits


@dataclass(frozen=True)
class NetRun:
    """What is done beside training; it does not change the net."""

    checkpoint: str = setting(
        "", "File that training's state is saved in.", group="Run",
        shown_default="OUTPUT.checkpoint",
    )  # fmt: skip
    monitor: bool = setting(
        False, "Watch the gradients, and record them in OUTPUT.gradients.jsonl."
    )
    monitor_every: int = setting(50, "Steps between two records of the gradients.", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self)


KINDS = (NetConfig, TrainingConfig, TextOptions, VocabularyLimits, NetRun)


@with_settings("net", KINDS, ("cell", "hidden", "layers", "epochs", "batch", "rate", "dropout"))
def net(
    texts: shared.Texts,
    output: shared.Output,
    settings: dict[str, Any],
    valid: Annotated[
        str | None,
        typer.Option(
            help="Validation text: chooses the best epoch; schedules may use it.",
            show_default=False,
        ),
    ] = None,
    resume: shared.Resume = False,
    device: shared.Device = "auto",
    threads: shared.Threads = 2,
) -> None:
    """Train a neural language model (extra `neural`).

    Examples:

        unrolled train net train.txt --valid valid.txt -o lstm.safetensors

        unrolled train net train.txt --valid valid.txt -o rnn.safetensors --cell elman
        --hidden 200 --set clip_value=15

        unrolled train net train.txt --valid valid.txt -o lstm.safetensors --resume

        unrolled train net train.txt -o rnn.safetensors --cell elman --set monitor=true

        torchrun --nproc-per-node 2 -m unrolled train net train.txt --valid valid.txt
        -o lstm.safetensors
    """
    from unrolled.cli.progress import Stages
    from unrolled.storage.atomic import check_different

    *of_net, of_text, of_vocabulary, of_run = divide(settings, *KINDS)
    limits, run = VocabularyLimits(**of_vocabulary), NetRun(**of_run)
    options = TextOptions(**of_text)
    read = (texts, valid, limits.vocabulary, options.sentencepiece_file)
    check_model_output(output, *read)
    checkpoint = checkpoint_path(run.checkpoint, output, *read)
    record = output.with_name(output.name + ".gradients.jsonl")
    if run.monitor:
        check_output(record, *read)
        check_different(checkpoint, record)
    with Stages() as stages:
        from unrolled.neural.training import train_net
        from unrolled.training.distributed import is_first

        monitor, view = None, None
        if run.monitor:
            from unrolled.gradients.monitor import GradientMonitor
            from unrolled.gradients.monitor_view import MonitorView

            view = MonitorView()
            monitor = partial(GradientMonitor, record=record, every=run.monitor_every, live=view)
        model = train_net(
            texts, valid=valid, options=options, min_count=limits.min_count,
            max_size=limits.vocabulary_size, words=shared.read_words(limits.vocabulary),
            checkpoint=checkpoint, resume=resume, threads=threads, device=device,
            report=view.say if view else stages.stage, monitor=monitor,
            progress=lambda now: (view.title if view else stages.draw_soon)(now.line()),
            **of_net[0], **of_net[1],
        )  # fmt: skip
        if is_first():
            model.provenance["settings"]["vocabulary"] = limits.vocabulary
            model.save(output)
            checkpoint.unlink(missing_ok=True)  # training is complete
