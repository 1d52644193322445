"""Documents in memory: rows one by one, or columns as Hugging Face's `datasets` passes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import numpy as np

from unrolled.documents.annotation import Annotation, Annotator, Judgement
from unrolled.documents.buckets import FIELD
from unrolled.errors import SettingError, TextError
from unrolled.language_models.protocol import LanguageModel
from unrolled.runtime.threads import run_ahead
from unrolled.settings import check_names
from unrolled.storage.loading import load_as

Array = np.ndarray[Any, Any]
Model = LanguageModel | str | os.PathLike[str]
Row = dict[str, Any]


def annotate(
    rows: Iterable[Mapping[str, Any]],
    *models: Model,
    batch: int = 1000,
    threads: int = 2,
    **settings: Any,
) -> Iterator[Row]:
    """Rows with the scores of language models in new fields, in their order.

    Args:
        rows: documents, of which one field is the text; read a few batches ahead.
        models: language models or their files.
        batch: rows scored at a time.
        threads: that may be used.
        settings: of `Annotation`, such as ``by="worst"`` or ``keep="perplexity < 800"``.

    Yields:
        Copies of the rows with the new fields; those only that are kept.

    Raises:
        TextError: a row without a text, with its number, from 1. SettingError: a setting that is
            not allowed, or a row that has one of the new fields already.

    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
    >>> list(annotate([{"id": 7, "text": "the cat"}, {"text": "a dog"}], model, keep="oov == 0"))
    [{'id': 7, 'text': 'the cat', 'perplexity': 2.872181, 'log_prob': -3.165215,
      'tokens': 3, 'oov': 0}]
    """
    annotator = _annotator(models, settings, threads)

    def task(numbered: tuple[int, list[Mapping[str, Any]]]) -> list[Row]:
        first, some = numbered
        field = annotator.annotation.field
        texts = [row.get(field) for row in some]
        judged = _judge(annotator, texts, first)
        _refuse_existing(annotator, {name for row in some for name in row})
        columns = _columns(annotator, judged)
        new = zip(*columns.values(), strict=True)
        found = zip(some, new, judged.kept.tolist(), strict=True)
        return [
            {**row, **dict(zip(columns, values, strict=True))}
            for row, values, kept in found
            if kept
        ]

    with annotator.scorer.at_once() as at_once:
        batches = _numbered(rows, max(batch, 1))
        results = map(task, batches) if at_once == 1 else run_ahead(task, batches, threads)
        for some in results:
            yield from some


class BatchAnnotator:
    """A function for ``datasets.Dataset.map(..., batched=True)``: columns in, new columns out.

    With a condition (``keep``) all columns come back, without the rows that are not kept. For
    several processes (``num_proc``) the models must be in files.

    Args:
        models: language models or their files.
        settings: of `Annotation`.

    Raises:
        SettingError: a setting that is not allowed.

    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
    >>> BatchAnnotator(model, by="worst")({"text": ["the cat", "a dog"]})["oov"]
    [0, 2]
    """

    def __init__(self, *models: Model, **settings: Any) -> None:
        self._annotator = _annotator(models, settings, 1)

    def __call__(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The new columns of a batch.

        Raises:
            TextError: the column of texts is missing, or has a value that is no text.
            SettingError: a new column is there already.
        """
        annotation = self._annotator.annotation
        if annotation.field not in columns:
            known = ", ".join(map(repr, columns))
            raise TextError(f"the column {annotation.field!r} is missing among {known}")
        _refuse_existing(self._annotator, columns)
        judged = _judge(self._annotator, columns[annotation.field], 1)
        found = _columns(self._annotator, judged)
        if annotation.keep is None:
            return found
        every = {**columns, **found}
        return {name: [*_kept(values, judged.kept)] for name, values in every.items()}


def _annotator(models: Sequence[Model], settings: Mapping[str, Any], threads: int) -> Annotator:
    check_names(settings, more=[field.name for field in fields(Annotation)])
    given = dict(settings)
    for name in ("names", "buckets", "shares"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    opened = [
        load_as(model, LanguageModel, "annotate")
        if isinstance(model, (str, os.PathLike))
        else model
        for model in models
    ]
    annotator = Annotator(opened, Annotation(**given), threads)
    if annotator.needs_cutoffs:
        raise SettingError(
            "the cut-offs of buckets take a first pass",
            hint="Give them as a file with cutoffs, as annotate_file and unrolled annotate save it",
        )
    return annotator


def _numbered(
    rows: Iterable[Mapping[str, Any]], size: int
) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """Batches of rows with the number of the first one, from 1."""
    remaining, first = iter(rows), 1
    while some := list(islice(remaining, size)):
        yield first, some
        first += len(some)


def _judge(annotator: Annotator, texts: Sequence[Any], first: int) -> Judgement:
    for number, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise TextError(
                f"the field {annotator.annotation.field!r} is {type(text).__name__}, not a string",
                where=f"row {number}",
            )
    data = "".join(f"{text}\n" for text in texts).encode(errors="replace")
    return annotator.judge(data, np.array([text.count("\n") + 1 for text in texts], np.int64))


def _refuse_existing(annotator: Annotator, names: Iterable[str]) -> None:
    existing = [name for name in annotator.new_fields if name in names]
    if existing and not annotator.annotation.overwrite:
        raise SettingError(
            f"the rows have the field {existing[0]!r} already",
            hint="Replace it with overwrite=True, or name the new ones with names",
        )


def _columns(annotator: Annotator, judged: Judgement) -> dict[str, list[Any]]:
    """The new fields of all documents."""
    scores, columns = judged.scores, {}
    for name, integer, values in zip(
        annotator.names, annotator.scorer.integers, scores.values, strict=True
    ):
        numbers = values.astype(np.int64).tolist() if integer else values.tolist()
        if annotator.annotation.by == "paragraph":
            numbers = [numbers[start:stop] for start, stop in scores.bounds.tolist()]
        columns[name] = numbers
    if annotator.buckets is not None:
        columns[FIELD] = [annotator.buckets.names[number] for number in judged.buckets.tolist()]
    return columns


def _kept(values: Sequence[Any], kept: Array) -> Iterator[Any]:
    return (value for value, keep in zip(values, kept.tolist(), strict=True) if keep)
