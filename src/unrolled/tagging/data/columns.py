"""Sentences of tagged words from column files, CoNLL-U among them, and back."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from unrolled.errors import SettingError, TextError
from unrolled.storage.atomic import atomic_write
from unrolled.tagging.data.encoded_text import check_encoding, text_lines
from unrolled.text.sources import Sources, raw_blocks

BORDER = "-DOCSTART-"
_CONLLU_COLUMNS = 10
_CONLLU_ID = re.compile(r"\d+([-.]\d+)?")
_BLANK = " \t\r"


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


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """How a column file is laid out; what is None is found from each file's first line.

    Attributes:
        word: column of the words, from 0, or from -1 at the right; None: 0, in CoNLL-U 1 (FORM).
        tag: column of the tags; None: the last one, in CoNLL-U 3 (UPOS).
        tagged: whether there are tags; if not, `tag` counts for nothing.
        separator: what stands between columns; None: a tab where the first line has one, any run
            of spaces otherwise. No other character separates, so that words may hold a no-break
            space.
        conllu: whether the file is CoNLL-U: ten columns, comments, ranges and empty nodes, the
            last three of which are skipped.
        comment: lines that begin with this are skipped (CoNLL-U's are in any case).
    """

    word: int | None = None
    tag: int | None = None
    tagged: bool = True
    separator: str | None = None
    conllu: bool | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        if self.separator == "" or self.comment == "":
            name = "separator" if self.separator == "" else "comment"
            raise SettingError(f"{name} is empty, allowed is any text or None")


def read_columns(
    sources: Sources,
    *,
    word: int | None = None,
    tag: int | None = None,
    tagged: bool = True,
    separator: str | None = None,
    conllu: bool | None = None,
    comment: str | None = None,
    encoding: str = "utf-8",
) -> list[TaggedSentence]:
    """All sentences of column files, compressed or not, folders or ``-``; see ColumnFormat.

    A blank line ends a sentence; several count as one, so no sentence is empty. A line
    ``-DOCSTART-`` begins a document and is no sentence: the first document has the file's name,
    further ones that and ``#2``, ``#3``, ... CoNLL-U's ``# newdoc`` does the same.

    Raises:
        TextError: lines of one file have different numbers of columns, a word or tag is empty, a
            column does not exist, bytes are not of the encoding, or there are no sentences; with
            ``file:line``.
        SettingError: the encoding is unknown or does not write a newline as one byte.

    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "names.txt"
    >>> _ = file.write_text("EU NNP B-ORG\\nrejects VBZ O\\n\\nPeter NNP B-PER\\n")
    >>> [(s.words, s.tags, s.columns) for s in read_columns(file)]
    [(('EU', 'rejects'), ('B-ORG', 'O'), (('NNP', 'VBZ'),)), (('Peter',), ('B-PER',), (('NNP',),))]
    >>> folder.cleanup()
    """
    layout = ColumnFormat(word, tag, tagged, separator, conllu, comment)
    sentences = list(iter_columns(sources, layout, encoding=encoding))
    if not sentences:
        raise TextError("no sentence was found", where=_named(sources))
    return sentences


def iter_columns(
    sources: Sources, layout: ColumnFormat | None = None, *, encoding: str = "utf-8"
) -> Iterator[TaggedSentence]:
    """As `read_columns`, one sentence at a time, and without an error where there is none."""
    check_encoding(encoding)
    reader: _Reader | None = None
    for block in raw_blocks(sources):
        if reader is None or block.source != reader.source or block.first_line == 1:
            if reader is not None:
                yield from reader.end()
            reader = _Reader(layout or ColumnFormat(), block.source)
        yield from reader.lines(text_lines(block, encoding), block.first_line)
    if reader is not None:
        yield from reader.end()


def parse_columns(
    lines: Iterable[str], layout: ColumnFormat | None = None, *, source: str = "<stdin>"
) -> Iterator[TaggedSentence]:
    """As `iter_columns` from lines that are already text; each sentence comes when it ends.

    >>> [s.words for s in parse_columns(["a X\\n", "\\n", "b Y\\n"])]
    [('a',), ('b',)]
    """
    reader = _Reader(layout or ColumnFormat(), source)
    for number, line in enumerate(lines, 1):
        yield from reader.lines([line.rstrip("\n")], number)
    yield from reader.end()


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
        separator: what stands between columns.
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


class _Reader:
    """Makes sentences of the lines of one file."""

    def __init__(self, layout: ColumnFormat, source: str) -> None:
        self.layout = layout
        self.source = source
        self.document = source
        self.documents = 1
        self.started = False  # whether a sentence was seen in this document
        self.commented = False  # whether the file begins with a comment
        self.width: int | None = None
        self.conllu = layout.conllu
        self.separator = layout.separator
        self.word = self.tag = 0
        self.rows: list[list[str]] = []
        self.first = 0

    def lines(self, lines: Iterable[str], number: int) -> Iterator[TaggedSentence]:
        """Sentences that end in these lines, the first of which has the given number."""
        for line_number, line in enumerate(lines, number):
            if not line.strip(_BLANK):
                yield from self.end()
            elif self._is_comment(line):
                if line.startswith("# newdoc"):
                    yield from self.end()
                    self._border(line.partition("=")[2].strip())
            else:
                row = self._row(line.rstrip("\r"), line_number)
                if row is None:  # a document begins
                    yield from self.end()
                    self._border("")
                elif row:
                    self.first = self.first if self.rows else line_number
                    self.rows.append(row)

    def end(self) -> Iterator[TaggedSentence]:
        """The sentence whose last line was read, if there is one."""
        if not self.rows:
            return
        by_column = list(zip(*self.rows, strict=True))
        kept = {self.word} | ({self.tag} if self.layout.tagged else set())
        yield TaggedSentence(
            words=by_column[self.word],
            tags=by_column[self.tag] if self.layout.tagged else (),
            columns=tuple(col for rank, col in enumerate(by_column) if rank not in kept),
            document=self.document,
            place=f"{self.source}:{self.first}",
        )
        self.rows = []
        self.started = True

    def _border(self, name: str) -> None:
        """A document begins; a border before the first sentence does not make an empty one."""
        if self.started:
            self.documents += 1
            self.started = False
        numbered = self.source if self.documents == 1 else f"{self.source}#{self.documents}"
        self.document = name or numbered

    def _is_comment(self, line: str) -> bool:
        """Whether a line is a comment: as the layout says, in CoNLL-U, or as the file begins.

        A word "#" may begin any line of a column file, so that only files whose very first line is
        "# name = value", as CoNLL-U's are, have comments of this kind before their sentences.
        """
        if self.layout.comment is not None and line.startswith(self.layout.comment):
            return True
        if not line.startswith("#") or self.conllu is True:
            return line.startswith("#")
        if self.rows or not (line.startswith("# newdoc") or (line[1:2] == " " and "=" in line)):
            return False
        self.commented = self.commented or self.width is None
        return self.commented

    def _row(self, line: str, number: int) -> list[str] | None:
        """The values of a line, none at all if it is skipped, None where a document begins."""
        if line.startswith(BORDER):
            return None
        if self.width is None:
            self._settle(line, number)
        values = line.split(self.separator) if self.separator != " " else _split(line)
        if len(values) != self.width:
            self._refuse(values, number)
        if self.conllu and not values[0].isdecimal():
            if _CONLLU_ID.fullmatch(values[0]) is None:
                what = f"{values[0]!r} is not a word's number of CoNLL-U, such as 3, 3-4 or 3.1"
                raise TextError(what, where=f"{self.source}:{number}")
            return []
        if not values[self.word] or (self.layout.tagged and not values[self.tag]):
            name = "tag" if values[self.word] else "word"
            raise TextError(f"the {name} is empty", where=f"{self.source}:{number}")
        return values

    def _settle(self, line: str, number: int) -> None:
        """Find separator, kind and columns from a file's first line of words."""
        if self.separator is None:
            self.separator = "\t" if "\t" in line else " "
        values = line.split(self.separator) if self.separator != " " else _split(line)
        self.width = len(values)
        if self.conllu is None:
            is_numbered = _CONLLU_ID.fullmatch(values[0]) is not None
            self.conllu = self.width == _CONLLU_COLUMNS and self.separator == "\t" and is_numbered
        default_word, default_tag = (1, 3) if self.conllu else (0, -1)
        word, tag = self.layout.word, self.layout.tag
        self.word = self._column(default_word if word is None else word, number)
        if self.layout.tagged:
            self.tag = self._column(default_tag if tag is None else tag, number)
            if self.word == self.tag:
                raise TextError(
                    f"words and tags are both in column {self.word} of {self.width}",
                    where=f"{self.source}:{number}",
                    hint="Separate the columns with spaces or a tab, or name them",
                )

    def _column(self, column: int, number: int) -> int:
        assert self.width is not None
        if not -self.width <= column < self.width:
            raise TextError(
                f"there is no column {column}, the line has {self.width} columns",
                where=f"{self.source}:{number}",
                hint=f"Allowed are 0 to {self.width - 1}, or -1 for the last",
            )
        return column % self.width

    def _refuse(self, values: list[str], number: int) -> None:
        between = {"\t": "tabs", " ": "spaces"}.get(self.separator or "", repr(self.separator))
        raise TextError(
            f"{len(values)} columns, but {self.width} at the start of the file "
            f"(separated by {between})",
            where=f"{self.source}:{number}",
            hint="Give every line the same columns",
        )


def _split(line: str) -> list[str]:
    """Split at runs of spaces and tabs and at nothing else, unlike str.split."""
    return [value for value in line.replace("\t", " ").split(" ") if value]


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
