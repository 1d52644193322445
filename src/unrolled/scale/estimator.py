"""Count and estimate a text whose ids are in a file, in phases that each fit in a given memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.rules import Rules
from unrolled.ngram.trie.layout import word_bits
from unrolled.scale.books import chosen_books
from unrolled.scale.budget import check_disk
from unrolled.scale.clock import Clock
from unrolled.scale.interpolated import InterpolatedBooks, interpolated_books
from unrolled.scale.level_files import LevelFiles, LevelWriter
from unrolled.scale.model_arrays import AnyBooks, Source, trie_arrays
from unrolled.scale.parts import PartEstimator, Unigrams
from unrolled.scale.passes import estimate_order, remove_read, unigrams, whole_histories
from unrolled.scale.ranges import MAX_PARTS, Ranges
from unrolled.scale.rounder import PartRounder
from unrolled.scale.rounding import Books
from unrolled.scale.split_windows import SLOTS, split_windows
from unrolled.scale.windows import PIECE, count_windows, gather_windows, partitions
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.vocabulary import EOS

Array = np.ndarray[Any, Any]
Words = tuple[int, int]

# Memory of a pass of estimation for each n-gram of a part; Katz has logarithms and sums besides.
NGRAM_BYTES, KATZ_BYTES, ROUND_BYTES = 64, 110, 160
PIECE_BYTES = 14  # of columns that wait to be written, for a window and each word of the order
MOST_RANGES = 128  # the text is read once for each
LEAST_WINDOWS = 1 << 16  # of one word that are counted at once
MOST_PLACES = (1 << 32) - 1  # numbers of windows that are counted at once


def least_to_count(word_counts: Array, order: int, threads: int) -> int:
    """Bytes of memory without which a text cannot be counted."""
    at_once = max(int(np.delete(word_counts, EOS).sum()) // MOST_RANGES, LEAST_WINDOWS)
    of_words = (16 * order + 32) * word_counts.size  # of n-grams by first word, and of ranks
    return _piece_bytes(order, threads) + at_once * _single_bytes(order, threads) + of_words


def least_to_estimate(
    word_counts: Array, config: NgramConfig, threads: int, quantized: bool
) -> int:
    """Bytes of memory without which counted n-grams cannot be estimated."""
    counts = np.delete(word_counts, EOS)
    in_parts = int(counts.sum()) // MAX_PARTS * (threads + 2)
    return in_parts * ngram_bytes(config, quantized)


def ngram_bytes(config: NgramConfig, quantized: bool) -> int:
    """Memory of a pass of estimation or rounding for each n-gram that is under way."""
    if quantized:
        return ROUND_BYTES
    return KATZ_BYTES if config.smoothing == "katz" else NGRAM_BYTES


def _window_bytes(order: int) -> int:
    """A window has order + 1 words, its place in sorted order, and two marks."""
    return 4 * (order + 1) + 6


def _single_bytes(order: int, threads: int) -> int:
    """A window of a word that is counted alone: 16 bytes for each thread's sorting, and a hash."""
    return _window_bytes(order) + 16 * threads + 4 * SLOTS + 4


def _piece_bytes(order: int, threads: int) -> int:
    """Pieces that wait to be written."""
    return (threads + 2) * PIECE * PIECE_BYTES * order


