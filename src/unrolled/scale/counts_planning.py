"""What training on count files will take: memory, disk and time, from their lines."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from unrolled.errors import TextError
from unrolled.ngram.counts.count_reader import split_counts
from unrolled.ngram.training import ngram_config, train_on_counts
from unrolled.runtime.threads import even_slices
from unrolled.scale.budget import memory_bytes
from unrolled.scale.counts_training import reading_bytes
from unrolled.scale.planning import BASE_BYTES, SAMPLE_BYTES, Form, Plan
from unrolled.text.sources import raw_blocks, source_bytes

if TYPE_CHECKING:
    from unrolled.text.sources import Sources
    from unrolled.text.vocabulary import Vocabulary

# Over temporary files count files take so many times as long, measured on 28 M n-grams.
DISK_TIME = 4.0
SLICES = 64  # of a block that lines are taken from


def plan_counts(
    sources: Sources,
    *,
    vocabulary: Vocabulary | None = None,
    memory: str | int | None = None,
    weights: Sequence[int] | None = None,
    quantize: int | None = None,
    ending: str = ".safetensors",
    threads: int = 2,
    report: Callable[[str], None] | None = None,
    **settings: Any,
) -> Plan:
    """Foresee what training on count files will take, without training on all of them.

    Their lines are counted, and a part of them is trained on. N-grams that several files have are
    taken to be different ones.

    Args:
        sources, vocabulary, weights, threads, report, settings: as those of `train_on_counts`;
            nothing that is foreseen depends on weights.
        memory: the budget, as of `train_ngram_file`.
        quantize, ending: as those of `plan_ngram`.

    Raises:
        As `train_on_counts`; TextError: standard input, which can be read only once.
    """
    ngram_config(settings)
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    size = source_bytes(given)
    if size is None:
        raise TextError("a plan needs files: standard input can be read only once")
    form = Form(quantize, ending)
    if report is not None:
        report("counting lines")
    with tempfile.TemporaryDirectory(prefix="unrolled-plan-") as folder:
        path = Path(folder, "sample")
        with path.open("wb") as file:
            lines = _Lines.counted(given, min(SAMPLE_BYTES / max(size, 1), 1.0), file)
        if report is not None:
            report("training on some of the counts")
        sample = path.stat().st_size
        chosen: dict[str, Any] = {"vocabulary": vocabulary, "threads": threads, **settings}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            few = path.with_name("few")
            with path.open("rb") as whole:
                few.write_bytes(b"".join(itertools.islice(whole, 1000)))
            loading = {name: chosen[name] for name in chosen if name not in ("order", "prune")}
            form.write(train_on_counts(few, **loading), few, threads)  # kernels are loaded then
            begin = time.perf_counter()
            model = train_on_counts(path, **chosen)
            written = form.write(model, path, threads)
            seconds = time.perf_counter() - begin
    order = settings.get("order") or len(lines.ngrams)
    ngrams = tuple(lines.ngrams[:order])
    budget, needed = memory_bytes(memory), BASE_BYTES + (reading_bytes(given) or 0)
    disk = 0 if needed <= budget else temporary_bytes(tuple(lines.ngrams))
    share = sum(ngrams) / max(model.trie.levels[-1], 1)
    return Plan(
        bytes=lines.bytes,
        tokens=lines.tokens,
        sampled=lines.tokens,
        vocabulary=ngrams[0],
        ngrams=ngrams,
        memory=needed,
        budget=budget,
        disk=disk,
        model=int(written * share),
        seconds=seconds * max(lines.bytes / max(sample, 1), 1) * (DISK_TIME if disk else 1),
        source="counts",
    )


class _Lines:
    """The lines of count files: bytes, tokens, and n-grams by length."""

    def __init__(self) -> None:
        self.bytes, self.tokens = 0, 0
        self.ngrams: list[int] = []

    @classmethod
    def counted(cls, sources: Sources, share: float, sample: BinaryIO) -> _Lines:
        """Count all; a share of the lines of each slice of a block goes to ``sample``."""
        found = cls()
        for block in raw_blocks(sources):
            _, counts, lengths = split_counts(block)
            found.bytes += len(block.data)
            found.tokens += int(counts[lengths == 1].sum())
            by_length = np.bincount(lengths)[1:].tolist()
            missing = len(by_length) - len(found.ngrams)
            found.ngrams += [0] * max(missing, 0)
            for place, count in enumerate(by_length):
                found.ngrams[place] += count
            for start, stop in even_slices(len(block.data), SLICES):
                low, high = (
                    block.data.find(b"\n", place) + 1 or len(block.data)
                    for place in (max(start - 1, 0), start + int(share * (stop - start)) - 1)
                )
                sample.write(block.data[low if start else 0 : high])
        return found


def temporary_bytes(ngrams: tuple[int, ...]) -> int:
    """Bytes of temporary files at their largest: rows of words with their counts."""
    return sum((8 * length + 40) * count for length, count in enumerate(ngrams, 1) if length > 1)
