"""``unrolled train tagger``: its options, and what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared
from unrolled.cli.tagging import (
    Comment,
    Encoding,
    Separator,
    TagColumn,
    TagNames,
    WordColumn,
    column_format,
)

_DATA, _NET, _TRAINING = "Data", "Net", "Training"


def _option(help: str, panel: str, min: int | None = None) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, min=min)


Files = Annotated[
    list[str],
    typer.Argument(
        help="Column files, a word and its tag on each line, a blank line after each sentence; "
        "JSON lines, Parquet or spaCy files; folders, or - for standard input.",
        show_default=False,
    ),
]


def tagger(
    files: Files,
    output: shared.Output,
    valid: Annotated[
        str | None,
        typer.Option(
            help="Column file that picks the best epoch.",
            show_default=False,
            rich_help_panel=_DATA,
        ),
    ] = None,
    task: Annotated[
        str,
        _option(
            "tags: the files hold words and tags; punctuation: they are plain text, from which is "
            "learned where punctuation and capitals go.",
            _DATA,
        ),
    ] = "tags",
    word_column: WordColumn = None,
    tag_column: TagColumn = None,
    separator: Separator = None,
    comment: Comment = None,
    tag_names: TagNames = None,
    encoding: Encoding = "utf-8",
    columns: Annotated[
        str, _option("Further columns that are inputs: '0 1', words and tags left out.", _DATA)
    ] = "",
    vectors: Annotated[
        Path | None,
        typer.Option(help="File of word2vec or GloVe to begin with.", rich_help_panel=_NET),
    ] = None,
    freeze_vectors: Annotated[
        bool, typer.Option("--freeze-vectors", help="Leave them as they are.", rich_help_panel=_NET)
    ] = False,
    vector_words: Annotated[
        int, _option("Words of that file that are kept for tagging.", _NET, min=0)
    ] = 200_000,
    language_model: Annotated[
        Path | None,
        typer.Option(
            help="A net of `unrolled train net`: its states are further inputs.",
            rich_help_panel=_NET,
        ),
    ] = None,
    cell: Annotated[str, _option("lstm, gru, elman or irnn.", _NET)] = "lstm",
    nonlinearity: Annotated[str, _option("Of elman: tanh, sigmoid or relu.", _NET)] = "tanh",
    hidden: Annotated[int, _option("Units of a layer in each direction.", _NET, min=1)] = 200,
    layers: Annotated[int, _option("Bidirectional layers.", _NET, min=0)] = 1,
    output_from: Annotated[
        str, _option("What the output reads: last layer, or all.", _NET)
    ] = "last",
    embedding: Annotated[
        int, _option("Width of word vectors; a file brings its own.", _NET, min=1)
    ] = 100,
    case: Annotated[
        str, _option("How words are looked up: exact-then-lower, exact, lower.", _NET)
    ] = "exact-then-lower",
    characters: Annotated[str, _option("cnn, rnn or none.", _NET)] = "cnn",
    character_units: Annotated[
        int, _option("Filters of the CNN, or units of the RNN.", _NET, min=1)
    ] = 30,
    casing_dim: Annotated[
        int, _option("Width of a vector for how a word is written; 0: none.", _NET, min=0)
    ] = 8,
    pooling: Annotated[
        str, _option("max: the output also reads each unit's largest value; none.", _NET)
    ] = "none",
    output_layer: Annotated[str, _option("crf, or softmax: each tag for itself.", _NET)] = "crf",
    scheme: Annotated[
        str, _option("Tags within the model: auto, same, IO, IOB1, BIO, IOBES.", _NET)
    ] = "auto",
    dropout: Annotated[
        str, _option("Shares dropped at input, between layers, at output.", _NET)
    ] = "0.5 0.3 0.5",
    epochs: Annotated[int, _option("Passes over the sentences.", _TRAINING, min=1)] = 30,
    batch: Annotated[int, _option("Sentences of a batch.", _TRAINING, min=1)] = 16,
    optimiser: Annotated[str, _option("adam or sgd.", _TRAINING)] = "adam",
    rate: Annotated[float, _option("Learning rate.", _TRAINING)] = 0.002,
    momentum: Annotated[float, _option("Of SGD.", _TRAINING)] = 0.0,
    weight_decay: Annotated[float, _option("Decay of weights.", _TRAINING)] = 0.0,
    schedule: Annotated[str, _option("cosine, decay or constant.", _TRAINING)] = "cosine",
    patience: Annotated[
        int, _option("Epochs without a gain before it stops; 0: all.", _TRAINING, min=0)
    ] = 0,
    metric: Annotated[
        str, _option("What picks the best epoch: auto, f1, proportional, accuracy.", _TRAINING)
    ] = "auto",
    clip_norm: Annotated[float, _option("Largest gradient norm; 0: any.", _TRAINING)] = 5.0,
    word_dropout: Annotated[
        float, _option("How readily rare words are taken for unknown ones.", _TRAINING)
    ] = 0.25,
    averaging: Annotated[
        float, _option("Epochs that weights are averaged over; 0: none.", _TRAINING)
    ] = 0.0,
    label_weights: Annotated[
        str, _option("Weights of the loss on tags: 'O=0.6 B=1'; softmax only.", _TRAINING)
    ] = "",
    seed: Annotated[int, _option("Of initial values, dropout and order.", _TRAINING)] = 1,
    checkpoint: shared.Checkpoint = None,
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
    from unrolled.cli.models import check_output
    from unrolled.cli.progress import Stages

    check_output(output)
    kept = checkpoint or output.with_name(output.name + ".checkpoint")
    dropped = shared.three_numbers(dropout, "--dropout")
    settings: dict[str, Any] = {
        "cell": cell, "nonlinearity": nonlinearity, "hidden": hidden, "layers": layers,
        "output_from": output_from, "embedding": embedding, "case": case, "characters": characters,
        "character_units": character_units, "casing_dim": casing_dim, "output_layer": output_layer,
        "pooling": pooling,
        "scheme": scheme, "columns": shared.numbers(columns, int, "--columns"),
        "dropout_input": dropped[0], "dropout_layers": dropped[1], "dropout_output": dropped[2],
        "epochs": epochs, "batch": batch, "optimiser": optimiser, "rate": rate,
        "momentum": momentum, "weight_decay": weight_decay, "schedule": schedule,
        "patience": patience, "metric": metric, "clip_norm": clip_norm,
        "word_dropout": word_dropout,
        "averaging": averaging,
        "label_weights": _weights(label_weights), "vectors": str(vectors or ""),
        "language_model": str(language_model or ""),
        "freeze_vectors": freeze_vectors, "vector_words": vector_words, "seed": seed,
    }  # fmt: skip
    layout = column_format(word_column, tag_column, separator, comment=comment, names=tag_names)
    with Stages() as stages:
        from unrolled.tagging.training import train_tagger

        train, held_out = _task_data(task, files, valid, encoding)
        model = train_tagger(
            train, valid=held_out, layout=layout, encoding=encoding, threads=threads, device=device,
            report=stages.stage, progress=lambda now: stages.draw_soon(now.line()),
            checkpoint=kept, resume=resume, **settings,
        )  # fmt: skip
        model.save(output)
        kept.unlink(missing_ok=True)  # it has served its purpose
        stages.stage(f"{output} is written")


def _task_data(task: str, files: list[str], valid: str | None, encoding: str) -> tuple[Any, Any]:
    """What the trainer takes: files of tags as they are, or sentences made from plain text."""
    from unrolled.errors import SettingError

    if task == "tags":
        return files, valid
    if task == "punctuation":
        from unrolled.tagging.punctuation import punctuation_data

        return punctuation_data(files, valid, encoding=encoding)
    raise SettingError(f"the task is '{task}', allowed are tags and punctuation")


def _weights(text: str) -> dict[str, float] | None:
    from unrolled.errors import SettingError

    weights = {}
    for part in text.replace(",", " ").split():
        tag, _, number = part.rpartition("=")
        try:
            weights[tag] = float(number)
        except ValueError:
            tag = ""
        if not tag:
            raise SettingError(f"--label-weights has '{part}', and must be such as 'O=0.6 B=1'")
    return weights or None
