"""A table of surprisals, a row a word, from a table of stimuli."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from unrolled.errors import MissingExtraError, SettingError, TextError
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.language_models.stimuli import Sentence, sentences_of_table
from unrolled.language_models.stimulus_options import StimulusOptions
from unrolled.language_models.unknown_words import Unknown, unknown_words
from unrolled.language_models.word_scores import PER_MILLION, WordScorer, WordScores
from unrolled.settings import configure
from unrolled.storage.loading import load_as
from unrolled.text.options import TextOptions
from unrolled.text.tables import Table
from unrolled.text.tokens import iter_sentences, normal_form
from unrolled.text.vocabulary import SPECIALS

Array = np.ndarray[Any, Any]
Models = LanguageModel | str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any]
Result = dict[str, Any]

_BATCH = 1000  # sentences scored at a time


class SurprisalTable:
    """The rows of `surprisal_table`, in which each is a dictionary.

    They are made as they are read, once.
    """

    def __init__(self, rows: Iterator[Result], columns: list[str]) -> None:
        self._rows, self._columns = rows, columns

    def __iter__(self) -> Iterator[Result]:
        return self._rows

    @property
    def columns(self) -> list[str]:
        """The names of the columns in their order; none where there are no rows."""
        if not self._columns:
            first = next(self._rows, None)
            self._rows = self._rows if first is None else chain([first], self._rows)
        return self._columns

    def to_pandas(self) -> Any:
        """The rows as a DataFrame of pandas.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("tables", "pandas") from None
        return pandas.DataFrame(list(self))


def surprisal_table(
    models: Models,
    table: Table,
    *,
    options: TextOptions | Sequence[TextOptions] | None = None,
    unknown: Unknown = "class",
    eos: bool = False,
    entropy: bool = True,
    frequencies: str | os.PathLike[str] | None = None,
    threads: int = 2,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> SurprisalTable:
    """Surprisal of each word of texts under one model or several, beside the texts' own columns.

    Columns are those of the input; ``row``, the number of the text; ``sentence_number`` and
    ``region_number``, where texts have sentences or regions; ``position`` in the sentence, from 1;
    ``word``; ``length`` in characters; and of each model, with ``_NAME`` if there are several,

    - ``surprisal``: - log2 p in bits, summed over the tokens of the word. A token belongs to the
      word in which it begins, and white space to the word after it;
    - ``entropy``: of the distribution that the word is drawn from, in bits, which is the expected
      surprisal; of models of pieces or characters that of the word's first token;
    - ``next_entropy``: of the distribution after the word;
    - ``oov``: 1 where the model does not know the word or a part of it;
    - ``log_frequency``: log10 of occurrences in a million words, by the unigram probability of an
      n-gram model of words. Kneser-Ney's unigrams count the different words before a word; a file
      of counts is better.

    A row a region has the sum of surprisals, the entropy of its first word, the next_entropy of its
    last, the greatest oov and the mean log_frequency of its ``words``, whose number is a column.

    A column of the input that has one of these names becomes ``input_NAME``.

    Args:
        models: a model, its file, or several; a dictionary names their columns.
        table: a file, texts, mappings or a DataFrame, see `read_table`.
        options: how texts are split into tokens, of all models or of each; by default as its
            training text.
        unknown: what an unknown word costs, see `unknown_words`; a word of which
            a part is skipped has no surprisal.
        eos: a row for the end of each sentence, ``</s>``, too.
        entropy: whether there are columns of entropies.
        frequencies: a file of words and counts, see `read_frequencies`, for one column
            ``log_frequency`` in place of the models'.
        threads: that may be used.
        progress: called with the tokens scored since the last call.
        settings: of `StimulusOptions`.

    Returns:
        The rows, made as they are read; `SurprisalTable.to_pandas` makes a DataFrame.

    Raises:
        TextError: a table that cannot be read. SettingError: wrong settings.
        NotNormalisedError: stupid back-off.

    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
    >>> table = [{"item": 7, "text": "the cat"}]
    >>> for row in surprisal_table(model, table, entropy=False, text=False):
    ...     print(row["item"], row["position"], row["word"], round(row["surprisal"], 2))
    7 1 the 0.71
    7 2 cat 0.71
    """
    given = _named(models)
    for model in given.values():
        require_normalised(model, "surprisal")
    (chosen,) = configure(settings, StimulusOptions)
    each = [options] * len(given) if isinstance(options, (TextOptions, NoneType)) else options
    if len(each) != len(given):
        raise SettingError(f"there are {len(each)} options for {len(given)} models")
    scorers = {
        f"_{name}" if len(given) > 1 else "": WordScorer(
            model, own or model.text_options, unknown_words(unknown, model), entropy=entropy,
            carried=chosen.context == "text", threads=threads,
        )
        for (name, model), own in zip(given.items(), each, strict=True)
    }  # fmt: skip
    listed = read_frequencies(frequencies) if frequencies is not None else None
    layout = _Layout(scorers, chosen, listed, eos)
    columns: list[str] = []
    rows = _rows(sentences_of_table(table, chosen), layout, columns, progress)
    return SurprisalTable(rows, columns)


def _named(models: Models) -> dict[str, LanguageModel]:
    """The models by the names of their columns."""
    if isinstance(models, Mapping):
        pairs = list(models.items())
    elif isinstance(models, Sequence) and not isinstance(models, str):
        pairs = [("", model) for model in models]
    else:
        pairs = [("", models)]
    found: dict[str, LanguageModel] = {}
    for name, given in pairs:
        is_path = isinstance(given, (str, os.PathLike))
        model = load_as(given, LanguageModel, "surprisal") if is_path else given
        name = name or (Path(model.path).stem if model.path else model.name)
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name}-{number}", number + 1
        found[unique] = model
    if not found:
        raise SettingError("surprisal takes one model or more, not 0")
    return found


