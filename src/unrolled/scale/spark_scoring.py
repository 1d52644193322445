"""Scores of the rows of a Spark DataFrame, computed on Arrow batches where the rows are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import MissingExtraError, SettingError
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.scale.spark_session import ship_model, shipped_model
from unrolled.storage.loading import load_as, require_kind
from unrolled.text.tokens import tokenise
from unrolled.text.vocabulary import BOS, UNK

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]

COLUMNS = {"perplexity": "double", "log_prob": "double", "tokens": "long", "oov": "long"}


def score(
    dataframe: Any,
    column: str,
    model: LanguageModel | str | os.PathLike[str],
    *,
    options: TextOptions | None = None,
) -> Any:
    """Add a language model's scores to each row of a Spark DataFrame.

    The model's file goes to each executor once and is mapped into memory there. Every row is one
    sentence; a row whose text is null has null scores.

    Args:
        dataframe: of a session with executors that have unrolled installed.
        column: holds the text.
        model: a language model, or its file.
        options: how text becomes tokens; by default as the model's training text.

    Returns:
        The DataFrame with four columns more: ``perplexity``, ``log_prob`` (natural logarithm, </s>
        included), ``tokens`` (</s> counted) and ``oov`` (words that the model does not know).

    Raises:
        MissingExtraError: pyspark or pyarrow is not installed. SettingError: no such column, one
            that holds no text, or names that exist already. NotNormalisedError: stupid back-off.

    Examples:
        ``unrolled.spark.score(spark.read.text("news.txt"), "value", "news.safetensors").show()``
    """
    try:
        import pyarrow  # noqa: F401
        from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType
    except ImportError:
        raise MissingExtraError("spark", "pyspark and pyarrow") from None
    opened = (
        load_as(model, LanguageModel, "score") if isinstance(model, (str, os.PathLike)) else model
    )
    require_kind(opened, LanguageModel, "score")
    require_normalised(opened, "perplexity")
    types = {field.name: field.dataType for field in dataframe.schema.fields}
    if column not in types or types[column] != StringType():
        raise SettingError(f"the DataFrame has no column '{column}' of text")
    taken = [name for name in COLUMNS if name in types]
    if taken:
        raise SettingError(
            f"the DataFrame has a column '{taken[0]}' already", hint="Rename it before scoring"
        )
    kinds = {"double": DoubleType(), "long": LongType()}
    added = [StructField(name, kinds[kind]) for name, kind in COLUMNS.items()]
    name = ship_model(dataframe.sparkSession, opened)
    chosen = replace(options or opened.text_options, invalid="replace")

    def scored(batches: Iterable[Any]) -> Iterator[Any]:
        return _scored(batches, column, name, chosen)

    return dataframe.mapInArrow(scored, StructType([*dataframe.schema.fields, *added]))


def _scored(batches: Iterable[Any], column: str, name: str, options: TextOptions) -> Iterator[Any]:
    import pyarrow as pa

    model = require_kind(shipped_model(name), LanguageModel, "score")
    for batch in batches:
        texts = batch.column(batch.schema.get_field_index(column))
        perplexity, log_prob, tokens, oov = sentence_scores(model, texts, options)
        missing = np.asarray(texts.is_null()) if texts.null_count else None
        arrays = [pa.array(values, mask=missing) for values in (perplexity, log_prob, tokens, oov)]
        yield pa.RecordBatch.from_arrays(
            [*batch.columns, *arrays], names=[*batch.schema.names, *COLUMNS]
        )


def sentence_scores(
    model: LanguageModel, texts: Any, options: TextOptions
) -> tuple[Array, Array, Array, Array]:
    """Perplexity, log-probability, tokens and OOVs of each text of an Arrow array, all (N,)."""
    if len(texts) == 0:
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    ids, starts = _encoded(model, texts, options)
    with model.use_threads(1):
        log_probs = model.checked(model.log_probs(ids))
    sums = np.add.reduceat(log_probs, starts, dtype=np.float64)
    oov = np.add.reduceat(ids == UNK, starts, dtype=np.int64)
    tokens = np.diff(np.append(starts, ids.size)) - 1
    with np.errstate(over="ignore"):
        return np.exp(-sums / tokens), sums, tokens, oov


def _encoded(model: LanguageModel, texts: Any, options: TextOptions) -> tuple[Array, Array]:
    """Ids of all texts, each as <s> words </s>, and where each begins."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lines = pc.replace_substring(pc.fill_null(texts, ""), "\n", " ")
    ends = pa.array([0, len(lines)], pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(ends, lines), "\n")[0].as_buffer()
    data = tokenise(joined.to_pybytes() + b"\n", options)
    ids = model.vocabulary.encode_block(data, specials="keep").ids
    starts = np.flatnonzero(ids == BOS)
    if starts.size != len(texts):  # a text holds a literal <s>
        parts = [
            model.vocabulary.encode_block(line + b"\n", specials="keep").ids
            for line in data.removesuffix(b"\n").split(b"\n")
        ]
        sizes = np.array([part.size for part in parts])
        ids, starts = np.concatenate(parts), np.cumsum(sizes) - sizes
    return ids, starts
