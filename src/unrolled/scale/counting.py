"""Count the n-grams of a text into a count file, within a budget of memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from unrolled.ngram.counts.count_files import write_counts, write_order
from unrolled.ngram.counts.counting import NgramCounts, Occurrences, count_ngrams
from unrolled.runtime.threads import return_memory
from unrolled.scale.budget import Budget
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.part_shapes import OutputPart, part_shapes, parts_within
from unrolled.scale.reading import Run, TextReading, read_within
from unrolled.storage.atomic import atomic_write, check_target
from unrolled.text.options import TextOptions
from unrolled.text.sources import Sources, check_not_read
from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]


def count_into_file(
    sources: Sources,
    output: str | os.PathLike[str],
    *,
    order: int = 5,
    memory: str | int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    resume: bool = False,
    options: TextOptions | None = None,
    threads: int = 2,
    report: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the counts of all n-grams of a text, see `write_counts`; the file is the same as its.

    Args:
        sources: files, folders or "-". output: the count file.
        order: longest n-gram.
        memory, temporary, resume: as those of `train_ngram_file`.
        options: how text becomes tokens.
        threads, report, progress: as those of `train_ngram`.

    Raises:
        TextError: a text that is empty or cannot be read. SettingError: too small a budget.
        UnrolledError: the disk is full.
    """
    say = report or (lambda stage: None)
    check_target(os.fspath(output))
    check_not_read(output, sources)
    run = Run(Budget(memory), order, threads, say, progress)
    reading = TextReading(sources, options or TextOptions())
    with read_within(reading, run, output, temporary, {"count": order}, resume) as text:
        corpus = text.corpus
        vocabulary = corpus.vocabulary
        if text.ids.column is None:
            return_memory()
            counts = count_ngrams(
                corpus.take_ids(), order, len(vocabulary), threads=threads, report=report
            )
            say(f"writing {os.fspath(output)}")
            write_counts(counts, vocabulary, output)
            return
        files = text.levels()
        text.clock.all_counted(files)
        text.clock.phase(f"writing {os.fspath(output)}")
        write_columns(files, corpus.word_counts, vocabulary, text.room(counted=True), output)


def write_columns(
    files: LevelFiles,
    word_counts: Array,
    vocabulary: Vocabulary,
    room: int,
    output: str | os.PathLike[str],
) -> None:
    """Write the counts of columns in files as a count file.

    Args:
        word_counts: (V,) how often each word occurs. room: bytes of memory to use.
    """
    parts = parts_within(files, room)
    with atomic_write(output) as file:
        for length in range(1, files.order + 1):
            for counts in _counts(files, word_counts, length, parts):
                write_order(file, counts, vocabulary, length)


def _counts(
    files: LevelFiles, word_counts: Array, length: int, parts: list[OutputPart]
) -> Iterator[NgramCounts]:
    """The n-grams of one length, a part at a time, as tries of their own."""
    with ExitStack() as stack:
        if length > 1:
            occurrences = stack.enter_context(files.occurrences(length).reader())
        for (low, high), shape in part_shapes(files, length, parts):
            own = word_counts[low:high] if length == 1 else occurrences.read(shape.size(length))
            yield NgramCounts(
                shape.levels, shape.words, shape.bits, shape.first, np.empty(0, np.uint32),
                _constant(own.astype(np.uint32)),
            )  # fmt: skip


def _constant(values: Array) -> Occurrences:
    """The counts of a trie whose longest n-grams alone are asked for."""

    def occurrences(_length: int, _words: Any, _out: Any) -> Array:
        return values

    return occurrences
