"""Column files, one word per line: their layout, and a reader of their sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.rows import Row

BORDER = "-DOCSTART-"
_CONLLU_COLUMNS = 10
_ROW_NUMBER = re.compile(r"\d+([-.]\d+)?")
_DOCUMENT = re.compile(r"# newdoc(?: id)?(?: *=)?|#begin document")
_BLANK = " \t\r"


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """How a file is laid out; what is None is found from the first lines of each file.

    Attributes:
        word: column of the words, from 0, or from -1 at the right; None: 0, after a column of the
            words' numbers 1. For files with named fields or columns, a name.
        tag: column of the tags, alike; None: the last one, in CoNLL-U 3 (UPOS), in GermEval 2.
        tagged: whether there are tags; if not, `tag` is ignored.
        separator: the separator of columns; None: a tab where the first line has one, any run
            of spaces otherwise. No other character separates, so that words may hold a no-break
            space.
        conllu: whether the first column numbers the words, as in CoNLL-U: then lines that begin
            with ``#``, ranges (1-2) and empty nodes (1.1) are skipped. None: if there are ten
            columns, or each line of the first sentence has its number.
        comment: lines that begin with this are skipped. None: lines ``# ...`` that do not have as
            many columns as the others, so that ``#`` may be a word.
        names: of tags that are numbers, as in rows of Hugging Face's data sets.
    """

    word: int | str | None = None
    tag: int | str | None = None
    tagged: bool = True
    separator: str | None = None
    conllu: bool | None = None
    comment: str | None = None
    names: Sequence[str] | Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if self.separator == "" or self.comment == "":
            name = "separator" if self.separator == "" else "comment"
            raise SettingError(f"{name} is empty, allowed is any text or None")


class ColumnReader:
    """Makes sentences of the lines of one file.

    Lines wait until the first sentence ends: only then is the layout known.
    """

    def __init__(self, layout: ColumnFormat, source: str) -> None:
        self.layout = layout
        self.source = source
        self.document = source
        self.documents = 1
        self.started = False  # whether a sentence was seen in this document
        self.commented = False  # whether the file begins with a comment
        self.width: int | None = None
        self.numbered = False
        self.separator = layout.separator or ""
        self.header: list[str] = []  # names of the columns
        self.word = self.tag = 0
        self.waiting: list[tuple[int, str]] = []
        self.rows: list[list[str]] = []
        self.first = 0

    def lines(self, lines: Iterable[str], number: int) -> Iterator[Row]:
        """Sentences that end in these lines, the first of which has the given number."""
        for line_number, line in enumerate(lines, number):
            if self.width is not None:
                yield from self._line(line, line_number)
                continue
            self.waiting.append((line_number, line))
            if not line.strip(_BLANK):
                yield from self._begin(at_end=False)

    def end(self) -> Iterator[Row]:
        """The sentence whose last line was read, if there is one."""
        if self.width is None:
            yield from self._begin(at_end=True)
        if not self.rows:
            return
        by_column = list(zip(*self.rows, strict=True))
        named = {self.word} | ({self.tag} if self.layout.tagged else set())
        yield Row(
            words=by_column[self.word],
            tags=by_column[self.tag] if self.layout.tagged else (),
            columns=tuple(col for rank, col in enumerate(by_column) if rank not in named),
            document=self.document,
            place=f"{self.source}:{self.first}",
        )
        self.rows = []
        self.started = True

    def _begin(self, at_end: bool) -> Iterator[Row]:
        """Settle the layout by the lines that wait, if there is one of words, and read them."""
        lines = [(at, line.rstrip("\r")) for at, line in self.waiting if line.strip(_BLANK)]
        content = [row for row in lines if not row[1].startswith(("#", BORDER, *self._marks()))]
        if at_end:  # a file of which each line begins with "#" has that word
            content = content or [
                row for row in lines if not row[1].startswith((BORDER, *self._marks()))
            ]
        if not content:
            return
        self._settle(lines[0][1], content)
        waiting, self.waiting = self.waiting, []
        for number, line in waiting:
            yield from self._line(line, number)

    def _line(self, line: str, number: int) -> Iterator[Row]:
        if not line.strip(_BLANK):
            yield from self.end()
        elif self._is_comment(line):
            begins = _DOCUMENT.match(line)
            if begins is not None:
                yield from self.end()
                self._border(line[begins.end() :].strip())
        else:
            row = self._row(line.rstrip("\r"), number)
            if row is None:  # a document begins
                yield from self.end()
                self._border("")
            elif row:
                self.first = self.first if self.rows else number
                self.rows.append(row)

    def _border(self, name: str) -> None:
        """A document begins; a border before the first sentence does not make an empty one."""
        if self.started:
            self.documents += 1
            self.started = False
        numbered = self.source if self.documents == 1 else f"{self.source}#{self.documents}"
        self.document = name or numbered

    def _marks(self) -> tuple[str, ...]:
        return () if self.layout.comment is None else (self.layout.comment,)

    def _is_comment(self, line: str) -> bool:
        """Whether a line is a comment: by the layout, or because it cannot be anything else.

        A word "#" may begin any line of a column file. A line with as many columns as the others
        is a comment only where words are numbered; or before a sentence if it is "# name = value"
        and the file's very first line is, too.
        """
        if line.startswith(self._marks()):
            return True
        if not line.startswith("#") or self.numbered:
            return line.startswith("#")
        if line.startswith(("#begin document", "#end document")):  # as in OntoNotes
            return True
        if len(self._values(line.rstrip("\r"))) == self.width:
            is_named = line.startswith("# newdoc") or (line[1:2] == " " and "=" in line)
            return is_named and self.commented and not self.rows
        return line[1:2] in ("", " ", "\t", "#")

    def _row(self, line: str, number: int) -> list[str] | None:
        """The values of a line, none at all if it is skipped, None where a document begins."""
        if line.startswith(BORDER):
            return None
        values = self._values(line)
        if len(values) != self.width:
            self._refuse(values, number)
        if self.numbered and not values[0].isdecimal():
            if _ROW_NUMBER.fullmatch(values[0]) is None:
                what = f"{values[0]!r} is not a word's number of CoNLL-U, such as 3, 3-4 or 3.1"
                raise TextError(what, where=f"{self.source}:{number}")
            return []
        if not values[self.word] or (self.layout.tagged and not values[self.tag]):
            name = "tag" if values[self.word] else "word"
            raise TextError(f"the {name} is empty", where=f"{self.source}:{number}")
        return values

    def _values(self, line: str) -> list[str]:
        return line.split(self.separator) if self.separator != " " else _split(line)

    def _settle(self, head: str, rows: list[tuple[int, str]]) -> None:
        """Find separator, kind and columns.

        Args:
            head: the file's first line. rows: lines of words, with their numbers.
        """
        number, line = rows[0]
        self.separator = self.separator or ("\t" if "\t" in line else " ")
        values = [self._values(line) for _, line in rows]
        self.width = len(values[0])
        self.commented = head.startswith("# newdoc") or (head[:2] == "# " and "=" in head)
        if head.startswith("# global.columns"):
            self.header = head.partition("=")[2].split()
        self.numbered = self._has_numbers(head, values)
        word, tag = self.layout.word, self.layout.tag
        self.word = self._column(int(self.numbered) if word is None else word, number)
        if self.layout.tagged:
            self.tag = self._column(self._usual_tag(head) if tag is None else tag, number)
            if self.word == self.tag:
                raise TextError(
                    f"words and tags are both in column {self.word} of {self.width}",
                    where=f"{self.source}:{number}",
                    hint="Separate the columns with spaces or a tab, or name them",
                )

    def _has_numbers(self, head: str, values: list[list[str]]) -> bool:
        """Whether the first column numbers the words of each sentence."""
        if self.layout.conllu is not None:
            return self.layout.conllu
        if _ROW_NUMBER.fullmatch(values[0][0]) is None or self.width is None:
            return False
        if (self.width, self.separator) == (_CONLLU_COLUMNS, "\t"):
            return True
        ranks = [row[0] for row in values if row[0].isdecimal()]
        is_counted = ranks == [str(rank) for rank in range(1, len(ranks) + 1)]
        is_wide = self.width > 1 + self.layout.tagged and self.layout.word is None
        return is_counted and is_wide and (len(ranks) > 1 or head.startswith("#"))

    def _usual_tag(self, head: str) -> int | str:
        if "UPOS" in self.header:
            return "UPOS"
        if self.numbered and self.width == _CONLLU_COLUMNS:
            return 3
        # GermEval 2014: "#", source and date, then number, word, outer and inner names.
        return 2 if self.numbered and self.width == 4 and head.startswith("#\t") else -1

    def _column(self, column: int | str, number: int) -> int:
        assert self.width is not None
        if isinstance(column, str):
            if column not in self.header[: self.width]:
                named = f"are {', '.join(self.header)}" if self.header else "have no names"
                what = f"there is no column {column!r}, the columns {named}"
                raise TextError(what, where=f"{self.source}:{number}", hint="Give its number")
            return self.header.index(column)
        if not -self.width <= column < self.width:
            raise TextError(
                f"there is no column {column}, the line has {self.width} columns",
                where=f"{self.source}:{number}",
                hint=f"Allowed are 0 to {self.width - 1}, or -1 for the last",
            )
        return column % self.width

    def _refuse(self, values: list[str], number: int) -> None:
        between = {"\t": "tabs", " ": "spaces"}.get(self.separator, repr(self.separator))
        comments = ", or name how comments begin with --comment" if values[0][:1] == "#" else ""
        raise TextError(
            f"{len(values)} columns, but {self.width} at the start of the file "
            f"(separated by {between})",
            where=f"{self.source}:{number}",
            hint="Give every line the same columns" + comments,
        )


def _split(line: str) -> list[str]:
    """Split at runs of spaces and tabs and at nothing else, unlike str.split."""
    return [value for value in line.replace("\t", " ").split(" ") if value]
