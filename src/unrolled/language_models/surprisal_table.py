"""A table of surprisals, a row a word, from a table of stimuli."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from unrolled.errors import MissingExtraError, SettingError
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.language_models.stimuli import Sentence, StimulusOptions, sentences_of_table
from unrolled.language_models.unknown_words import Unknown, UnknownWords, unknown_words
from unrolled.settings import configure
from unrolled.storage.loading import load_as
from unrolled.text.alignment import owners_of_tokens
from unrolled.text.options import TextOptions
from unrolled.text.tables import Table
from unrolled.text.vocabulary import BOS, UNK

Array = np.ndarray[Any, Any]
Models = LanguageModel | str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any]
Result = dict[str, Any]

_BATCH = 1000  # sentences scored at a time
_PER_MILLION = 6.0  # log10


class SurprisalTable:
    """The rows of `surprisal_table`, in which each is a dictionary; they are made as they are read.

    Attributes:
        columns: the names of all columns in their order, once the first row is read.
    """

    def __init__(self, rows: Iterator[Result], columns: list[str]) -> None:
        self._rows, self.columns = rows, columns

    def __iter__(self) -> Iterator[Result]:
        return self._rows

    def to_pandas(self) -> Any:
        """The rows as a DataFrame of pandas.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("tables", "pandas") from None
        rows = list(self)
        return pandas.DataFrame(rows, columns=self.columns)


