"""Train on count files, or merge them, within a budget of memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.ngram.counts.count_files import read_counts, write_counts
from unrolled.ngram.editing.quantization import check_bits
from unrolled.ngram.editing.quantization import quantize as quantized_model
from unrolled.ngram.training import counts_record, ngram_config, train_on_counts
from unrolled.scale.budget import Budget
from unrolled.scale.clock import Clock
from unrolled.scale.count_files import read_counts_within
from unrolled.scale.counting import write_columns
from unrolled.scale.estimator import check_model_disk, estimated_arrays
from unrolled.scale.reading import place_for_files, sources_record, work_folder
from unrolled.scale.training import (
    Trained,
    check_probabilities,
    check_rounded,
    stored_settings,
    trained_in_files,
)
from unrolled.storage.atomic import check_target
from unrolled.text.options import TextOptions, VocabularyLimits, training_record
from unrolled.text.sources import source_bytes

if TYPE_CHECKING:
    from unrolled.text.sources import Sources
    from unrolled.text.vocabulary import Vocabulary

Report = Callable[[str], None]

# Of memory for a byte of a count file, measured on n-grams of up to 5 words of the Bible: 4.5.
FILE_BYTES, COMPRESSED_BYTES = 8, 40
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@contextlib.contextmanager
def counts_training(
    sources: Sources,
    output: str | os.PathLike[str],
    *,
    memory: str | int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quantize: int | None = None,
    vocabulary: Vocabulary | None = None,
    weights: Sequence[int] | None = None,
    options: TextOptions | None = None,
    threads: int = 2,
    report: Report | None = None,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> Iterator[Trained]:
    """Train on count files within a budget of memory, to be saved before the block ends.

    Args:
        sources, vocabulary, weights, options, threads, report, progress, settings: as those of
            `train_on_counts`.
        output, memory, temporary, resume, quantize: as those of `train_ngram_file`.

    Raises:
        As `train_on_counts`; SettingError: too small a budget.
    """
    config, say = ngram_config(settings), report or (lambda stage: None)
    check_bits(quantize)
    check_probabilities(output, config)
    budget, quantized = Budget(memory), bool(quantize)
    shared: dict[str, Any] = {"weights": weights, "progress": progress}
    if _fit(sources, budget):
        model = train_on_counts(
            sources, vocabulary=vocabulary, options=options, threads=threads, report=report,
            **shared, **settings,
        )  # fmt: skip
        if quantized:
            say("quantizing")
            model = quantized_model(model, threads=threads)
        yield Trained.in_memory(model, threads)
        return
    check_rounded(output, quantized)
    target, options = place_for_files(output), options or TextOptions()
    work = {
        **_work(sources, weights, vocabulary), **asdict(config), "text": options.stored(),
        "quantized": quantized,
    }  # fmt: skip
    with work_folder(temporary or target, work, resume, say) as folder:
        files, words, counts = read_counts_within(
            sources, folder, budget, order=settings.get("order"), vocabulary=vocabulary, report=say,
            **shared,
        )  # fmt: skip
        check_model_disk(files, target, folder.path, quantized=quantized)
        config = replace(config, order=files.order)
        record = counts_record(counts)
        clock = Clock(say, folder, record["counts"]["tokens"], files.order)
        arrays, rules = estimated_arrays(
            files, config, counts, folder=folder, room=budget.room("the vocabulary"),
            threads=threads, clock=clock, quantized=quantized,
        )  # fmt: skip
        record |= rules.record() | training_record(
            config, options, VocabularyLimits(), texts=sources, threads=threads
        )
        stored = stored_settings(config, options, quantized)
        room = budget.room("the vocabulary")
        yield trained_in_files(files, arrays, words, (stored, record), room, threads=threads)


def merge_counts_into_file(
    sources: Sources,
    output: str | os.PathLike[str],
    *,
    order: int | None = None,
    memory: str | int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    resume: bool = False,
    weights: Sequence[int] | None = None,
    threads: int = 2,
    report: Report | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Add count files into one; within a budget of memory.

    Args:
        sources, order, weights, threads, report, progress: as those of `read_counts`.
        output: the count file. memory, temporary, resume: as those of `train_ngram_file`.

    Raises:
        As `read_counts`; SettingError: too small a budget.
    """
    check_target(os.fspath(output))
    say, budget = report or (lambda stage: None), Budget(memory)
    shared: dict[str, Any] = {"order": order, "weights": weights, "progress": progress}
    if _fit(sources, budget):
        own, vocabulary = read_counts(sources, threads=threads, report=report, **shared)
        say(f"writing {os.fspath(output)}")
        write_counts(own, vocabulary, output)
        return
    work = {**_work(sources, weights, None), "merged": order}
    with work_folder(temporary or place_for_files(output), work, resume, say) as folder:
        files, words, counts = read_counts_within(sources, folder, budget, report=say, **shared)
        say(f"writing {os.fspath(output)}")
        write_columns(files, counts, words, budget.room("the vocabulary"), output)


def _work(
    sources: Sources, weights: Sequence[int] | None, vocabulary: Vocabulary | None
) -> dict[str, Any]:
    """What tells one reading of count files from another."""
    chosen = None if weights is None else list(weights)
    return {**sources_record(sources, vocabulary), "weights": chosen}


def _fit(sources: Sources, budget: Budget) -> bool:
    """Whether count files can be read in memory."""
    needed = reading_bytes(sources)
    if needed is None:  # standard input, of any size: over files unless no budget was given
        return not budget.given
    return not budget.exceeded(needed)


def reading_bytes(sources: Sources) -> int | None:
    """Memory that training on count files in memory takes at most; None for standard input."""
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    needed = 0
    for source in given:
        size = source_bytes(source)
        if size is None:
            return None
        packed = os.fspath(source).endswith(_COMPRESSED) or Path(source).is_dir()
        needed += size * (COMPRESSED_BYTES if packed else FILE_BYTES)
    return needed
