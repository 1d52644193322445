"""Rows of a table of stimuli to sentences, and their words and regions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from unrolled.errors import TextError, UnrolledWarning
from unrolled.language_models.stimulus_options import StimulusOptions
from unrolled.text.alignment import words_by_space
from unrolled.text.tables import Row, Table, read_table
from unrolled.text.tokeniser import Token, sentences, tokenise


class Word(NamedTuple):
    """A word of a sentence: its characters there, its region from 0, and its row's columns."""

    text: str
    start: int
    end: int
    region: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text.

    Attributes:
        row: number of the text, from 1. number: of the sentence in it, from 1.
        text: without newlines and signs of regions.
        words: those that have a row.
        spaced: tokens that models of words see, where they are not what white space separates.
        regions: text of each region of the whole text.
    """

    row: int
    number: int
    text: str
    words: list[Word]
    spaced: list[Token] | None
    regions: list[str]


class _Region(NamedTuple):
    text: str
    start: int  # in the text
    values: Mapping[str, Any]


def sentences_of_table(table: Table, options: StimulusOptions) -> Iterator[Sentence]:
    """The sentences of all rows in their order.

    Warns:
        UnrolledWarning: how many texts have no words.

    Raises:
        TextError: as of `read_table`, or a column of `group_by` is missing.
    """
    rows = read_table(
        table,
        field=options.field,
        format=options.input_format,
        quotes=options.quotes,
        invalid=options.invalid,
    )
    if not options.text:
        rows = (_without_text(row) for row in rows)
    empty = 0
    for number, (text, regions) in enumerate(_texts(rows, options), 1):
        tokens = tokenise(text) if options.sentences == "marks" else []
        words = 0
        for rank, bounds in enumerate(_bounds(text, tokens, options.sentences), 1):
            sentence = _sentence(text, bounds, regions, options, (number, rank))
            words += len(sentence.words)
            yield sentence
        empty += words == 0
    if empty:
        what = "1 text has" if empty == 1 else f"{empty:,} texts have"
        warnings.warn(f"{what} no words and no rows", UnrolledWarning, stacklevel=2)


def _texts(rows: Iterable[Row], options: StimulusOptions) -> Iterator[tuple[str, list[_Region]]]:
    """Each text and its regions; a text without regions is one."""
    if options.group_by:
        for _, group in groupby(rows, lambda row: _group(row, options.groups)):
            text = ""
            regions: list[_Region] = []
            for row in group:
                text += options.join if regions else ""
                regions.append(_Region(row.text, len(text), row.values))
                text += row.text
            yield text, regions
        return
    for row in rows:
        if options.region_mark:
            yield _cut_at(options.region_mark, row)
        else:
            yield row.text, [_Region(row.text, 0, row.values)]


def _without_text(row: Row) -> Row:
    return row._replace(values={k: v for k, v in row.values.items() if k != row.column})


def _group(row: Row, names: Sequence[str]) -> tuple[Any, ...]:
    missing = next((name for name in names if name not in row.values), None)
    if missing is not None:
        found = ", ".join(f"'{name}'" for name in list(row.values)[:12]) or "none"
        raise TextError(f"there is no column '{missing}' among {found}", where=row.place,
                        hint="Name columns of the table (--group-by)")  # fmt: skip
    return tuple(row.values[name] for name in names)


def _cut_at(mark: str, row: Row) -> tuple[str, list[_Region]]:
    text = ""
    regions: list[_Region] = []
    for part in row.text.split(mark):
        # A sign between two spaces leaves one.
        part = part[1:] if text[-1:] == " " and part[:1] == " " else part
        regions.append(_Region(part.strip(), len(text), row.values))
        text += part
    return text, regions


def _bounds(text: str, tokens: Sequence[Token], how: str) -> Iterator[tuple[int, int]]:
    """Where sentences begin and end."""
    if how == "one":
        yield 0, len(text)
    elif how == "lines":
        for line in re.finditer(r"[^\r\n]+", text):
            yield line.span()
    else:
        for sentence in sentences(text, tokens):
            yield sentence[0].start, sentence[-1].end


def _sentence(
    text: str, bounds: tuple[int, int], regions: Sequence[_Region], options: StimulusOptions,
    numbers: tuple[int, int],
) -> Sentence:  # fmt: skip
    start, end = bounds
    here = text[start:end].replace("\n", " ")
    here = here.encode(errors="replace").decode()  # lone surrogates, which JSON may hold
    spaced = None if options.punctuation == "attached" else tokenise(here)
    words: list[Word] = []
    region = 0
    for word in spaced if options.punctuation == "apart" and spaced else words_by_space(here):
        while region + 1 < len(regions) and regions[region + 1].start <= start + word.start:
            region += 1
        # A word ends where a region does, which scripts without spaces need.
        low, rank = word.start, region
        while rank + 1 < len(regions) and regions[rank + 1].start < start + word.end:
            high = regions[rank + 1].start - start
            if high > low:
                words.append(Word(here[low:high], low, high, rank, regions[rank].values))
            low, rank = high, rank + 1
        words.append(Word(here[low : word.end], low, word.end, rank, regions[rank].values))
        region = rank
    return Sentence(*numbers, here, words, spaced, [region.text for region in regions])
