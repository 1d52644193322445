"""Text on a cluster: where its pieces are read, its vocabulary, and its windows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from unrolled.errors import TextError
from unrolled.scale.windows import overlapping
from unrolled.text.blocks import Block
from unrolled.text.corpus import OwnWords, own_words
from unrolled.text.options import TextOptions, VocabularyLimits
from unrolled.text.records import DEFAULT_FIELD, json_blocks
from unrolled.text.sources import (
    JSON_LINES,
    PARQUET,
    Sources,
    files_of,
    is_plain,
    raw_blocks,
    suffixes_of,
    whole_lines,
)
from unrolled.text.tokens import cut_blocks
from unrolled.text.vocabulary import EOS, Vocabulary
from unrolled.text.word_table import WordTable

Array = np.ndarray[Any, Any]

PIECE_BYTES = 64 << 20  # of a plain file that one task reads
CHUNK_BYTES = 128 << 10  # of rows that travel as one; Spark buffers a thousand of them


@dataclass(frozen=True)
class Piece:
    """Part of a file: the lines that begin between two bytes of it, or all of them."""

    path: str
    field: str | None
    start: int = 0
    stop: int | None = None

    def blocks(self) -> Iterator[Block]:
        """Its blocks, as of `raw_blocks`."""
        if self.stop is None:
            yield from raw_blocks(self.path, self.field)
            return
        with Path(self.path).open("rb") as file:
            end = _line_start(file, self.stop)
            at = _line_start(file, self.start)
            file.seek(at)
            for data in whole_lines(
                lambda size: file.read(min(size, end - file.tell())), self.path
            ):
                yield _LaterBlock(data, self.path, 1, at)
                at += len(data)


def _line_start(file: BinaryIO, place: int) -> int:
    """Where the first line begins at a place of a file or after it."""
    if place > 0:
        file.seek(place - 1)
        file.readline()
        return file.tell()
    return 0


class _LaterBlock(Block):
    """A block whose lines are only numbered for an error."""

    def place(self, line: int) -> str:
        with Path(self.source).open("rb") as file:
            before, left = 0, self.offset
            while left > 0 and (data := file.read(min(left, 1 << 24))):
                before, left = before + data.count(b"\n"), left - len(data)
        return f"{self.source}:{1 + before + line}"


def pieces_of(sources: Sources, field: str | None) -> list[Piece]:
    """The files of a text in their order, plain ones in pieces; every executor must see them.

    Raises:
        TextError: a file that does not exist, or standard input.
    """
    pieces = []
    for path in files_of(sources):
        if path is None:
            raise TextError("standard input cannot be read by a cluster", hint="Name files")
        name, size = str(path.absolute()), path.stat().st_size
        if not is_plain(path) or size <= PIECE_BYTES:
            pieces.append(Piece(name, field))
            continue
        starts = range(0, size, PIECE_BYTES)
        pieces += [Piece(name, field, at, min(at + PIECE_BYTES, size)) for at in starts]
    return pieces


def read_pieces(pieces: Iterable[Piece]) -> Iterator[Block]:
    """Blocks of pieces, one after another."""
    for piece in pieces:
        yield from piece.blocks()


def column_blocks(dataframe: Any, column: str, field: str | None = None) -> Any:
    """RDD of the blocks of a DataFrame's column of text, a line a row.

    Args:
        field: the rows are JSON objects, and this field of them has the text.
    """
    text = dataframe[column].cast("binary")  # the bytes of a file, which may be no UTF-8
    lines = dataframe.select(text.alias("lines")).mapInArrow(_joined_lines, "lines binary")
    blocks = lines.rdd.mapPartitionsWithIndex(_line_blocks)
    return blocks if field is None else blocks.mapPartitions(partial(json_blocks, field=field))


def url_blocks(spark: Any, urls: Sequence[str], field: str | None) -> Any:
    """RDD of the blocks of URLs that Spark reads, in their order; the suffixes tell formats."""
    return spark.sparkContext.union([_blocks_of_url(spark, url, field) for url in urls])


def _blocks_of_url(spark: Any, url: str, field: str | None) -> Any:
    kind, packed = suffixes_of(PurePosixPath(url))
    if kind == PARQUET and packed is None:
        return column_blocks(spark.read.parquet(url), field or DEFAULT_FIELD)
    lines = spark.read.option("lineSep", "\n").text(url)
    return column_blocks(lines, "value", field or DEFAULT_FIELD if kind in JSON_LINES else None)


def is_url(source: str | os.PathLike[str]) -> bool:
    """Whether a source is not a path but a URL, such as ``hdfs://head/crawl``."""
    return "://" in str(source)


