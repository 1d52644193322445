"""Sentences of tagged words from files of columns, JSON lines, Parquet and spaCy, and back."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from unrolled.errors import TextError
from unrolled.storage.atomic import atomic_write
from unrolled.tagging.data.column_reader import BORDER, ColumnFormat, ColumnReader
from unrolled.tagging.data.encoded_text import check_encoding, text_lines
from unrolled.tagging.data.rows import (
    Row,
    RowFields,
    docbin_rows,
    info_beside,
    is_json_row,
    json_rows,
    names_of_features,
    parquet_rows,
    sentences_of,
)
from unrolled.text.sources import Sources, files_of, raw_blocks


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words with a tag each, and where they came from.

    Attributes:
        words: the words, at least one if the sentence was read from a file.
        tags: one tag a word, or none at all for text without tags.
        columns: the further columns from left to right, each with one value a word.
        document: name of the document it belongs to, for splits that keep documents whole.
        place: ``file:line`` of its first word.

    Raises:
        TextError: the tags or a column are not as many as the words.

    >>> TaggedSentence(("Peter", "slept"), ("B-PER", "O")).tags
    ('B-PER', 'O')
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...] = ()
    document: str = ""
    place: str = ""

    def __post_init__(self) -> None:
        if self.tags and len(self.tags) != len(self.words):
            what = f"{len(self.tags)} tags for {len(self.words)} words"
            raise TextError(what, where=self.place or None, hint="Give every word one tag")
        for rank, column in enumerate(self.columns):
            if len(column) != len(self.words):
                what = f"column {rank} has {len(column)} values for {len(self.words)} words"
                raise TextError(what, where=self.place or None)


def read_columns(
    sources: Sources,
    *,
    word: int | str | None = None,
    tag: int | str | None = None,
    tagged: bool = True,
    separator: str | None = None,
    conllu: bool | None = None,
    comment: str | None = None,
    names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    encoding: str = "utf-8",
) -> list[TaggedSentence]:
    """All sentences of files of columns, compressed or not, folders or ``-``; see ColumnFormat.

    JSON lines (``{"tokens": [...], "tags": [...]}``), ``.parquet`` and spaCy's ``.spacy`` files are
    read too.

    A blank line ends a sentence; several count as one, so no sentence is empty. A line
    ``-DOCSTART-`` begins a document and is no sentence: the first document has the file's name,
    further ones that and ``#2``, ``#3``, ... CoNLL-U's ``# newdoc`` does the same.

    Raises:
        TextError: lines of one file have different numbers of columns, a word or tag is empty, a
            column does not exist, bytes are not of the encoding, or there are no sentences; with
            ``file:line``.
        SettingError: the encoding is unknown or does not write a newline as one byte.
        MissingExtraError: what reads Parquet or spaCy's files is not installed.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "names.txt"
    >>> _ = file.write_text("EU NNP B-ORG\\nrejects VBZ O\\n\\nPeter NNP B-PER\\n")
    >>> [(s.words, s.tags, s.columns) for s in read_columns(file)]
    [(('EU', 'rejects'), ('B-ORG', 'O'), (('NNP', 'VBZ'),)), (('Peter',), ('B-PER',), (('NNP',),))]
    >>> folder.cleanup()
    """
    layout = ColumnFormat(word, tag, tagged, separator, conllu, comment, names)
    return all_columns(sources, layout, encoding=encoding)


def all_columns(
    sources: Sources, layout: ColumnFormat | None = None, *, encoding: str = "utf-8"
) -> list[TaggedSentence]:
    """As `read_columns`, of a layout."""
    sentences = list(iter_columns(sources, layout, encoding=encoding))
    if not sentences:
        raise TextError("no sentence was found", where=_named(sources))
    return sentences


def iter_columns(
    sources: Sources, layout: ColumnFormat | None = None, *, encoding: str = "utf-8"
) -> Iterator[TaggedSentence]:
    """As `read_columns`, one sentence at a time, and without an error where there is none."""
    check_encoding(encoding)
    layout = layout or ColumnFormat()
    for path in files_of(sources):
        for row in _rows(path, layout, encoding):
            yield TaggedSentence(*row)


def _rows(path: Path | None, layout: ColumnFormat, encoding: str) -> Iterator[Row]:
    """The sentences of a file of any kind."""
    if path is not None and path.suffix.lower() in (".spacy", ".parquet"):
        read = docbin_rows if path.suffix.lower() == ".spacy" else parquet_rows
        yield from read(path, _fields(layout))
        return
    reader: ColumnReader | None = None
    is_json = False
    for block in raw_blocks("-" if path is None else path, plain=True):
        lines = text_lines(block, encoding)
        if reader is None:
            is_json = is_json_row(next((line for line in lines if line.strip()), ""))
            if is_json and layout.names is None and path is not None:
                layout = replace(layout, names=info_beside(path))
            reader = ColumnReader(layout, block.source)
        if is_json:
            rows = json_rows(lines, block.source, block.first_line)
            yield from sentences_of(rows, _fields(layout), block.source, block.first_line)
        else:
            yield from reader.lines(lines, block.first_line)
    if reader is not None:
        yield from reader.end()


def read_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    word: str | None = None,
    tag: str | None = None,
    tagged: bool = True,
    names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
) -> list[TaggedSentence]:
    """The sentences of rows with lists of words and tags, such as a Hugging Face data set.

    Args:
        rows: mappings, or a data set, whose features name its tags.
        word, tag: fields; None: tokens or words; tags, ner_tags, labels or another that ends so.
        tagged: whether there are tags.
        names: of tags that are numbers, in their order.

    Raises:
        TextError: a field is missing or is no list, or tags are numbers without names.

    >>> read_rows([{"tokens": ["Ann"], "ner_tags": [1]}], names=["O", "B-PER"])[0].tags
    ('B-PER',)
    """
    names = names or names_of_features(getattr(rows, "features", None))
    fields = RowFields(word, tag, tagged, names)
    return [TaggedSentence(*row) for row in sentences_of(rows, fields, "row")]


def _fields(layout: ColumnFormat) -> RowFields:
    """The names of fields in a layout; numbers of columns mean nothing in rows."""
    word, tag = (name if isinstance(name, str) else None for name in (layout.word, layout.tag))
    return RowFields(word, tag, layout.tagged, layout.names)


def write_columns(
    sentences: Iterable[TaggedSentence],
    target: str | os.PathLike[str] | IO[str],
    *,
    separator: str = " ",
    predicted: Iterable[Sequence[str]] | None = None,
    documents: bool = False,
) -> None:
    """Write word, further columns and tag of each sentence, as `read_columns` reads them.

    Args:
        sentences: what to write; one of no words leaves nothing in a column file.
        target: a path, written as UTF-8 whole or not at all, or an open text file.
        separator: between columns.
        predicted: tags to write as one more, last column: with the right ones before them, the
            input of conlleval.
        documents: write ``-DOCSTART-`` before each document but the first.

    Raises:
        TextError: a value is empty or holds the separator or a newline, or the predicted tags are
            not as many as the words.
    """
    if isinstance(target, (str, os.PathLike)):
        with atomic_write(target) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
            _write(sentences, text, separator, predicted, documents)
            text.detach()  # flushes; the file is closed by atomic_write
    else:
        _write(sentences, target, separator, predicted, documents)


def _named(sources: Sources) -> str:
    if isinstance(sources, (str, os.PathLike)):
        return os.fspath(sources)
    return ", ".join(os.fspath(source) for source in sources)


def _write(
    sentences: Iterable[TaggedSentence],
    file: IO[str],
    separator: str,
    predicted: Iterable[Sequence[str]] | None,
    documents: bool,
) -> None:
    document: str | None = None
    guesses = None if predicted is None else iter(predicted)
    for sentence in sentences:
        if documents and document not in (None, sentence.document):
            file.write(f"{BORDER}\n\n")
        document = sentence.document
        columns = [sentence.words, *sentence.columns]
        columns += [sentence.tags] if sentence.tags else []
        if guesses is not None:
            columns.append(tuple(next(guesses, ())))
            if len(columns[-1]) != len(sentence.words):
                what = f"{len(columns[-1])} predicted tags for {len(sentence.words)} words"
                raise TextError(what, where=sentence.place or None)
        for values in zip(*columns, strict=True):
            _check_values(values, separator, sentence.place)
            file.write(separator.join(values) + "\n")
        file.write("\n")


def _check_values(values: Sequence[str], separator: str, place: str) -> None:
    for value in values:
        if not value or separator in value or "\n" in value:
            raise TextError(
                f"the value {value!r} cannot stand in columns separated by {separator!r}",
                where=place or None,
                hint="Take a tab as separator" if separator == " " and value else None,
            )