def _rows(
    sentences: Iterator[Sentence],
    layout: _Layout,
    columns: list[str],
    progress: Callable[[int], None] | None,
) -> Iterator[Result]:
    """The rows of the table; ``columns`` gets their names."""
    for batch in _batches(sentences, whole_texts=layout.chosen.context == "text"):
        scores = [scorer.scores(batch) for scorer in layout.scorers.values()]
        rows: list[Result] = []
        first = 0
        for sentence in batch:
            size = len(sentence.words) + 1
            rows += layout.rows(sentence, [each.part(first, first + size) for each in scores])
            first += size
            if progress is not None:
                progress(size)
        if not columns:
            columns += dict.fromkeys(chain.from_iterable(rows))
        yield from rows


def _batches(sentences: Iterator[Sentence], whole_texts: bool) -> Iterator[list[Sentence]]:
    batch: list[Sentence] = []
    for sentence in sentences:
        if len(batch) >= _BATCH and not (whole_texts and sentence.row == batch[-1].row):
            yield batch
            batch = []
        batch.append(sentence)
    if batch:
        yield batch


class _Layout:
    """How scores become rows.

    Args:
        scorers: by what is appended to the names of their columns.
        frequencies: log10 in a million words, of words; None: those of the models.
        eos: whether the ends of sentences have rows.
    """

    def __init__(
        self,
        scorers: dict[str, WordScorer],
        chosen: StimulusOptions,
        frequencies: Mapping[str, float] | None,
        eos: bool,
    ) -> None:
        self.scorers, self.chosen, self.eos = scorers, chosen, eos
        self.frequencies = frequencies
        self.numbers = ["row"]
        self.numbers += ["sentence_number"] if chosen.sentences != "one" else []
        self.numbers += ["region_number"] if chosen.has_regions else []
        self.names = [
            [(name, name + suffix) for name in scorer.names
             if frequencies is None or name != "log_frequency"]
            for suffix, scorer in scorers.items()
        ]  # fmt: skip
        own = [*self.numbers, "position", "word", "words", "length", "log_frequency"]
        of_models = (column for names in self.names for _, column in names)
        self.own = {*own, *of_models}

    def rows(self, sentence: Sentence, scores: list[WordScores]) -> Iterator[Result]:
        """The rows of a sentence; scores of its words and of its end."""
        rows = self._word_rows(sentence, scores)
        if self.chosen.by == "word":
            return rows
        groups = groupby(rows, itemgetter("region_number"))
        return (self._region_row(sentence, number, list(rows)) for number, rows in groups)

    def _word_rows(self, sentence: Sentence, scores: list[WordScores]) -> Iterator[Result]:
        lists = [
            (column, _listed(getattr(each, name)))
            for names, each in zip(self.names, scores, strict=True)
            for name, column in names
        ]
        values: Mapping[str, Any] = {}
        for rank, word in enumerate(sentence.words):
            values = word.values
            row = self._first(values, sentence, word.region + 1)
            row |= {"position": rank + 1, "word": word.text, "length": len(word.text)}
            if self.frequencies is not None:
                row["log_frequency"] = self._frequency(word.text)
            yield row | {column: each[rank] for column, each in lists}
        if self.eos and sentence.words:
            row = self._first(values, sentence, None)
            row |= {"position": len(sentence.words) + 1, "word": "</s>", "length": None}
            yield row | {column: each[-1] for column, each in lists}

    def _first(self, values: Mapping[str, Any], sentence: Sentence, region: int | None) -> Result:
        """The columns of the input, renamed where one has the name of a column of ours."""
        row: Result = {f"input_{k}" if k in self.own else k: v for k, v in values.items()}
        numbers = {"row": sentence.row, "sentence_number": sentence.number, "region_number": region}
        return row | {name: numbers[name] for name in self.numbers}

    def _frequency(self, word: str) -> float | None:
        """That of a word as it stands, or as the first model reads it."""
        assert self.frequencies is not None
        options = next(iter(self.scorers.values())).options
        found = self.frequencies.get(word)
        return self.frequencies.get(normal_form(word, options)) if found is None else found

    def _region_row(self, sentence: Sentence, number: int | None, words: list[Result]) -> Result:
        """The row of a region from those of its words."""
        first, last = words[0], words[-1]
        text = "</s>" if number is None else sentence.regions[number - 1].strip()
        row: Result = {}
        for column in first:
            if column == "word":
                row |= {"word": text, "words": len(words)}
            elif column == "length":
                row["length"] = None if number is None else len(text)
            else:
                row[column] = first[column]
        if number is None:
            return row
        for names in self.names:
            for name, column in names:
                values = [word[column] for word in words if word[column] is not None]
                row[column] = _of_region(name, values)
                if name == "next_entropy":
                    row[column] = last[column]
        if self.frequencies is not None:
            values = [word["log_frequency"] for word in words]
            row["log_frequency"] = _of_region("log_frequency", [v for v in values if v is not None])
        return row