def count_levels(
    blocks: Callable[[], Iterable[Array]],
    word_counts: Array,
    order: int,
    *,
    folder: WorkFolder,
    room: int,
    threads: int,
    clock: Clock,
    named: Callable[[int], str] = str,
) -> LevelFiles:
    """Count the n-grams of a text into files, a range of first words at a time.

    The windows of a word that has too many are counted in pieces by their second words.

    Args:
        blocks: makes the ids of the text in pieces. word_counts: (V,) how often each word occurs.
        folder: where the files go; counts that it has already are not made again.
        room: bytes of memory to use.
        clock: reports phases.
        named: a word by its id, for messages.

    Raises:
        SettingError: too many n-grams begin with the same two words.
    """
    if folder.has("counts"):
        stored = folder.arrays("counts")
        return LevelFiles(folder.path, order, stored["by_word"], stored["totals"])
    size = word_counts.size
    with LevelWriter(folder.path, order, size) as writer:
        if order > 1:
            ranges, limit = _ranges(word_counts, order, room, threads)
            for number, words in enumerate(ranges, 1):
                clock.phase(f"counting n-grams, part {number} of {len(ranges)}")
                for windows, starts, weights in _gathered(
                    blocks, word_counts, order, words, (limit, threads), named
                ):
                    columns = count_windows(
                        windows, starts, word_bits(size), size, threads, weights
                    )
                    writer.extend(columns)
                    del windows, starts, weights, columns
                clock.counted(int(word_counts[words[0] : words[1]].sum()) / int(word_counts.sum()))
    files = writer.files
    folder.finish("counts", {}, {"by_word": files.by_word, "totals": files.totals})
    return files