def surprisal_table(
    models: Models,
    table: Table,
    *,
    options: TextOptions | Sequence[TextOptions] | None = None,
    unknown: Unknown = "class",
    eos: bool = False,
    entropy: bool = True,
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
      n-gram model of words. Kneser-Ney's unigrams count the different words before a word.

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
    scorers = [
        _Scorer(
            model, own or model.text_options, f"_{name}" if len(given) > 1 else "",
            unknown_words(unknown, model), entropy=entropy, threads=threads,
        )
        for (name, model), own in zip(given.items(), each, strict=True)
    ]  # fmt: skip
    sentences = sentences_of_table(table, chosen)
    columns: list[str] = []
    rows = _rows(sentences, scorers, chosen, eos, columns, progress)
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


@dataclass(frozen=True)
class _Scores:
    """What a model gives to N words of sentences, and to the S ends of these.

    surprisal, entropy, next_entropy: (N + S,) float64 bits, NaN where there is none; each
    sentence's words, then its end. oov: (N + S,) bool. log_frequency: (N + S,) float64.
    """

    surprisal: Array
    entropy: Array
    next_entropy: Array
    oov: Array
    log_frequency: Array

    def part(self, start: int, stop: int) -> _Scores:
        """Those of a slice."""
        return _Scores(*(getattr(self, each.name)[start:stop] for each in fields(self)))


class _Scorer:
    """A model, and how its tokens become words."""

    def __init__(
        self,
        model: LanguageModel,
        options: TextOptions,
        suffix: str,
        unknown: UnknownWords,
        *,
        entropy: bool,
        threads: int,
    ) -> None:
        self.model, self.options, self.suffix, self.unknown = model, options, suffix, unknown
        self.entropy, self.threads = entropy, threads
        unigrams = model.unigram_log_probs() if self.options.tokens == "word" else None
        self.frequencies = None
        if unigrams is not None:
            self.frequencies = unigrams.astype(np.float64) / math.log(10) + _PER_MILLION

    @property
    def columns(self) -> list[str]:
        """Names of its columns."""
        names = ["surprisal"]
        names += ["entropy", "next_entropy"] if self.entropy else []
        names += ["oov"]
        names += ["log_frequency"] if self.frequencies is not None else []
        return [name + self.suffix for name in names]

    def scores(self, sentences: Sequence[Sentence]) -> _Scores:
        """Scores of the words of sentences."""
        seen = [self._seen(sentence) for sentence in sentences]
        scored = self.model.token_scores(
            [text for text, _ in seen], threads=self.threads, options=self.options
        )
        starts = scored.starts
        sizes = np.array([len(sentence.words) + 1 for sentence in sentences])
        firsts = np.cumsum(sizes) - sizes
        owners = np.full(scored.ids.size, -1, np.int64)
        for number, (_, own) in enumerate(seen):
            low = starts[number] + 1
            owners[low : low + own.size] = own + firsts[number]
            owners[starts[number + 1] - 1] = firsts[number] + sizes[number] - 1
        log_probs = self.unknown.log_probs(scored.log_probs, scored.oov)
        return self._summed(scored.ids, log_probs, owners, int(sizes.sum()))

    def _seen(self, sentence: Sentence) -> tuple[str, Array]:
        """The text that the model sees, and the word of each of its tokens."""
        words = np.array([word.start for word in sentence.words], np.int64)
        if sentence.spaced is None or self.options.tokens != "word":
            own = owners_of_tokens(sentence.text, sentence.words, self.options)
            return sentence.text, own
        text, placed = _spaced(sentence.spaced)
        of_unit = np.searchsorted(words, [unit.start for unit in sentence.spaced], "right") - 1
        return text, of_unit[owners_of_tokens(text, placed, self.options)]

    def _summed(self, ids: Array, log_probs: Array, owners: Array, size: int) -> _Scores:
        places = np.flatnonzero(owners >= 0)
        own = owners[places]
        bits = -log_probs[places].astype(np.float64) / math.log(2)
        surprisal = np.bincount(own, bits, size)
        counts = np.bincount(own, minlength=size)
        surprisal[counts == 0] = np.nan
        first, last = np.full(size, -1), np.full(size, -1)
        first[own[::-1]], last[own] = places[::-1], places
        missing = counts == 0
        entropy = next_entropy = np.full(size, np.nan)
        if self.entropy:
            with self.model.use_threads(self.threads):
                values = self.model.entropies(ids) / math.log(2)
            after = np.append(np.where(ids[1:] == BOS, np.nan, values[1:]), np.nan)
            entropy = np.where(missing, np.nan, values[first])
            next_entropy = np.where(missing, np.nan, after[last])
        oov = np.bincount(own, ids[places] == UNK, size) > 0
        if self.unknown.skipped:
            surprisal[oov] = np.nan
        frequency = np.full(size, np.nan)
        if self.frequencies is not None:
            single = counts == 1
            frequency[single] = self.frequencies[ids[first[single]]]
            frequency[oov | ~np.isfinite(frequency)] = np.nan
        return _Scores(surprisal, entropy, next_entropy, oov, frequency)


def _spaced(units: Sequence[Any]) -> tuple[str, list[Any]]:
    """Tokens joined by spaces, and the same tokens with their places there."""
    placed, at = [], 0
    for unit in units:
        placed.append(unit._replace(start=at, end=at + len(unit.text)))
        at += len(unit.text) + 1
    return " ".join(unit.text for unit in units), placed


def _rows(
    sentences: Iterator[Sentence],
    scorers: list[_Scorer],
    chosen: StimulusOptions,
    eos: bool,
    columns: list[str],
    progress: Callable[[int], None] | None,
) -> Iterator[Result]:
    """The rows of the table; ``columns`` gets their names."""
    layout = _Layout(scorers, chosen, eos)
    while batch := list(islice(sentences, _BATCH)):
        scores = [scorer.scores(batch) for scorer in scorers]
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


class _Layout:
    """How scores become rows."""

    def __init__(self, scorers: list[_Scorer], chosen: StimulusOptions, eos: bool) -> None:
        self.scorers, self.chosen, self.eos = scorers, chosen, eos
        self.numbers = ["row"]
        self.numbers += ["sentence_number"] if chosen.sentences != "one" else []
        self.numbers += ["region_number"] if chosen.has_regions else []
        own = [*self.numbers, "position", "word", "length"]
        self.own = {*own, *chain.from_iterable(scorer.columns for scorer in scorers)}

    def rows(self, sentence: Sentence, scores: list[_Scores]) -> Iterator[Result]:
        """The rows of a sentence; scores of its words and of its end."""
        lists = [
            (name, _listed(getattr(each, name.removesuffix(scorer.suffix))))
            for scorer, each in zip(self.scorers, scores, strict=True)
            for name in scorer.columns
        ]
        values: Mapping[str, Any] = {}
        for rank, word in enumerate(sentence.words):
            values = word.values
            row = self._first(values, sentence, word.region + 1)
            row |= {"position": rank + 1, "word": word.text, "length": len(word.text)}
            yield row | {name: each[rank] for name, each in lists}
        if self.eos and sentence.words:
            row = self._first(values, sentence, None)
            row |= {"position": len(sentence.words) + 1, "word": "</s>", "length": None}
            yield row | {name: each[-1] for name, each in lists}

    def _first(self, values: Mapping[str, Any], sentence: Sentence, region: int | None) -> Result:
        """The columns of the input, renamed where one has the name of a column of ours."""
        row: Result = {f"input_{k}" if k in self.own else k: v for k, v in values.items()}
        numbers = {"row": sentence.row, "sentence_number": sentence.number, "region_number": region}
        return row | {name: numbers[name] for name in self.numbers}


def _listed(values: Array) -> list[Any]:
    if values.dtype == bool:
        return list(map(int, values.tolist()))
    return [None if value != value else value for value in values.tolist()]
