"""Count and estimate a text whose ids are in a file, in phases that each fit in a given memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.level_files import LevelFiles, LevelWriter
from unrolled.scale.model_arrays import Source, trie_arrays
from unrolled.scale.parts import PartEstimator
from unrolled.scale.passes import estimate_order, remove_read, unigrams
from unrolled.scale.windows import count_windows, gather_windows, partitions
from unrolled.text.vocabulary import EOS

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

# Memory of a pass of estimation for each n-gram of a part; Katz has logarithms and sums besides.
NGRAM_BYTES, KATZ_BYTES = 64, 110
MAX_PARTS = 200  # a file is open for each
PIECES = 64 << 20  # bytes of columns that wait to be written while n-grams are counted


def windows_at_once(room: int, order: int, largest: int, threads: int) -> int:
    """How many windows can be counted at once in ``room`` bytes of memory.

    A window has order + 1 words, its place in sorted order and two marks; each thread sorts the
    windows of a word at a time, of which the most frequent has ``largest``, in 16 bytes for each.
    """
    return max((room - PIECES - 16 * threads * largest) // (4 * (order + 1) + 6), 1)


def count_levels(
    blocks: Callable[[], Iterable[Array]],
    word_counts: Array,
    order: int,
    *,
    folder: Path,
    room: int,
    threads: int,
    report: Report,
) -> LevelFiles:
    """Count the n-grams of a text into files, a range of first words at a time.

    Args:
        blocks: makes the ids of the text in pieces. word_counts: (V,) how often each word occurs.
        room: bytes of memory to use.
    """
    size = word_counts.size
    with LevelWriter(folder, order, size) as writer:
        if order > 1:
            largest = int(np.delete(word_counts, EOS).max())
            ranges = partitions(word_counts, windows_at_once(room, order, largest, threads))
            for number, words in enumerate(ranges, 1):
                report(f"counting n-grams, part {number} of {len(ranges)}")
                windows, starts = gather_windows(blocks, word_counts, order, words, threads)
                writer.extend(count_windows(windows, starts, word_bits(size), size, threads))
                del windows, starts
    return writer.files


def estimation_parts(files: LevelFiles, ngrams: int) -> list[tuple[int, int]]:
    """Ranges of first words with at most so many n-grams of each length each."""
    most = max(ngrams, int(files.by_word.sum(axis=1).max()) // MAX_PARTS + 1)
    ends = np.cumsum(files.by_word, axis=1)
    borders = [0]
    while borders[-1] < ends.shape[1]:
        done = ends[:, borders[-1] - 1] if borders[-1] else np.zeros(files.order, np.int64)
        border = min(
            int(np.searchsorted(row, before + most, side="right"))
            for row, before in zip(ends, done, strict=True)
        )
        borders.append(max(border, borders[-1] + 1))
    return list(pairwise(borders))


def estimated_arrays(
    files: LevelFiles,
    config: NgramConfig,
    word_counts: Array,
    *,
    room: int,
    threads: int,
    report: Report,
) -> tuple[dict[str, Source], Rules]:
    """The arrays of the model of counted n-grams, and what the smoothing took from the counts."""
    rules = Rules(config, word_counts.size)
    katz, pruned = config.smoothing == "katz", bool(config.prune) and files.order > 1
    in_flight = threads + 2  # parts that are read, estimated or written at a time
    parts = estimation_parts(files, room // ((KATZ_BYTES if katz else NGRAM_BYTES) * in_flight))
    report("estimating order 1")
    singles = unigrams(files, rules, word_counts)
    for length in range(2, files.order + 1):
        report(f"estimating order {length}")
        estimator = PartEstimator(rules, length, files.totals[length], singles)
        sums = estimate_order(files, parts, estimator, threads, lambda done: None)
        if sums is not None:
            singles = replace(singles, sums=sums)
        remove_read(files, length, len(parts), katz=katz, pruned=pruned)
    return trie_arrays(files, singles.log_probs, pruned=pruned, threads=threads), rules
