"""Count and estimate a text whose ids are in a file, in phases that each fit in a given memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.level_files import LevelFiles, LevelWriter
from unrolled.scale.model_arrays import Source, trie_arrays
from unrolled.scale.passes import Passes
from unrolled.scale.windows import count_windows, gather_windows, partitions

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

NGRAM_BYTES = 56  # of memory for each n-gram of a part in a pass of estimation
MAX_PARTS = 200  # a file is open for each


def window_bytes(order: int) -> int:
    """Bytes of memory for each window that is counted at once."""
    return 4 * (order + 1) + 6 + 24


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
            ranges = partitions(word_counts, max(room // window_bytes(order), 1))
            for number, words in enumerate(ranges, 1):
                report(f"counting n-grams, part {number} of {len(ranges)}")
                windows, starts = gather_windows(blocks, word_counts, order, words, threads)
                for columns in count_windows(
                    windows, starts, words, word_bits(size), size, threads
                ):
                    writer.append(columns)
                del windows, starts, columns
    return writer.files


def estimation_parts(files: LevelFiles, room: int) -> list[tuple[int, int]]:
    """Ranges of first words whose n-grams of each length fit in ``room`` bytes of memory."""
    most = max(room // NGRAM_BYTES, int(files.by_word.sum(axis=1).max()) // MAX_PARTS + 1)
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
    passes = Passes(files, rules, estimation_parts(files, room), threads)
    report("estimating order 1")
    passes.unigrams(word_counts)
    for length in range(2, files.order + 1):
        report(f"estimating order {length}")
        passes.order(length)
    unigrams = passes.unigram_log_probs()
    pruned = bool(config.prune) and files.order > 1
    return trie_arrays(files, unigrams, pruned=pruned, threads=threads), rules
