"""N-gram models trained on a Spark cluster: the steps of this folder between Spark's exchanges.

1. Each part of the text counts its words; the driver merges them into the vocabulary.
2. Each part of the text sends its windows to the parts of the model (the first exchange), which
   count their n-grams.
3. For each order the driver makes the discounts from the sums of the parts, and each part of the
   model estimates its n-grams and sends their numbers to those one word longer (the second
   exchange). The driver writes what comes back to files, as columns of the model. To quantize them,
   the driver chooses the values, and each part is rounded in a second pass like the first.

What a machine loses is made again by Spark from the text, and comes out the same: rows that arrive
are put in the order of their senders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.rules import Rules
from unrolled.scale.books import chosen_books
from unrolled.scale.exchange import Routes, Sender
from unrolled.scale.interpolated import interpolated_books
from unrolled.scale.model_arrays import AnyBooks, Source, trie_arrays
from unrolled.scale.parts import Part, PartEstimator, Step, Unigrams
from unrolled.scale.rounder import PartRounder
from unrolled.scale.rounding import Books
from unrolled.scale.spark_counting import (
    ClusterCounts,
    PartColumns,
    ReadWords,
    exchanged_rows,
    in_order,
    on_disk,
)
from unrolled.scale.spark_text import CHUNK_BYTES
from unrolled.text.vocabulary import UNK

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

PART_TOKENS = 4_000_000  # of the text, for each part of the model


def estimated_on_cluster(
    counts: ClusterCounts, config: NgramConfig, report: Report, *, quantized: bool = False
) -> tuple[dict[str, Source], Rules]:
    """The arrays of the model, and what the smoothing took from the counts.

    Args:
        quantized: round the numbers as `quantize` does.
    """
    files, pruned = counts.files, bool(config.prune) and counts.order > 1
    rules = Rules(config, counts.part_of.size)
    used, highest = counts.words.word_counts, counts.order == 1
    if rules.smoothing.continuation and not highest:
        used = counts.continuations
    singles = Unigrams.of(rules, used, highest)
    exchanged, results = _Exchanged(), {}
    for length in range(2, counts.order + 1):
        report(f"estimating order {length} on the cluster")
        if rules.leaves_one_out:
            rules.choose_delta(length, counts.whole_histories(length))
        step = PartEstimator(rules, length, files.totals[length], singles, quantized=quantized)
        results[length] = _estimated(counts, step, exchanged)
        own_sums = _write_results(counts, results[length], step)
        if own_sums:
            singles = replace(singles, sums=np.concatenate(own_sums))
        exchanged = _Exchanged.of(results[length], counts.parts)
    books: AnyBooks | None = None
    if quantized:
        report("rounding to 8 bits")
        books = interpolated_books(files, singles.log_probs, pruned=pruned)
        if books is None:
            chosen = books = chosen_books(files, singles.log_probs, pruned=pruned)
            _round(counts, config, (chosen, singles.log_probs), results, report)
    arrays = trie_arrays(files, singles.log_probs, pruned=pruned, threads=1, books=books)
    return arrays, rules


def _round(
    counts: ClusterCounts,
    config: NgramConfig,
    given: tuple[Books, Array],
    results: dict[int, Any],
    report: Report,
) -> None:
    """Round all orders but the first on the cluster.

    Args:
        given: the values to round to, and the log-probabilities (V,) of order 1.
        results: by length, what `_estimated` gave.
    """
    exchanged, sums = _Exchanged(), None
    for length in range(2, counts.order + 1):
        report(f"rounding order {length} on the cluster")
        step = PartRounder(config, length, *given, sums)
        rounded = _estimated(counts, step, exchanged, _numbers(results.pop(length)))
        own_sums = _write_results(counts, rounded, step)
        if own_sums:
            sums = np.concatenate(own_sums)
        exchanged = _Exchanged.of(rounded, counts.parts)


@dataclass(frozen=True)
class _Exchanged:
    """RDDs of the rows that parts received: of n-grams and of contexts; None before the first."""

    lower: Any = None
    sums: Any = None

    @classmethod
    def of(cls, results: Any, parts: int) -> _Exchanged:
        """The rows that parts send when they are asked for."""
        return cls(_sent(results, parts, "lower"), _sent(results, parts, "sums"))


def _numbers(results: Any) -> Any:
    """An RDD of the log-probabilities and back-off weights of each part."""
    made = results.filter(lambda item: item[0] == "result")
    return made.map(lambda item: (item[1]["log_probs"], item[1]["backoffs"]))


def _estimated(
    counts: ClusterCounts, step: Step, exchanged: _Exchanged, numbers: Any = None
) -> Any:
    """An RDD of what each part gives: ("result", ...), and ("lower" or "sums", rows).

    Args:
        numbers: an RDD of the numbers that are rounded.
    """
    context = counts.columns.context
    shared = context.broadcast((step, Routes(counts.part_of, counts.parts)))
    nothing = context.parallelize([None] * counts.parts, counts.parts)
    received = nothing if exchanged.lower is None else exchanged.lower.glom()
    more = exchanged.sums.glom() if step.sends_sums and step.length > 3 else nothing
    given = nothing if numbers is None else numbers

    def estimate(items: Iterable[Any]) -> Iterator[Any]:
        for ((columns, rows), other_rows), own in items:
            step, routes = shared.value
            part = _part(columns, step, (rows, other_rows, own), routes)
            made = step.estimate(part)
            yield "result", made.columns, made.sums
            for kind, sent in (("lower", made.sent), ("sums", made.sums_sent)):
                for target, all_rows in enumerate(sent):
                    size = max(CHUNK_BYTES // (4 * all_rows.shape[1]), 1)
                    for number, start in enumerate(range(0, len(all_rows), size)):
                        key = columns.words[0], number
                        yield kind, target, (key, all_rows[start : start + size])

    results = counts.columns.zip(received).zip(more).zip(given).mapPartitions(estimate)
    return results.persist(on_disk())


def _part(columns: PartColumns, step: Step, received: tuple[Any, Any, Any], routes: Routes) -> Part:
    """What `Step.estimate` takes; ``received`` are rows of n-grams and of contexts, and numbers."""
    length, order = step.length, step.config.order
    here, inner, pruned = length - 2, length < order, bool(step.config.prune)
    rows, sums, numbers = received
    given: dict[str, Any] = {"children": columns.by_word[1].astype(np.uint32)}
    if length > 2:
        given["children"] = columns.children[here - 1]
        given["descendants"] = columns.descendants[here - 1]
        given["received"] = in_order(rows, 1 + step.width).view(np.uint32)
    if inner:
        given["adjusted"] = columns.adjusted[here]
        given["sender"] = _sender(columns, length, routes)
    if step.sends_sums and length > 2 and inner:
        given["context_sender"] = _sender(columns, length - 1, routes)
    if step.sends_sums and length > 3:
        given["context_descendants"] = columns.descendants[here - 2]
        given["context_received"] = in_order(sums, 3).view(np.uint32)
    if pruned and length > 2:
        given["context_occurrences"] = columns.occurrences[here - 1]
    if step.rounds:
        given["log_probs"], given["backoffs"] = numbers
    elif pruned:
        given["last_words"] = columns.last_words[here]
    return Part(
        length, columns.words, columns.by_word[:length], occurrences=columns.occurrences[here],
        bigram_words=columns.last_words[0], **given,
    )  # fmt: skip


def _sender(columns: PartColumns, length: int, routes: Routes) -> Sender:
    place = length - 2
    starting = columns.starting(length)
    return Sender(
        columns.adjusted[place], starting, columns.preceding[place], columns.words[0],
        columns.by_word[length - 1], routes,
    )  # fmt: skip


def _write_results(counts: ClusterCounts, results: Any, step: Step) -> list[Array]:
    """Append what the parts gave to the files; of length 2, `Estimated.sums`."""
    sums = []
    results.foreachPartition(_exhaust)  # all parts side by side; below they come one by one
    with ExitStack() as stack:
        columns: dict[str, Any] = dict(step.outputs(counts.files))
        writers = {name: stack.enter_context(one.writer()) for name, one in columns.items()}
        made = results.filter(lambda item: item[0] == "result")
        for _, arrays, own_sums in made.toLocalIterator():
            for name, writer in writers.items():
                writer.append(arrays[name])
            if own_sums is not None:
                sums.append(own_sums)
    return sums


def _exhaust(items: Iterable[Any]) -> None:
    for _ in items:
        pass


def _sent(results: Any, parts: int, kind: str) -> Any:
    return exchanged_rows(
        results.filter(lambda item: item[0] == kind).map(lambda item: item[1:]), parts
    )


def cluster_record(words: ReadWords, rules: Rules) -> dict[str, Any]:
    """What a model file keeps of its text and its estimation."""
    text = {
        "tokens": words.tokens,
        "sentences": words.sentences,
        "unknown": int(words.word_counts[UNK]),
        "unknown_types": words.unknown_types,
    }
    return {"text": text, **rules.record()}
