"""``unrolled train tagger``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.outputs import check_model_output, checkpoint_path
from unrolled.cli.settings_options import with_settings
from unrolled.cli.tagging import column_format
from unrolled.settings import check_settings, divide, record_of, setting
from unrolled.tagging.config import TaggerConfig, TaggerTraining


@dataclass(frozen=True)
class TaggerData:
    """What the files hold, and how they are laid out."""

    task: str = setting(
        "tags",
        "tags: the files hold words and tags; punctuation: they are plain text, from which the "
        "tagger learns where punctuation and capitals go.",
        group="Data",
        choices=("tags", "punctuation"),
    )
    word_column: str | None = setting(
        None, "Column of words, from 0, or the field of JSON lines.", shown_default="found"
    )
    tag_column: str | None = setting(
        None, "Column of tags, -1: the last; or the field.", shown_default="the last"
    )
    separator: str | None = setting(None, "What separates columns.", shown_default="found")
    comment: str | None = setting(None, "Prefix of lines to leave out.", shown_default="found")
    tag_names: str | None = setting(
        None, "Names of tags that are numbers: 'O B-PER I-PER', or a file."
    )
    encoding: str = setting("utf-8", "Encoding of the files.")
    checkpoint: str = setting(
        "", "File that training's state is saved in.", shown_default="OUTPUT.checkpoint"
    )

    def __post_init__(self) -> None:
        check_settings(self)


KINDS = (TaggerConfig, TaggerTraining, TaggerData)

Files = Annotated[
    list[str],
    typer.Argument(
        help="Column files, a word and its tag on each line, a blank line after each sentence; "
        "folders, or - for standard input.",
        show_default=False,
    ),
]


@with_settings(
    "tagger", KINDS, ("task", "vectors", "hidden", "layers", "epochs", "rate", "dropout")
)
def tagger(
    files: Files,
    output: shared.Output,
    settings: dict[str, Any],
    valid: Annotated[
        str | None,
        typer.Option(
            help="Validation data, by which the best epoch is chosen.", show_default=False
        ),
    ] = None,
    resume: shared.Resume = False,
    device: shared.Device = "auto",
    threads: shared.Threads = 2,
) -> None:
    """Train a tagger: names, opinions, sentiment, parts of speech ... (extra `neural`).

    Examples:

        unrolled train tagger train.txt --valid dev.txt -o names.safetensors
        --vectors glove.6B.100d.txt

        unrolled train tagger book.txt --task punctuation -o punctuation.safetensors
    """
    from unrolled.cli.progress import Stages

    of_tagger, of_training, of_data = divide(settings, *KINDS)
    data = TaggerData(**of_data)
    trained_on = (of_training.get(name) for name in ("vectors", "language_model"))
    read = (files, valid, data.tag_names, *trained_on)
    check_model_output(output, *read)
    layout = column_format(
        data.word_column, data.tag_column, data.separator, comment=data.comment,
        names=data.tag_names,
    )  # fmt: skip
    checkpoint = checkpoint_path(data.checkpoint, output, *read)
    with Stages() as stages:
        from unrolled.tagging.training import train_tagger

        train, held_out = _task_data(data, files, valid)
        model = train_tagger(
            train, valid=held_out, layout=layout, encoding=data.encoding, threads=threads,
            device=device, report=stages.stage,
            progress=lambda now: stages.draw_soon(now.line()), checkpoint=checkpoint, resume=resume,
            **of_tagger, **of_training,
        )  # fmt: skip
        model.provenance["settings"] |= record_of(data)
        model.provenance["run"] |= {"texts": files, "valid": [valid] if valid else []}
        model.save(output)
        checkpoint.unlink(missing_ok=True)  # training is complete
        stages.stage(f"{output} is written")


def _task_data(data: TaggerData, files: list[str], valid: str | None) -> tuple[Any, Any]:
    """What the trainer takes: files of tags as they are, or sentences made from plain text."""
    if data.task == "tags":
        return files, valid
    from unrolled.tagging.punctuation import punctuation_data

    return punctuation_data(files, valid, encoding=data.encoding)
