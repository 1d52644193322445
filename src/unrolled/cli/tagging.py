"""``unrolled train tagger``, ``unrolled tag``, and ``unrolled evaluate`` of a tagger."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from unrolled.cli import options as shared

if TYPE_CHECKING:
    from unrolled.cli.progress import Stages
    from unrolled.tagging.columns import ColumnFormat, TaggedSentence
    from unrolled.tagging.curve import TaggerTick
    from unrolled.tagging.model import Tagger
    from unrolled.tagging.results import Tagged

_DATA, _NET, _TRAINING = "Data", "Net", "Training"


def _option(help: str, panel: str, min: int | None = None) -> Any:
    return typer.Option(help=help, rich_help_panel=panel, min=min)


Files = Annotated[
    list[str],
    typer.Argument(
        help="Column files, a word and its tag on each line, a blank line after each sentence; "
        "folders, or - for standard input.",
        show_default=False,
    ),
]
WordColumn = Annotated[
    int | None, typer.Option(help="Column of words, from 0.", rich_help_panel=_DATA)
]
TagColumn = Annotated[
    int | None,
    typer.Option(help="Column of tags; -1: the last.", rich_help_panel=_DATA),
]
Separator = Annotated[
    str | None,
    typer.Option(help="Between columns; found by itself.", rich_help_panel=_DATA),
]
Encoding = Annotated[str, _option("Encoding of the files.", _DATA)]


def _layout(
    word: int | None, tag: int | None, separator: str | None, tagged: bool = True
) -> ColumnFormat:
    from unrolled.tagging.columns import ColumnFormat

    return ColumnFormat(word=word, tag=tag, separator=_tabbed(separator), tagged=tagged)


def _tabbed(separator: str | None) -> str | None:
    """The separator with a written backslash and t as a tab."""
    return separator if separator is None else separator.replace("\\t", "\t")


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
    read: Annotated[str, _option("What the output reads: last layer, or all.", _NET)] = "last",
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
    capitals: Annotated[
        int, _option("Width of a vector for how a word is written; 0: none.", _NET, min=0)
    ] = 8,
    summary: Annotated[
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
    unknown: Annotated[
        float, _option("How readily rare words are taken for unknown ones.", _TRAINING)
    ] = 0.25,
    averaging: Annotated[
        float, _option("Epochs that weights are averaged over; 0: none.", _TRAINING)
    ] = 0.0,
    label_weights: Annotated[
        str, _option("Weights of the loss on tags: 'O=0.6 B=1'; softmax only.", _TRAINING)
    ] = "",
    seed: Annotated[int, _option("Of initial values, dropout and order.", _TRAINING)] = 1,
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
    from unrolled.cli.progress import Stages, compiling_announced

    check_output(output)
    dropped = shared.three_numbers(dropout, "--dropout")
    settings: dict[str, Any] = {
        "cell": cell, "nonlinearity": nonlinearity, "hidden": hidden, "layers": layers,
        "read": read, "embedding": embedding, "case": case, "characters": characters,
        "character_units": character_units, "capitals": capitals, "output": output_layer,
        "summary": summary,
        "scheme": scheme, "columns": shared.numbers(columns, int, "--columns"),
        "dropout_input": dropped[0], "dropout_layers": dropped[1], "dropout_output": dropped[2],
        "epochs": epochs, "batch": batch, "optimiser": optimiser, "rate": rate,
        "momentum": momentum, "weight_decay": weight_decay, "schedule": schedule,
        "patience": patience, "metric": metric, "clip_norm": clip_norm, "unknown": unknown,
        "averaging": averaging,
        "label_weights": _weights(label_weights), "vectors": str(vectors or ""),
        "language_model": str(language_model or ""),
        "freeze_vectors": freeze_vectors, "vector_words": vector_words, "seed": seed,
    }  # fmt: skip
    layout = _layout(word_column, tag_column, separator)
    with compiling_announced(), Stages() as stages:
        from unrolled.tagging.training import train_tagger

        train, held_out = _task_data(task, files, valid, encoding)
        model = train_tagger(
            train, valid=held_out, layout=layout, encoding=encoding, threads=threads, device=device,
            report=stages.stage, tick=lambda tick: _show(stages, tick), **settings,
        )  # fmt: skip
        model.save(output)
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


def _show(stages: Stages, tick: TaggerTick) -> None:
    score = "" if tick.score is None else f", valid {100 * tick.score:.2f}"
    stages.draw_soon(
        f"epoch {tick.epoch} of {tick.epochs}, {100 * tick.done:.0f} %, "
        f"{tick.tokens_per_second:,.0f} tokens/s, {tick.seconds_left / 60:.1f} min left, "
        f"loss {tick.loss:.3f}{score}"
    )


def tag(
    model: Annotated[str, typer.Argument(help="A tagger (.safetensors).", show_default=False)],
    files: Annotated[
        list[str] | None, typer.Argument(help="Files; standard input if none is given.")
    ] = None,
    input: Annotated[
        str,
        typer.Option(
            help="text: a sentence a line; words: likewise, cut at spaces only; columns: a word a "
            "line, a blank line after each sentence."
        ),
    ] = "text",
    format: Annotated[
        str,
        typer.Option(
            help="columns, jsonl (with confidences), inline ([PER Ann] ran), or text (with "
            "punctuation restored); auto: text if the tagger restores punctuation, else columns."
        ),
    ] = "auto",
    word_column: WordColumn = None,
    separator: Separator = None,
    encoding: Encoding = "utf-8",
    invalid: shared.Invalid = "error",
    batch: Annotated[
        int, typer.Option(help="Sentences read before they are tagged; 1: as they come.", min=1)
    ] = 256,
    device: shared.Device = "cpu",
    threads: shared.Threads = 2,
) -> None:
    """Tag text: names, opinions, or what the tagger has learned.

    Examples:

        echo "Ann went to Rome ." | unrolled tag names.safetensors --format inline

        unrolled tag names.safetensors news.txt --format jsonl > tagged.jsonl
    """
    from unrolled.cli.progress import compiling_announced
    from unrolled.cli.query import _choice

    _choice("--input", input, ("text", "words", "columns"))
    _choice("--format", format, ("auto", "columns", "jsonl", "inline", "text"))
    size = 1 if not files and sys.stdin.isatty() else batch
    with compiling_announced():
        opened = _tagger(model, threads).to(device)
        layout = _layout(word_column, None, separator, tagged=False)
        format, kind = _settled(opened, format, input)
        lines = _Lines(files or "-", encoding, invalid)
        for some in _batches(_inputs(lines, kind, layout), size):
            for result in opened.tag(some, confidences=format == "jsonl"):
                sys.stdout.write(_written(result, format))
            sys.stdout.flush()


def _tagger(path: str, threads: int) -> Tagger:
    import torch

    from unrolled.tagging.model import Tagger

    torch.set_num_threads(threads)
    return Tagger.load(path)


def _settled(opened: Tagger, format: str, input: str) -> tuple[str, str]:
    """The format and kind of input, which depend on whether the tagger restores punctuation."""
    from unrolled.errors import SettingError
    from unrolled.tagging.punctuation import restores_punctuation

    restores = restores_punctuation(opened.tags.names)
    if format == "text" and not restores:
        raise SettingError(
            "--format text is for taggers that restore punctuation, and this one does not",
            hint="Take columns, jsonl or inline",
        )
    if format == "auto":
        format = "text" if restores else "columns"
    return format, "bare" if restores and input == "text" else input


class _Lines(NamedTuple):
    """Files, and how they are read."""

    files: str | list[str]
    encoding: str
    invalid: str

    def read(self) -> Iterator[str]:
        """Lines of text."""
        import codecs

        from unrolled.corpus import TextOptions, iter_sentences
        from unrolled.tagging.encoded_text import check_encoding, iter_lines

        check_encoding(self.encoding)
        if codecs.lookup(self.encoding).name != "utf-8":
            return iter_lines(self.files, self.encoding)
        return iter_sentences(self.files, TextOptions(invalid=self.invalid))


def _inputs(
    lines: _Lines, kind: str, layout: ColumnFormat
) -> Iterator[str | list[str] | TaggedSentence]:
    """Sentences one at a time, as `Tagger.tag` takes them."""
    from unrolled.tagging.columns import iter_columns

    if kind == "columns":
        yield from iter_columns(lines.files, layout, encoding=lines.encoding)
        return
    if kind == "bare":
        from unrolled.tagging.punctuation import bare_words

        for line in lines.read():
            yield bare_words(line)[0]
        return
    for line in lines.read():
        yield line if kind == "text" else line.split()


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    from itertools import islice

    while batch := list(islice(items, size)):
        yield batch


def _written(result: Tagged, format: str) -> str:
    """A sentence as it is printed."""
    if format == "columns":
        rows = zip(result.words, result.tags, strict=True)
        return "".join(f"{word}\t{tag}\n" for word, tag in rows) + "\n"
    if format == "inline":
        return _inline(result) + "\n"
    if format == "text":
        from unrolled.tagging.punctuation import restore

        return restore(result.words, result.tags) + "\n"
    spans = []
    for span in result.spans:
        shown: dict[str, Any] = {"start": span.start, "end": span.end, "label": span.label}
        shown["text"] = " ".join(result.words[span.start : span.end])
        shown["confidence"] = round(span.confidence, 4)
        if result.offsets:
            shown |= {"begin_char": span.begin_char, "end_char": span.end_char}
        spans.append(shown)
    row = {"words": result.words, "tags": result.tags, "spans": spans}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _inline(result: Tagged) -> str:
    """Words with spans in brackets; tags that are no spans stand behind their words."""
    if not result.spans and any(tag != "O" for tag in result.tags):
        return " ".join(f"{w}/{t}" for w, t in zip(result.words, result.tags, strict=True))
    words = list(result.words)
    for span in result.spans:
        words[span.start] = f"[{span.label} {words[span.start]}".replace("[ ", "[")
        words[span.end - 1] += "]"
    return " ".join(words)


def evaluate_tagger(
    opened: Tagger, files: list[str], *, as_json: bool, encoding: str = "utf-8", word: int | None,
    tag: int | None, separator: str | None,
) -> None:  # fmt: skip
    """Print conlleval's table of a column file, or how well punctuation of a text is restored."""
    from unrolled.tagging.columns import read_columns
    from unrolled.tagging.punctuation import (
        punctuation_sentences,
        restores_punctuation,
        score_punctuation,
    )

    scores: Any
    if restores_punctuation(opened.tags.names):
        sentences = list(punctuation_sentences(files, encoding=encoding))
        found = opened.predict([sentence.words for sentence in sentences])
        scores = score_punctuation([sentence.tags for sentence in sentences], found)
    else:
        separator = _tabbed(separator)
        given = read_columns(files, word=word, tag=tag, separator=separator, encoding=encoding)
        scores = opened.evaluate(given)
    typer.echo(json.dumps(scores.as_dict()) if as_json else scores.table())
