"""``unrolled train net``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli import options as shared

_NET, _TRAINING = "Net", "Training"


def _option(help: str, panel: str, min: int | None = None) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, min=min)


def net(
    texts: shared.Texts,
    output: shared.Output,
    valid: Annotated[
        str | None,
        typer.Option(
            help="Text that picks the best epoch and steers the rate.", show_default=False
        ),
    ] = None,
    cell: Annotated[
        str, _option("lstm, gru, elman, irnn (identity start, ReLU) or feed-forward.", _NET)
    ] = "lstm",
    nonlinearity: Annotated[
        str, _option("Of elman and feed-forward: tanh, sigmoid, relu or linear.", _NET)
    ] = "tanh",
    hidden: Annotated[int, _option("Units of a layer.", _NET, min=1)] = 256,
    layers: Annotated[int, _option("Recurrent layers.", _NET, min=1)] = 1,
    embedding: Annotated[int, _option("Width of word vectors; 0: as hidden.", _NET, min=0)] = 0,
    vectors: Annotated[
        Path | None,
        typer.Option(help="File of word2vec or GloVe to begin with.", rich_help_panel=_NET),
    ] = None,
    freeze_vectors: Annotated[
        bool, typer.Option("--freeze-vectors", help="Leave them as they are.", rich_help_panel=_NET)
    ] = False,
    tied: Annotated[bool, _option("Input and output share their vectors.", _NET)] = True,
    residual: Annotated[bool, _option("Add a layer's input to its output.", _NET)] = False,
    order: Annotated[int, _option("n of a feed-forward net.", _NET, min=2)] = 5,
    output_layer: Annotated[
        str,
        _option("classes (fast), full, adaptive; full trained on samples: sampled, nce.", _NET),
    ] = "classes",
    samples: Annotated[int, _option("Words sampled for a batch.", _NET, min=1)] = 1024,
    maxent_size: Annotated[
        int, _option("Entries of a table of n-gram features beside the net; 0: none.", _NET, min=0)
    ] = 0,
    maxent_order: Annotated[int, _option("Longest of these n-grams.", _NET, min=1)] = 3,
    classes: Annotated[int, _option("How many classes of words.", _NET, min=1)] = 100,
    classes_by: Annotated[
        str, _option("frequency, sqrt-frequency or bigrams (Brown-style).", _NET)
    ] = "bigrams",
    dropout: Annotated[
        str, _option("Shares dropped at input, between layers, at output.", _NET)
    ] = "0.2 0.2 0.4",
    dropout_words: Annotated[
        float, _option("Share of the vocabulary dropped at the input.", _NET)
    ] = 0.0,
    dropout_recurrent: Annotated[float, _option("Share of recurrent weights dropped.", _NET)] = 0.0,
    learn_initial_state: Annotated[bool, _option("Learn the first state.", _NET)] = False,
    forget_bias: Annotated[float, _option("First bias of an LSTM's forget gate.", _NET)] = 1.0,
    recurrent_init: Annotated[
        str,
        _option("Recurrent weights to begin with: identity, orthogonal, radius or sparse.", _NET),
    ] = "",
    recurrent_init_scale: Annotated[float, _option("What these are multiplied by.", _NET)] = 1.0,
    reset_state_per_sentence: Annotated[
        bool, _option("Begin each sentence anew instead of carrying the state on.", _NET)
    ] = False,
    epochs: Annotated[int, _option("Passes over the text, at most.", _TRAINING, min=1)] = 10,
    batch: Annotated[int, _option("Parts of the text side by side.", _TRAINING, min=1)] = 64,
    bptt: Annotated[
        int,
        _option("Steps that errors flow back; 1 is plain backpropagation.", _TRAINING, min=1),
    ] = 35,
    optimiser: Annotated[str, _option("adam, sgd or asgd (averaged).", _TRAINING)] = "adam",
    rate: Annotated[
        float | None, _option("Learning rate; by default what the cell wants.", _TRAINING)
    ] = None,
    recurrent_lr_scale: Annotated[
        float | None, _option("That of recurrent weights, times the rate.", _TRAINING)
    ] = None,
    maxent_lr: Annotated[float, _option("Of the n-gram features.", _TRAINING)] = 0.2,
    momentum: Annotated[float, _option("Of SGD.", _TRAINING)] = 0.0,
    weight_decay: Annotated[float, _option("Decay of weights.", _TRAINING)] = 0.0,
    schedule: Annotated[
        str, _option("cosine, halving (Mikolov's) or constant.", _TRAINING)
    ] = "cosine",
    warmup: Annotated[int, _option("Steps of rising rate.", _TRAINING, min=0)] = 50,
    patience: Annotated[
        int, _option("Epochs without a gain before it stops; 0: all.", _TRAINING, min=0)
    ] = 0,
    clip_norm: Annotated[float, _option("Largest gradient norm; 0: any.", _TRAINING)] = 1.0,
    clip_value: Annotated[float, _option("Largest gradient element; 0: any.", _TRAINING)] = 0.0,
    accumulate: Annotated[int, _option("Batches for one step.", _TRAINING, min=1)] = 1,
    seed: Annotated[int, _option("Of initial values and dropout.", _TRAINING)] = 1,
    precision: Annotated[
        str, _option("auto (bfloat16 where a GPU gains), float32, bfloat16.", _TRAINING)
    ] = "auto",
    checkpoint: shared.Checkpoint = None,
    resume: shared.Resume = False,
    monitor: Annotated[
        bool,
        typer.Option(
            "--monitor", help="Watch the gradients, and record them in OUTPUT.gradients.jsonl."
        ),
    ] = False,
    monitor_every: Annotated[int, typer.Option(help="Steps between looks.", min=1)] = 50,
    min_count: shared.MinCount = 0,
    vocabulary_size: shared.VocabularySize = None,
    vocabulary: shared.Vocabulary = None,
    tokens: shared.Tokens = "word",
    lower: shared.Lower = False,
    invalid: shared.Invalid = "error",
    specials: shared.Specials = "unknown",
    field: shared.Field = None,
    device: shared.Device = "auto",
    threads: shared.Threads = 2,
) -> None:
    """Train a neural language model (extra `neural`).

    Examples:

        unrolled train net train.txt --valid valid.txt -o lstm.safetensors

        unrolled train net train.txt --valid valid.txt -o rnn.safetensors --cell elman
        --hidden 200 --clip-value 15

        unrolled train net train.txt --valid valid.txt -o lstm.safetensors --resume

        unrolled train net train.txt -o rnn.safetensors --cell elman --monitor

        torchrun --nproc-per-node 2 -m unrolled train net train.txt --valid valid.txt
        -o lstm.safetensors
    """
    from unrolled.cli.models import check_output
    from unrolled.cli.progress import Stages

    check_output(output)
    kept = checkpoint or output.with_name(output.name + ".checkpoint")
    dropped = shared.three_numbers(dropout, "--dropout")
    options = shared.text_options(
        tokens=tokens, lower=lower, invalid=invalid, specials=specials, field=field
    )
    with Stages() as stages:
        from unrolled.neural.training import train_net
        from unrolled.training.distributed import is_first

        watch, view = None, None
        if monitor:
            from unrolled.gradients.monitor import GradientMonitor
            from unrolled.gradients.monitor_view import MonitorView

            view = MonitorView()
            record = output.with_name(output.name + ".gradients.jsonl")
            watch = partial(GradientMonitor, record=record, every=monitor_every, live=view)
        model = train_net(
            texts, valid=valid, options=options, min_count=min_count, max_size=vocabulary_size,
            words=shared.read_words(vocabulary), checkpoint=kept, resume=resume, threads=threads,
            report=view.say if view else stages.stage, monitor=watch,
            progress=lambda now: (view.title if view else stages.draw_soon)(now.line()),
            device=device,
            cell=cell, nonlinearity=nonlinearity, hidden=hidden, layers=layers,
            embedding=embedding, tied=tied, residual=residual, order=order,
            output_layer=output_layer,
            samples=samples, maxent_size=maxent_size, maxent_order=maxent_order,
            maxent_lr=maxent_lr,
            recurrent_lr_scale=recurrent_lr_scale,
            classes=classes, classes_by=classes_by, dropout_input=dropped[0],
            dropout_layers=dropped[1], dropout_output=dropped[2], dropout_words=dropout_words,
            dropout_recurrent=dropout_recurrent,
            learn_initial_state=learn_initial_state, forget_bias=forget_bias,
            reset_state_per_sentence=reset_state_per_sentence,
            recurrent_init=recurrent_init, recurrent_init_scale=recurrent_init_scale,
            epochs=epochs, batch=batch, bptt=bptt, optimiser=optimiser, rate=rate,
            momentum=momentum, weight_decay=weight_decay, schedule=schedule, warmup=warmup,
            patience=patience, clip_norm=clip_norm, clip_value=clip_value,
            accumulate=accumulate, seed=seed, precision=precision, vectors=str(vectors or ""),
            freeze_vectors=freeze_vectors,
        )  # fmt: skip
        if is_first():
            model.save(output)
            kept.unlink(missing_ok=True)  # it has served its purpose
