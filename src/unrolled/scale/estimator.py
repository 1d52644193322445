"""Count and estimate a text whose ids are in a file, in phases that each fit in a given memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.budget import check_disk
from unrolled.scale.clock import Clock
from unrolled.scale.level_files import LevelFiles, LevelWriter
from unrolled.scale.model_arrays import Source, trie_arrays
from unrolled.scale.parts import PartEstimator, Unigrams
from unrolled.scale.passes import estimate_order, remove_read, unigrams, whole_histories
from unrolled.scale.windows import PIECE, count_windows, gather_windows, partitions
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.vocabulary import EOS

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

# Memory of a pass of estimation for each n-gram of a part; Katz has logarithms and sums besides.
NGRAM_BYTES, KATZ_BYTES = 64, 110
MAX_PARTS = 200  # a file is open for each
PIECE_BYTES = 14  # of columns that wait to be written, for a window and each word of the order
MOST_RANGES = 128  # the text is read once for each


def least_to_count(word_counts: Array, order: int, threads: int) -> int:
    """Bytes of memory without which a text cannot be counted."""
    counts = np.delete(word_counts, EOS)
    largest = int(counts.max(initial=0))
    at_once = max(largest, int(counts.sum()) // MOST_RANGES)
    of_words = 16 * order * word_counts.size  # how many n-grams each first word begins
    return _fixed_bytes(order, largest, threads) + at_once * _window_bytes(order) + of_words


def least_to_estimate(word_counts: Array, config: NgramConfig, threads: int) -> int:
    """Bytes of memory without which counted n-grams cannot be estimated."""
    counts = np.delete(word_counts, EOS)
    in_parts = int(counts.sum()) // MAX_PARTS * (threads + 2)
    return max(int(counts.max(initial=0)), in_parts) * ngram_bytes(config)


def ngram_bytes(config: NgramConfig) -> int:
    """Memory of a pass of estimation for each n-gram that is under way."""
    return KATZ_BYTES if config.smoothing == "katz" else NGRAM_BYTES


def _window_bytes(order: int) -> int:
    """A window has order + 1 words, its place in sorted order, and two marks."""
    return 4 * (order + 1) + 6


def _fixed_bytes(order: int, largest: int, threads: int) -> int:
    """Pieces that wait, and 16 bytes for each window of the most frequent word for each thread."""
    return (threads + 2) * PIECE * PIECE_BYTES * order + 16 * threads * largest


def count_levels(
    blocks: Callable[[], Iterable[Array]],
    word_counts: Array,
    order: int,
    *,
    folder: WorkFolder,
    room: int,
    threads: int,
    clock: Clock,
) -> LevelFiles:
    """Count the n-grams of a text into files, a range of first words at a time.

    Args:
        blocks: makes the ids of the text in pieces. word_counts: (V,) how often each word occurs.
        folder: where the files go; counts that it has already are not made again.
        room: bytes of memory to use.
        clock: reports phases.
    """
    if folder.has("counts"):
        stored = folder.arrays("counts")
        return LevelFiles(folder.path, order, stored["by_word"], stored["totals"])
    size = word_counts.size
    with LevelWriter(folder.path, order, size) as writer:
        if order > 1:
            largest = int(np.delete(word_counts, EOS).max())
            left = room - _fixed_bytes(order, largest, threads)
            ranges = partitions(word_counts, max(left // _window_bytes(order), 1))
            for number, words in enumerate(ranges, 1):
                clock.phase(f"counting n-grams, part {number} of {len(ranges)}")
                windows, starts = gather_windows(blocks, word_counts, order, words, threads)
                writer.extend(count_windows(windows, starts, word_bits(size), size, threads))
                del windows, starts
                clock.counted(int(word_counts[words[0] : words[1]].sum()) / int(word_counts.sum()))
    files = writer.files
    folder.finish("counts", {}, {"by_word": files.by_word, "totals": files.totals})
    return files


def estimation_parts(files: LevelFiles, ngrams: int) -> list[Words]:
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
    folder: WorkFolder,
    room: int,
    threads: int,
    clock: Clock,
) -> tuple[dict[str, Source], Rules]:
    """The arrays of the model of counted n-grams, and what the smoothing took from the counts.

    Args:
        folder: has the files; orders that are finished there are not estimated again.
        room: bytes of memory to use.
        clock: reports phases.
    """
    clock.all_counted(files)
    rules = Rules(config, word_counts.size)
    katz, pruned = config.smoothing == "katz", bool(config.prune) and files.order > 1
    at_once = room // ngram_bytes(config)
    finished = 0
    while folder.has(f"order {finished + 1}"):
        finished += 1
    if finished:
        parts, singles = _resume(folder, finished, rules)
    else:
        # So many parts are read, estimated or written at a time.
        parts = estimation_parts(files, at_once // (threads + 2))
        clock.phase("estimating order 1")
        singles = unigrams(files, rules, word_counts)
        _finish(folder, 1, parts, singles, rules)
    for length in range(max(finished, 1) + 1, files.order + 1):
        clock.phase(f"estimating order {length}")
        if rules.leaves_one_out:
            rules.choose_delta(length, whole_histories(files, parts, length))
        estimator = PartEstimator(rules, length, files.totals[length], singles)
        sums = estimate_order(files, parts, estimator, at_once, threads, clock.estimated)
        if sums is not None:
            singles = replace(singles, sums=sums)
        _finish(folder, length, parts, singles, rules)
        remove_read(files, length, len(parts), katz=katz, pruned=pruned)
    return trie_arrays(files, singles.log_probs, pruned=pruned, threads=threads), rules


def _finish(
    folder: WorkFolder, length: int, parts: list[Words], singles: Unigrams, rules: Rules
) -> None:
    """Record an order as finished."""
    arrays = {"probabilities": singles.probabilities, "log_probs": singles.log_probs}
    if singles.sums is not None:
        arrays["sums"] = singles.sums
    values = {
        "parts": parts, "discounts": rules.discounts, "predicted": rules.predicted,
        "deltas": list(rules.deltas.items()),
    }  # fmt: skip
    folder.finish(f"order {length}", values, arrays)


def _resume(folder: WorkFolder, length: int, rules: Rules) -> tuple[list[Words], Unigrams]:
    """The parts and the unigrams of a run that finished an order; ``rules`` go on from there."""
    values, arrays = folder.values(f"order {length}"), folder.arrays(f"order {length}")
    rules.discounts, rules.predicted = values["discounts"], values["predicted"]
    rules.deltas = dict(values["deltas"])
    parts = [(low, high) for low, high in values["parts"]]
    return parts, Unigrams(arrays["probabilities"], arrays["log_probs"], arrays.get("sums"))


def check_model_disk(files: LevelFiles, output_folder: Any, temporary: Any) -> None:
    """Refuse to go on where the disks lack the room that the counted n-grams will take.

    Raises:
        UnrolledError: with what is needed and what is free.
    """
    sizes = [files.size(length) for length in range(1, files.order + 1)]
    total, inner = sum(sizes), sum(sizes[:-1])
    values = 4 * total + 8 * inner  # log-probabilities; weights, and those that are not zero
    sent = 8 * max((a + b for a, b in pairwise([*sizes[2:], 0])), default=0)
    model = total * (4 + word_bits(files.by_word.shape[1]) / 8) + 5 * inner
    check_disk(temporary, values + sent)
    check_disk(output_folder, int(model))
