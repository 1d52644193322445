"""Spark: scores of a DataFrame's rows, and n-gram models trained on a cluster.

``unrolled.spark`` is this module. It needs the extra ``spark`` and Java, and on the executors an
installation of unrolled.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError, UnrolledError
from unrolled.ngram.editing.quantization import check_bits
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import ngram_config, repeated
from unrolled.scale.spark_counting import ClusterCounts, ClusterText, read_words
from unrolled.scale.spark_scoring import score
from unrolled.scale.spark_session import first_line, model_folder, spark_session
from unrolled.scale.spark_text import (
    column_blocks,
    is_url,
    pieces_of,
    read_pieces,
    url_blocks,
)
from unrolled.scale.spark_training import (
    PART_TOKENS,
    cluster_record,
    estimated_on_cluster,
)
from unrolled.scale.training import UnsavedModel, stored_settings
from unrolled.storage.atomic import check_target
from unrolled.storage.loading import load_as
from unrolled.storage.model_file import check_model_name
from unrolled.storage.shards import check_folder, write_shards
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.options import TextOptions, VocabularyLimits, training_record
from unrolled.text.sources import check_not_read
from unrolled.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from unrolled.text.sources import Sources

__all__ = ["score", "spark_session", "train_ngram", "train_ngram_files"]

Report = Callable[[str], None]


def train_ngram(
    dataframe: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    column: str,
    options: TextOptions | None = None,
    **training: Any,
) -> NgramModel:
    """Train an n-gram model on a column of a Spark DataFrame; the cluster counts and estimates.

    The model has the bytes that `unrolled.train_ngram` makes of the rows in the order of the
    DataFrame's partitions. The driver holds the vocabulary and writes the model.

    Args:
        dataframe: of a session whose executors have unrolled installed.
        output: the ``.safetensors`` file to make; by default one that goes with the process.
        column: holds the text, a sentence a row; null is an empty sentence.
        options: how text becomes tokens.
        training: ``min_count``, ``max_size``, ``words``, ``partitions`` (of the model; by default
            one for each four million tokens), ``shards`` (the output is a folder of files, which
            `unrolled.load` opens), ``quantize`` (8 to store probabilities in 8 bits),
            ``temporary`` (folder for the driver's files), ``report``, and the settings of
            `NgramConfig`.

    Returns:
        The model, opened from its file.

    Raises:
        SettingError: a setting that is not allowed, or no such column. TextError: an empty text,
            or one that cannot be read. UnrolledError: the cluster fails.

    Examples:
        ``unrolled.spark.train_ngram(spark.read.text("news"), "news.safetensors", column="value")``
    """
    types = dict(dataframe.dtypes)
    if types.get(column) != "string":
        raise SettingError(f"the DataFrame has no column '{column}' of text")
    blocks = column_blocks(dataframe, column)
    return _train(blocks, output, None, options or TextOptions(), **training)


def train_ngram_files(
    spark: Any,
    sources: Sources,
    output: str | os.PathLike[str],
    *,
    weights: Sequence[int] | None = None,
    options: TextOptions | None = None,
    **training: Any,
) -> NgramModel:
    """Train an n-gram model on files, which are read where the executors are.

    Args:
        spark: the session.
        sources: files and folders that every executor sees under the same names, or URLs of what
            Spark reads, such as ``hdfs://head/crawl/*.jsonl.gz``: text, JSONL or Parquet.
        weights: a whole number for each source: how many times it counts.
        output, options, training: as of `train_ngram`.

    Raises:
        As `train_ngram`.
    """
    options = options or TextOptions()
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    check_not_read(output, given)
    if any(is_url(source) for source in given):
        urls = [os.fspath(source) for source in repeated(given, weights)]
        try:
            blocks = url_blocks(spark, urls, options.field)
        except Exception as error:
            raise _as_sentence(error) from error
        return _train(blocks, output, given, options, **training)
    pieces = pieces_of(repeated(given, weights), options.field)
    blocks = spark.sparkContext.parallelize(pieces, len(pieces)).mapPartitions(read_pieces)
    return _train(blocks, output, given, options, **training)


def _train(
    blocks: Any,
    output: str | os.PathLike[str] | None,
    sources: Any,
    options: TextOptions,
    *,
    min_count: int = 0,
    max_size: int | None = None,
    words: Iterable[str] | None = None,
    partitions: int | None = None,
    shards: bool = False,
    quantize: int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    report: Report | None = None,
    **settings: Any,
) -> NgramModel:
    config, say = ngram_config(settings), report or (lambda stage: None)
    check_bits(quantize)
    if partitions is not None and not 1 <= partitions <= 60_000:
        raise SettingError(f"partitions is {partitions}, allowed are 1 to 60000")
    if output is None:
        output = model_folder() / f"{secrets.token_hex(8)}.safetensors"
    if shards:
        check_folder(output)
    else:
        check_model_name(os.fspath(output))
        check_target(os.fspath(output))
    limits = VocabularyLimits(min_count, max_size)
    given = None if words is None else Vocabulary.from_words(dict.fromkeys(words))
    text = ClusterText(blocks, options, given, limits)
    folder = Path(temporary or Path(output).absolute().parent)
    with WorkFolder(folder, {}) as work:
        try:
            say("counting words on the cluster")
            found = read_words(text)
            parts = partitions or max(found.tokens // PART_TOKENS, 2)
            say(f"counting n-grams on the cluster, in {parts} parts")
            counts = ClusterCounts(text, found, config.order, work.path, parts)
            counts.gather(bool(config.prune))
            arrays, rules = estimated_on_cluster(counts, config, say, quantized=bool(quantize))
        except Exception as error:
            raise _as_sentence(error) from error
        record = training_record(config, options, limits, texts=sources, threads=1)
        made = UnsavedModel(
            arrays, found.vocabulary, stored_settings(config, options, bool(quantize)),
            cluster_record(found, rules) | record,
        )  # fmt: skip
        say(f"writing {os.fspath(output)}")
        if shards:
            write_shards(output, **made.contents())
        else:
            made.save(output)
    return load_as(output, NgramModel, "use")


def _as_sentence(error: Exception) -> Exception:
    """What a task of the cluster raised, or that the cluster failed."""
    if isinstance(error, UnrolledError) or not type(error).__module__.startswith(
        ("py4j", "pyspark")
    ):
        return error
    return UnrolledError(f"Spark failed: {first_line(error)}")
