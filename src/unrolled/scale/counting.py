"""Count the n-grams of a text into a count file, within a budget of memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from unrolled.ngram.counts.count_files import write_counts, write_order
from unrolled.ngram.counts.counting import NgramCounts, Occurrences, count_ngrams
from unrolled.ngram.trie.layout import word_bits
from unrolled.ngram.trie.packing import pack_words
from unrolled.runtime.threads import return_memory
from unrolled.scale.budget import Budget
from unrolled.scale.estimator import estimation_parts
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.reading import Run, TextReading, read_within
from unrolled.storage.atomic import atomic_write, check_target
from unrolled.text.options import TextOptions
from unrolled.text.sources import Sources
from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]

NODE_BYTES = 40  # of memory for each n-gram of a part, of one length


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
        _write(files, corpus.word_counts, vocabulary, text.room(counted=True), output)


def _write(
    files: LevelFiles,
    word_counts: Array,
    vocabulary: Vocabulary,
    room: int,
    output: str | os.PathLike[str],
) -> None:
    parts = estimation_parts(files, room // (NODE_BYTES * files.order))
    with atomic_write(output) as file:
        for length in range(1, files.order + 1):
            for counts in _counts(files, word_counts, length, parts):
                write_order(file, counts, vocabulary, length)


def _counts(
    files: LevelFiles, word_counts: Array, length: int, parts: list[tuple[int, int]]
) -> Iterator[NgramCounts]:
    """The n-grams of one length, a part at a time, as tries of their own."""
    bits = word_bits(word_counts.size)
    with ExitStack() as stack:
        opened = stack.enter_context
        words = [opened(files.words(k).reader()) for k in range(2, length + 1)]
        children = [opened(files.children(k).reader()) for k in range(2, length)]
        if length > 1:
            occurrences = opened(files.occurrences(length).reader())
        for low, high in parts:
            sizes = [int(files.sizes(k, (low, high)).sum()) for k in range(1, length + 1)]
            levels = np.cumsum([0, *sizes], dtype=np.int64)
            last = [np.arange(low, high, dtype=np.int32)]
            last += [reader.read(size) for reader, size in zip(words, sizes[1:], strict=True)]
            first = [files.by_word[1, low:high]] if length > 1 else []
            pairs = zip(children, sizes[1:-1], strict=True)
            first += [reader.read(size) for reader, size in pairs]
            ends = np.cumsum(np.concatenate([[high - low], *first]), dtype=np.int64)
            own = word_counts[low:high] if length == 1 else occurrences.read(sizes[-1])
            packed = pack_words(np.concatenate(last), bits)
            yield NgramCounts(
                levels, packed, bits, ends.astype(np.uint32), np.empty(0, np.uint32),
                _constant(own.astype(np.uint32)),
            )  # fmt: skip


def _constant(values: Array) -> Occurrences:
    """The counts of a trie whose longest n-grams alone are asked for."""

    def occurrences(_length: int, _words: Any, _out: Any) -> Array:
        return values

    return occurrences