def _joined_lines(batches: Iterable[Any]) -> Iterator[Any]:
    """Arrow batches of one binary column -> batches of one row: its lines."""
    import pyarrow as pa

    for batch in batches:
        lines = ((line or b"").replace(b"\n", b" ") for line in batch.column(0).to_pylist())
        data = b"".join(line + b"\n" for line in lines)
        yield pa.RecordBatch.from_arrays([pa.array([data], pa.binary())], ["lines"])


def _line_blocks(index: int, rows: Iterable[Any]) -> Iterator[Block]:
    """Blocks of a partition of a DataFrame whose rows are some lines each."""
    line = 1
    for row in rows:
        data = bytes(row[0])
        yield Block(data, f"partition {index} of the DataFrame", line)
        line += data.count(b"\n")


@dataclass(frozen=True)
class CountedWords:
    """The words of one part of a text by first appearance: counts of ids, specials first."""

    spaced: bytes
    counts: Array
    sentences: int
    ids: int
    oov: int = 0


def count_words(
    blocks: Iterable[Block], options: TextOptions, vocabulary: Vocabulary | None
) -> CountedWords:
    """Count the words of a part of a text, with its own vocabulary or a given one."""
    sentences = ids = oov = 0
    if vocabulary is None:
        table = WordTable()
        for block in cut_blocks(blocks, options):
            ids += table.count(block.data, options.specials, block.place).size
            sentences += table.last_sentences
        return CountedWords(table.spaced(3, table.words), table.counts.copy(), sentences, ids)
    counts = np.zeros(len(vocabulary), np.int64)
    for block in cut_blocks(blocks, options):
        found = vocabulary.encode_block(block.data, specials=options.specials, place=block.place)
        counts += np.bincount(found.ids, minlength=counts.size)
        sentences, ids, oov = sentences + found.sentences, ids + found.ids.size, oov + found.oov
    return CountedWords(b"", counts, sentences, ids, oov)


def merged_words(parts: Sequence[CountedWords], limits: VocabularyLimits) -> OwnWords:
    """The vocabulary of a text from the words of its parts, in their order."""
    merged = WordTable()
    places = [merged.count(part.spaced, "keep")[1:-1].copy() for part in parts]
    merged.counts[:] = 0
    for part, ids in zip(parts, places, strict=True):
        merged.counts[:3] += part.counts[:3]
        merged.counts[ids] += part.counts[3:]
    sentences = sum(part.sentences for part in parts)
    return own_words(merged, limits.min_count, limits.vocabulary_size, sentences)


def sent_windows(
    index: int,
    blocks: Iterable[Block],
    vocabulary: Vocabulary,
    options: TextOptions,
    order: int,
    part_of: Array,
) -> Iterator[tuple[int, tuple[tuple[int, int], Array]]]:
    """The windows of a part of a text, for the part of the model that their first word is in.

    A row is (part of the model, ((part of the text, number), windows (W, order + 1))).
    """
    ids = (
        vocabulary.encode_block(block.data, specials=options.specials, place=block.place).ids
        for block in cut_blocks(blocks, options)
    )
    number, rows = 0, max(CHUNK_BYTES // (4 * (order + 1)), 1)
    for text, begin, end in overlapping(ids, order):
        parts = np.where(text[begin:end] == EOS, part_of.max() + 1, part_of[text[begin:end]])
        places = np.argsort(parts, kind="stable")
        ends = np.searchsorted(parts[places], np.arange(int(part_of.max()) + 2))
        every = np.lib.stride_tricks.sliding_window_view(text, order + 1)
        for part in range(ends.size - 1):
            for start in range(ends[part], ends[part + 1], rows):
                chosen = places[start : min(start + rows, ends[part + 1])] + (begin - 1)
                yield part, ((index, number), every[chosen])
                number += 1


def even_parts(word_counts: Array, parts: int) -> Array:
    """The part (V,) uint16 of the model that each first word is in, about even in windows."""
    sizes = word_counts.astype(np.int64)
    sizes[EOS] = 0
    ends = np.cumsum(sizes)
    wanted = ends[-1] * np.arange(1, parts) / parts
    part_of = np.searchsorted(wanted, ends - sizes, side="right")
    return np.unique(part_of, return_inverse=True)[1].astype(np.uint16)  # none is empty