def _ranges(word_counts: Array, order: int, room: int, threads: int) -> tuple[list[Words], int]:
    """Ranges of first words that are counted at once, and how many windows a word may have for it.

    A word that has more is a range of its own.
    """
    left = room - _piece_bytes(order, threads)
    most = MOST_PLACES // (order + 1)
    limit = min(max(left // _single_bytes(order, threads), LEAST_WINDOWS), most)
    sizes = word_counts.astype(np.int64)
    sizes[EOS] = 0
    sorting = 16 * threads * min(int(sizes.max()), limit)
    at_once = min(max((left - sorting) // _window_bytes(order), 1), most)
    sizes[sizes > limit] = max(at_once, limit) + 1
    return partitions(sizes, at_once), limit


def _gathered(
    blocks: Callable[[], Iterable[Array]],
    word_counts: Array,
    order: int,
    words: Words,
    limits: tuple[int, int],
    named: Callable[[int], str],
) -> Iterator[tuple[Array, Array, Array | None]]:
    """Windows of a range of first words, where those of each word start, and their numbers."""
    limit, threads = limits
    if words[1] > words[0] + 1 or words[0] == EOS or word_counts[words[0]] <= limit:
        yield *gather_windows(blocks, word_counts, order, words, threads), None
        return
    shape = word_counts.size, order
    for windows, weights in split_windows(
        blocks, words[0], shape, word_bits(word_counts.size), limit, named
    ):
        yield windows, np.array([0, windows.shape[0]]), weights


def estimated_arrays(
    files: LevelFiles,
    config: NgramConfig,
    word_counts: Array,
    *,
    folder: WorkFolder,
    room: int,
    threads: int,
    clock: Clock,
    quantized: bool = False,
) -> tuple[dict[str, Source], Rules]:
    """The arrays of the model of counted n-grams, and what the smoothing took from the counts.

    Args:
        quantized: round the numbers as `quantize` does.
        folder: has the files; orders that are finished there are not estimated again.
        room: bytes of memory to use.
        clock: reports phases.
    """
    clock.all_counted(files)
    rules = Rules(config, word_counts.size)
    pruned = bool(config.prune) and files.order > 1
    at_once = room // ngram_bytes(config, quantized)
    finished = 0
    while folder.has(f"order {finished + 1}"):
        finished += 1
    if finished:
        ranges, singles = _resume(folder, finished, rules)
    else:
        # So many ranges are read, estimated or written at a time.
        ranges = Ranges.within(files, at_once // (threads + 2))
        clock.phase("estimating order 1")
        singles = unigrams(files, rules, word_counts)
        _finish(folder, 1, ranges, singles, rules)
    parts = ranges.routes(word_counts.size).parts
    for length in range(max(finished, 1) + 1, files.order + 1):
        clock.phase(f"estimating order {length}")
        if rules.leaves_one_out:
            rules.choose_delta(length, whole_histories(files, ranges.whole, length))
        estimator = PartEstimator(rules, length, files.totals[length], singles, quantized=quantized)
        sums = estimate_order(files, ranges, estimator, at_once, threads, clock.estimated)
        if sums is not None:
            singles = replace(singles, sums=sums)
        _finish(folder, length, ranges, singles, rules)
        remove_read(files, estimator, parts, rounded_later=quantized)
    books = None
    if quantized:
        books = _rounded(
            files, config, (ranges, singles.log_probs), folder, at_once, threads, clock
        )
    arrays = trie_arrays(files, singles.log_probs, pruned=pruned, threads=threads, books=books)
    return arrays, rules


def _rounded(
    files: LevelFiles,
    config: NgramConfig,
    estimated: tuple[Ranges, Array],
    folder: WorkFolder,
    at_once: int,
    threads: int,
    clock: Clock,
) -> AnyBooks:
    """Round all orders but the first, which are estimated; the values that they are rounded to.

    Args:
        estimated: the ranges, and the log-probabilities (V,) of order 1.
    """
    ranges, unigrams = estimated
    pruned = bool(config.prune) and files.order > 1
    if not folder.has("interpolated"):
        clock.phase("rounding to 8 bits")
        found = interpolated_books(files, unigrams, pruned=pruned)
        arrays = {} if found is None else {"values": found.values, "bits": found.bits}
        folder.finish("interpolated", {}, arrays)
    if arrays := folder.arrays("interpolated"):
        return InterpolatedBooks(arrays["values"], arrays["bits"])
    if not folder.has("books"):
        clock.phase("choosing the values of 8 bits")
        made = chosen_books(files, unigrams, pruned=pruned)
        folder.finish("books", {}, made.arrays())
        for length in range(1, files.order):
            files.rooms(length).remove()
    books, sums = Books.of_arrays(folder.arrays("books")), None
    for length in range(2, files.order + 1):
        phase = f"rounded {length}"
        if not folder.has(phase):
            clock.phase(f"rounding order {length}")
            rounder = PartRounder(config, length, books, unigrams, sums)
            own = estimate_order(files, ranges, rounder, at_once, threads, clock.estimated)
            folder.finish(phase, {}, {} if own is None else {"sums": own})
            remove_read(files, rounder, ranges.routes(unigrams.size).parts)
        if length == 2:
            sums = folder.arrays(phase)["sums"]
    return books


def _finish(
    folder: WorkFolder, length: int, ranges: Ranges, singles: Unigrams, rules: Rules
) -> None:
    """Record an order as finished."""
    arrays = {"probabilities": singles.probabilities, "log_probs": singles.log_probs}
    arrays |= ranges.arrays()
    if singles.sums is not None:
        arrays["sums"] = singles.sums
    values = {
        "discounts": rules.discounts, "predicted": rules.predicted,
        "deltas": list(rules.deltas.items()),
    }  # fmt: skip
    folder.finish(f"order {length}", values, arrays)


def _resume(folder: WorkFolder, length: int, rules: Rules) -> tuple[Ranges, Unigrams]:
    """The ranges and the unigrams of a run that finished an order; ``rules`` go on from there."""
    values, arrays = folder.values(f"order {length}"), folder.arrays(f"order {length}")
    rules.discounts, rules.predicted = values["discounts"], values["predicted"]
    rules.deltas = dict(values["deltas"])
    ranges = Ranges.of_arrays(arrays)
    return ranges, Unigrams(arrays["probabilities"], arrays["log_probs"], arrays.get("sums"))


def check_model_disk(
    files: LevelFiles, output_folder: Any, temporary: Any, *, quantized: bool = False
) -> None:
    """Refuse to go on where the disks lack the room that the counted n-grams will take.

    Raises:
        UnrolledError: with what is needed and what is free.
    """
    sizes = [files.size(length) for length in range(1, files.order + 1)]
    total, inner = sum(sizes), sum(sizes[:-1])
    values = 4 * total + 8 * inner  # log-probabilities; weights, and those that are not zero
    values += quantized * (5 * total + 4 * inner)  # codes and links; weights
    sent = (28 if quantized else 8) * max((a + b for a, b in pairwise([*sizes[2:], 0])), default=0)
    model = 2 * total if quantized else total * (4 + word_bits(files.by_word.shape[1]) / 8)
    check_disk(temporary, values + sent)
    check_disk(output_folder, int(model))
