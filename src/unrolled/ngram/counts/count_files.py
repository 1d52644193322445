r"""Count files, the n-grams of a text as lines of words, a tab and a count, as SRILM writes them.

::

    the<TAB>201
    the cat<TAB>7
    <s> the cat<TAB>2

A model estimated from a count file equals that of the text. What `write_counts` makes lists every
order from 1 on, and order 1 by descending count. What `read_counts` takes:

- the lines in any order, words and count separated by any white space; an n-gram on several lines
  has the sum of their counts; blank lines, and n-grams that come 0 times, are skipped;
- ``<s>`` at the beginning of an n-gram only, ``</s>`` at its end only; ``<unk>``;
- shorter n-grams that are missing: each comes as often as the longer ones that begin, or that end,
  with it, whichever is more. That is exact but for sentences that are shorter than the n-grams.

A shorter n-gram may come more often than the longer ones that hold it (ends of sentences, files cut
off at some count) but not less often: then the file contradicts itself, as one of Kneser-Ney's
adjusted counts does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from unrolled.errors import SettingError, UnrolledError
from unrolled.ngram.counts.count_reader import MOST, CountReader, stored_counts
from unrolled.ngram.counts.counting import NgramCounts
from unrolled.ngram.trie.layout import NONE, inverse_spreader
from unrolled.ngram.trie.lines import write_lines
from unrolled.ngram.trie.packing import pack_words, unpack_words
from unrolled.ngram.trie.union import Part, unite
from unrolled.storage.atomic import atomic_write
from unrolled.text.vocabulary import EOS, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]


def write_counts(
    counts: NgramCounts,
    vocabulary: Vocabulary,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the counts of all orders, all or nothing; gzipped if the name ends in ``.gz``.

    Words that never occur are listed with 0, so that a vocabulary survives.

    Args:
        path: the file to make.
        progress: called with the n-grams written so far.

    Raises:
        SettingError, UnrolledError: the file cannot be written.
    """
    with atomic_write(path) as file:
        for length in range(1, counts.order + 1):
            write_order(file, counts, vocabulary, length, progress)


