"""``unrolled tag``, and ``unrolled evaluate`` of a tagger."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from unrolled.cli import options as shared

if TYPE_CHECKING:
    from unrolled.storage.loading import StoredModel
    from unrolled.tagging.data.column_reader import ColumnFormat
    from unrolled.tagging.data.columns import TaggedSentence
    from unrolled.tagging.model import Tagger
    from unrolled.tagging.scoring.results import Tagged

_DATA = "Data"
WordColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of words, from 0, or the field of JSON lines.", rich_help_panel=_DATA
    ),
]
TagColumn = Annotated[
    str | None,
    typer.Option(help="Column of tags, -1: the last; or the field.", rich_help_panel=_DATA),
]
Separator = Annotated[
    str | None,
    typer.Option(help="Between columns; found by itself.", rich_help_panel=_DATA),
]
Encoding = Annotated[str, typer.Option(help="Encoding of the files.", rich_help_panel=_DATA)]


Comment = Annotated[
    str | None,
    typer.Option(help="Prefix of lines to leave out; found by itself.", rich_help_panel=_DATA),
]
TagNames = Annotated[
    str | None,
    typer.Option(
        help="Names of tags that are numbers: 'O B-PER I-PER', or a file.", rich_help_panel=_DATA
    ),
]


def column_format(
    word: str | None,
    tag: str | None,
    separator: str | None,
    *,
    comment: str | None = None,
    names: str | None = None,
    tagged: bool = True,
) -> ColumnFormat:
    """How files of tags are laid out, from the command line."""
    from unrolled.tagging.data.column_reader import ColumnFormat
    from unrolled.tagging.data.rows import named_tags

    return ColumnFormat(
        word=_column(word), tag=_column(tag), separator=_tabbed(separator), tagged=tagged,
        comment=comment, names=named_tags(names),
    )  # fmt: skip


def _column(given: str | None) -> int | str | None:
    """A column's number, or a name."""
    return int(given) if given is not None and given.lstrip("-").isdecimal() else given


def _tabbed(separator: str | None) -> str | None:
    """The separator with a written backslash and t as a tab."""
    return separator if separator is None else separator.replace("\\t", "\t")


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
    marks: Annotated[
        str,
        typer.Option(help="Marks that a text to punctuate has already: keep, or renew them."),
    ] = "keep",
    word_column: WordColumn = None,
    separator: Separator = None,
    comment: Comment = None,
    encoding: Encoding = "utf-8",
    invalid: Annotated[
        str, typer.Option(help="What is not UTF-8: error, or replace it by U+FFFD.")
    ] = "error",
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
    from unrolled.tagging.punctuation import bare_words, restore_text

    shared.check_choice("--input", input, ("text", "words", "columns"))
    shared.check_choice("--format", format, ("auto", "columns", "jsonl", "inline", "text"))
    shared.check_choice("--marks", marks, ("keep", "renew"))
    size = 1 if not files and sys.stdin.isatty() else batch
    opened = _tagger(model, threads).to(device)
    layout = column_format(word_column, None, separator, comment=comment, tagged=False)
    format, kind = _settled(opened, format, input)
    if kind != "bare":
        shared.check_unused({"--marks": marks != "keep"}, "with plain text to punctuate")
    lines = _Lines(files or "-", encoding, invalid)
    for inputs in _batches(_inputs(lines, kind, layout), size):
        given = [bare_words(line)[0] for line in inputs] if kind == "bare" else inputs
        results = opened.tag(given, confidences=format == "jsonl")
        for source, result in zip(inputs, results, strict=True):
            if (kind, format) == ("bare", "text"):
                sys.stdout.write(restore_text(source, result.tags, marks=marks) + "\n")
            else:
                sys.stdout.write(_written(result, format))
        sys.stdout.flush()


def _tagger(path: str, threads: int) -> Tagger:
    from unrolled.runtime.torch_threads import set_threads
    from unrolled.tagging.model import Tagger

    set_threads(threads)
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

        from unrolled.tagging.data.encoded_text import check_encoding, iter_lines
        from unrolled.text.options import TextOptions
        from unrolled.text.tokens import iter_sentences

        check_encoding(self.encoding)
        if codecs.lookup(self.encoding).name != "utf-8":
            return iter_lines(self.files, self.encoding)
        return iter_sentences(self.files, TextOptions(invalid=self.invalid))


def _inputs(
    lines: _Lines, kind: str, layout: ColumnFormat
) -> Iterator[str | list[str] | TaggedSentence]:
    """Sentences one at a time, as `Tagger.tag` takes them."""
    from unrolled.tagging.data.columns import iter_columns

    if kind == "columns":
        yield from iter_columns(lines.files, layout, encoding=lines.encoding)
        return
    for line in lines.read():
        yield line.split() if kind == "words" else line


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
    model: StoredModel,
    files: list[str],
    layout: ColumnFormat,
    *,
    encoding: str = "utf-8",
    as_json: bool = False,
    confused: bool = False,
    errors: int = 0,
) -> None:
    """Print conlleval's table of files of tags, or how well punctuation of a text is restored.

    Args:
        confused: print a table of gold and predicted labels too. errors: how many to list.
    """
    from itertools import islice

    from unrolled.storage.loading import require_kind
    from unrolled.tagging.data.columns import all_columns
    from unrolled.tagging.model import Tagger
    from unrolled.tagging.punctuation import punctuation_sentences, restores_punctuation
    from unrolled.tagging.scoring.confusion import confusion, find_errors
    from unrolled.tagging.scoring.punctuation_scores import score_punctuation
    from unrolled.tagging.scoring.scores import score_spans

    opened = require_kind(model, Tagger, "evaluating tags")
    restores = restores_punctuation(opened.tags.names)
    if restores:
        given = list(punctuation_sentences(files, encoding=encoding))
    else:
        given = all_columns(files, layout, encoding=encoding)
    words, gold = ([getattr(one, name) for one in given] for name in ("words", "tags"))
    found = opened.predict(given)
    scheme = None if opened.tags.has_spans else "none"
    scores: Any = (
        score_punctuation(gold, found) if restores else score_spans(gold, found, scheme=scheme)
    )
    table = confusion(gold, found) if confused else None
    listed = islice(find_errors(words, gold, found, [one.place for one in given]), errors)
    if as_json:
        more: dict[str, Any] = {"confusion": table._asdict()} if table else {}
        more |= {"errors": [error._asdict() for error in listed]} if errors else {}
        typer.echo(json.dumps(scores.as_dict() | more))
        return
    typer.echo(scores.table())
    if table:
        typer.echo("\n" + table.table())
    if errors:
        rows = ["\t".join(error) for error in listed]
        typer.echo("\n".join(["\nplace\terror\tgold\tpredicted\ttext", *rows]))