def _of_region(name: str, values: list[Any]) -> Any:
    """A value of a region from those of its words: a sum, a mean, the greatest or the first."""
    if not values:
        return None
    if name == "surprisal":
        return math.fsum(values)
    if name == "log_frequency":
        return math.fsum(values) / len(values)
    return max(values) if name == "oov" else values[0]


def _listed(values: Array) -> list[Any]:
    if values.dtype == bool:
        return list(map(int, values.tolist()))
    return [None if value != value else value for value in values.tolist()]


def read_frequencies(path: str | os.PathLike[str]) -> dict[str, float]:
    """Log10 of occurrences in a million words, from lines of a word, a tab and a count.

    Lines of n-grams, as `unrolled count` writes them too, are left out.

    Raises:
        TextError: the file cannot be read, or a line has no count.
    """
    counts: dict[str, int] = {}
    for number, line in enumerate(iter_sentences(path), 1):
        word, tab, count = line.rpartition("\t")
        if not tab or not count.strip().isdecimal():
            raise TextError(
                "the line is no word, a tab and a count",
                where=f"{path}:{number}",
                hint="Write such a file with unrolled count --order 1",
            )
        if " " not in word and word not in SPECIALS:
            counts[word] = counts.get(word, 0) + int(count)
    total = sum(counts.values())
    return {
        word: math.log10(count / total) + PER_MILLION for word, count in counts.items() if count
    }