def write_order(
    file: BinaryIO,
    counts: NgramCounts,
    vocabulary: Vocabulary,
    length: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the lines of the n-grams of one length."""
    write_lines(file, counts, length, _formatter(counts, vocabulary, length), progress)


def _formatter(
    counts: NgramCounts, vocabulary: Vocabulary, length: int
) -> Callable[[Array, int, Array], tuple[int, int]]:
    """What writes lines of one order, as `write_lines` calls it."""
    from unrolled.ngram.counts.count_file_kernels import format_counts

    words = vocabulary.arrays()
    here, values = counts.level(length), counts.counts(length)
    trie = counts.first, counts.words, counts.bits, inverse_spreader(counts.bits)
    shared = (*trie, values, here.start, words["text"], words["offsets"])

    def lines(path: Array, stop: int, out: Array) -> tuple[int, int]:
        scratch = np.empty(length, np.int64)
        found: tuple[int, int] = format_counts(path, scratch, stop, *shared, out)
        return found

    return lines


def read_counts(
    sources: Sources,
    *,
    order: int | None = None,
    vocabulary: Vocabulary | None = None,
    weights: Sequence[int] | None = None,
    threads: int = 2,
    report: Report | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[NgramCounts, Vocabulary]:
    """Read count files, as if their text were counted.

    Args:
        sources: files, compressed or not; folders, each of them one set of counts in several
            files; "-" for standard input. Each source is completed by itself, then all are added.
        order: longest n-gram wanted; by default the longest of the files.
        vocabulary: the words to keep, all others become <unk>; by default all words, by descending
            count.
        weights: a whole number for each source, by which its counts are multiplied.
        report: called with the name of each stage as it begins.
        progress: called with the bytes of the files read since the last call.

    Returns:
        The counts, ready for `estimation.estimator.estimate`, and the vocabulary.

    Raises:
        TextError: a file cannot be read. FormatError: a line is broken, or counts contradict each
            other, with the place. SettingError: an order that no file has, or wrong weights.
    """
    say = report or (lambda stage: None)
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    factors = checked_weights(weights, len(given))
    parts = []
    for source in given:
        say(f"reading counts from {os.fspath(source)}")
        parts.append(CountReader.read(source, vocabulary, progress).assembled(say))
    if len(parts) > 1 or factors[0] != 1:
        counts, words = combine_counts(
            parts, factors, vocabulary=vocabulary, threads=threads, report=say
        )
    else:
        counts, words = parts[0]
    return _of_order(counts, order), words


def combine_counts(
    parts: Sequence[tuple[NgramCounts, Vocabulary]],
    weights: Sequence[int] | None = None,
    *,
    vocabulary: Vocabulary | None = None,
    threads: int = 2,
    report: Report | None = None,
) -> tuple[NgramCounts, Vocabulary]:
    """Add the counts of several texts, each multiplied by its weight.

    Numbers of distinct words, which Kneser-Ney's shorter n-grams count, do not grow by a weight.

    Args:
        parts: counts, each with its vocabulary; their orders may differ.
        weights: whole numbers of at least 1; 1 by default.
        vocabulary: that of the result; by default all words, by descending count, equal ones by
            first appearance.

    Raises:
        SettingError: wrong weights. UnrolledError: a sum above 4,294,967,295.
    """
    factors = checked_weights(weights, len(parts))
    words = vocabulary or Vocabulary.united(
        [own for _, own in parts],
        [
            factor * counts.counts(1).astype(np.float64)
            for factor, (counts, _) in zip(factors, parts, strict=True)
        ],
    )
    members = [Part.between(counts, own, words) for counts, own in parts]
    union = unite(members, len(words), threads=threads, report=report or (lambda stage: None))
    totals = []
    for length in range(1, union.order + 1):
        here = union.level(length)
        total = np.zeros(union.size(length), np.int64)
        for (counts, _), factor, nodes in zip(parts, factors, union.nodes, strict=True):
            if length <= counts.order:
                had = np.flatnonzero(nodes[here] != NONE)
                own = counts.counts(length).astype(np.int64)
                total[had] += factor * own[nodes[here][had] - counts.level(length).start]
        totals.append(_fitting(total))
    return stored_counts(union, totals), words


def _of_order(counts: NgramCounts, order: int | None) -> NgramCounts:
    """Only the n-grams up to an order; a longer one must be known to have no n-grams."""
    if order is None or order == counts.order:
        return counts
    if order < 1 or (order > counts.order and not _all_whole_sentences(counts)):
        raise no_such_order(order, counts.order)
    total = int(counts.levels[min(order, counts.order)])
    above = [total] * max(order - counts.order, 0)
    levels = np.append(counts.levels[: order + 1], np.array(above, np.int64))
    inner = int(levels[-2])
    first = counts.first[: inner + 1]
    first = np.append(first, np.full(inner + 1 - first.size, total, np.uint32))
    words = unpack_words(counts.words, counts.bits, 0, total)
    return NgramCounts(
        levels,
        pack_words(words, counts.bits),
        counts.bits,
        first,
        counts.suffixes[:total],
        counts.occurrences,
    )


def no_such_order(order: int, longest: int) -> SettingError:
    """The error for an order that count files lack."""
    return SettingError(
        f"the order {order} is not between 1 and {longest}, the longest of the count files"
    )


def _all_whole_sentences(counts: NgramCounts) -> bool:
    """Whether all longest n-grams begin with <s> and end with </s>, so that none is longer."""
    here = counts.level(counts.order)
    words = unpack_words(counts.words, counts.bits, here.start, here.stop)
    starting = counts.starting(counts.order) == (here.start, here.stop)
    return counts.order > 1 and starting and bool(np.all(words == EOS))


def _fitting(total: Array) -> Array:
    """Sums as uint32."""
    if total.size and total.max() > MOST:
        raise UnrolledError(f"an n-gram comes {total.max()} times, and at most {MOST} can be kept")
    return total.astype(np.uint32)


def checked_weights(weights: Sequence[int] | None, count: int) -> list[int]:
    """The weights of so many sets of counts, 1 by default.

    Raises:
        SettingError: no set, or wrong weights.
    """
    if count == 0:
        raise SettingError(
            "no counts were given", hint="Name a count file, or - for standard input"
        )
    if weights is None:
        return [1] * count
    if len(weights) != count:
        raise SettingError(f"{len(weights)} weights were given for {count} sets of counts")
    for weight in weights:
        if int(weight) != weight or not 1 <= weight <= MOST:
            raise SettingError(f"the weight {weight} must be a whole number of at least 1")
    return [int(weight) for weight in weights]
