"""What training an n-gram model will take: memory, disk and time, from a text's first megabytes."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import TextError
from unrolled.ngram.arpa.files import write_arpa
from unrolled.ngram.editing.quantization import check_bits
from unrolled.ngram.editing.quantization import quantize as quantized_model
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import ngram_config, repeated, train_ngram
from unrolled.scale.budget import in_memory_bytes, memory_bytes
from unrolled.text.options import TextOptions
from unrolled.text.sources import Sources, raw_blocks, source_bytes

SAMPLE_BYTES = 24 << 20  # of text, decompressed
BASE_BYTES = 190 << 20  # the interpreter with its kernels, measured
DISK_TIME = 2.0  # over temporary files a text takes at most so many times as long, measured
EXCHANGED = 12  # bytes an n-gram between the machines of a cluster, measured on 57 M tokens
ROUNDED = 28  # more of them for rounding, before compression


@dataclass(frozen=True)
class Plan:
    """What training will take; all numbers but ``bytes`` of a text that was sampled are estimates.

    Attributes:
        bytes: of the text, decompressed. tokens: words and </s>. sampled: tokens that were read.
        vocabulary: distinct words. ngrams: by order.
        memory: bytes that training in memory takes. budget: bytes that it may use.
        disk: bytes of temporary files, 0 where the text fits in memory. model: bytes of the file.
        seconds: on this machine, as it was busy while the sample was trained on.
        source: "text" or "counts". exchanged: bytes between the machines of a cluster, if there is
            one; then memory, temporary files and time are the cluster's, and not foreseen.
    """

    bytes: int
    tokens: int
    sampled: int
    vocabulary: int
    ngrams: tuple[int, ...]
    memory: int
    budget: int
    disk: int
    model: int
    seconds: float
    source: str = "text"
    exchanged: int = 0

    def lines(self) -> list[str]:
        """The plan as text."""
        orders = ", ".join(_amount(count) for count in self.ngrams)
        read = f" ({_amount(self.sampled)} tokens were read)" if self.source == "text" else ""
        lines = [
            f"{self.source:<8} {_size(self.bytes)}, {_amount(self.tokens)} tokens, "
            f"{_amount(self.vocabulary)} words{read}",
            f"n-grams  {_amount(sum(self.ngrams))} ({orders} by order)",
        ]
        disk = f"disk     {_size(self.model)} for the model"
        if self.exchanged:
            return [*lines, f"network  {_size(self.exchanged)} between machines", disk]
        fits = self.disk == 0
        used = self.memory if fits else min(self.budget, max(self.memory, 1))
        where = "all in memory" if fits else f"of {_size(self.memory)} that it would take in all"
        return [
            *lines,
            f"memory   {_size(used)}, {where}",
            disk + ("" if fits else f", {_size(self.disk)} for temporary files"),
            f"time     {_duration(self.seconds)}",
        ]


def plan_ngram(
    sources: Sources,
    *,
    weights: tuple[int, ...] | None = None,
    options: TextOptions | None = None,
    min_count: int = 0,
    max_size: int | None = None,
    words: list[str] | None = None,
    memory: str | int | None = None,
    quantize: int | None = None,
    ending: str = ".safetensors",
    cluster: bool = False,
    threads: int = 2,
    report: Callable[[str], None] | None = None,
    **settings: Any,
) -> Plan:
    """Foresee what `train_ngram` or `train_ngram_file` will take, without training on all of it.

    A sample, the first 24 MB of the text, is trained on in two sizes. Numbers of distinct n-grams
    and words go on as powers of the text's size (Heaps' law), time in proportion to it.

    Args:
        sources, weights, options, min_count, max_size, words, threads, settings: of the training.
        memory: the budget, as of `train_ngram_file`.
        quantize: 8 for a model with probabilities in 8 bits.
        ending: of the model's file: ``.safetensors``, ``.arpa``, ``.arpa.gz``.
        cluster: whether a Spark cluster is to train.
        report: called with the name of each stage as it begins.

    Raises:
        As `train_ngram`; TextError: standard input, which can be read only once.
    """
    config, options = ngram_config(settings), options or TextOptions()
    given = repeated(sources, weights)
    size = source_bytes(given)
    if size is None:
        raise TextError("a plan needs files: standard input can be read only once")
    limits: dict[str, Any] = {
        "options": options, "min_count": min_count, "max_size": max_size, "words": words,
        "threads": threads, **settings,
    }  # fmt: skip
    form = Form(quantize, ending)
    if report is not None:
        report("training on the beginning of the text")
    with tempfile.TemporaryDirectory(prefix="unrolled-plan-") as folder:
        sample, ratio = _sampled(given, options, size, Path(folder))
        small, large = (_measured(path, limits, form) for path in _two_sizes(sample))
    return _extrapolated(
        small, large, max(size * ratio, large.bytes), config, (memory, form.quantized, cluster)
    )


@dataclass(frozen=True)
class Form:
    """What becomes of a model: 8-bit probabilities or not, and the ending of its file."""

    quantize: int | None = None
    ending: str = ".safetensors"

    @property
    def quantized(self) -> bool:
        """Whether numbers are rounded."""
        return bool(self.quantize)

    def write(self, model: NgramModel, target: Path, threads: int) -> int:
        """Write a model beside ``target``; the bytes of its file."""
        check_bits(self.quantize)
        if self.quantized:
            model = quantized_model(model, threads=threads)
        path = target.with_name(target.stem + self.ending)
        if self.ending == ".safetensors":
            model.save(path)
        else:
            write_arpa(model, path)
        return path.stat().st_size


@dataclass(frozen=True)
class _Measured:
    """What a sample took and gave."""

    bytes: int
    tokens: int
    ngrams: tuple[int, ...]
    word_bytes: int
    model: int
    seconds: float


def _sampled(sources: Any, options: TextOptions, size: int, folder: Path) -> tuple[Path, float]:
    """A file with the first lines of a text, and the bytes of text in a byte of its files."""
    read, seen, whole = 0, 0, True

    def count(more: int) -> None:
        nonlocal read
        read += more

    path = folder / "sample.txt"
    with path.open("wb") as file:
        for block in raw_blocks(sources, options.field, progress=count):
            data, room = block.data, SAMPLE_BYTES - seen
            seen += len(data)
            if len(data) > room:
                data, whole = data[: data.find(b"\n", room) + 1 or len(data)], False
            file.write(data if data.endswith(b"\n") else data + b"\n")
            if not whole:
                break
    if seen == 0:
        raise TextError("the text is empty: there is nothing to count")
    # Parquet reports no bytes: its columns are taken to be as large as the text.
    return path, seen / size if whole else (seen / read if read else 1.0)


def _two_sizes(sample: Path) -> list[Path]:
    """The first third of a sample, and all of it."""
    data = sample.read_bytes()
    third = data.find(b"\n", len(data) // 3) + 1 or len(data)
    part = sample.with_name("part.txt")
    part.write_bytes(data[:third])
    return [part, sample]


def _measured(path: Path, limits: dict[str, Any], form: Form) -> _Measured:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quick = train_ngram(path, **{**limits, "order": min(limits.get("order", 5), 2)})
        form.write(quick, path, limits["threads"])  # kernels and caches are warm then
        begin = time.perf_counter()
        model = train_ngram(path, **limits)
        written = form.write(model, path, limits["threads"])
        seconds = time.perf_counter() - begin
    sizes = tuple(int(count) for count in np.diff(model.trie.levels))
    text = model.provenance["text"]
    word_bytes = sum(array.nbytes for array in model.vocabulary.arrays().values())
    return _Measured(path.stat().st_size, text["tokens"], sizes, word_bytes, written, seconds)


def _extrapolated(
    small: _Measured,
    large: _Measured,
    size: float,
    config: NgramConfig,
    chosen: tuple[str | int | None, bool, bool],
) -> Plan:
    """The plan for a text of ``size`` bytes.

    Args:
        chosen: the budget, whether numbers are rounded, and whether a cluster trains.
    """
    memory, quantized, cluster = chosen
    times = size / large.bytes
    step = large.tokens / max(small.tokens, 1)

    def grown(before: float, after: float) -> int:
        """A power law through two points; what is as large as the text stays in proportion."""
        power = math.log(max(after / before, 1)) / math.log(step) if step > 1 and before else 1.0
        return int(after * times ** min(power, 1.0))

    ngrams = tuple(grown(*pair) for pair in zip(small.ngrams, large.ngrams, strict=True))
    tokens = int(large.tokens * times)
    words = grown(small.word_bytes, large.word_bytes)
    in_memory = BASE_BYTES + 2 * words + in_memory_bytes(config.order, quantized) * tokens
    budget = memory_bytes(memory)
    seconds = large.seconds
    if large.tokens > small.tokens:
        rate = (large.seconds - small.seconds) / (large.tokens - small.tokens)
        rate = max(rate, large.seconds / large.tokens / 2)  # noise of a busy machine
        seconds += rate * (tokens - large.tokens)
    disk = 0 if in_memory <= budget else temporary_bytes(tokens, ngrams, quantized)
    return Plan(
        bytes=int(size),
        tokens=tokens,
        sampled=large.tokens,
        vocabulary=ngrams[0],
        ngrams=ngrams,
        memory=in_memory,
        budget=budget,
        disk=disk,
        model=int(large.model * sum(ngrams) / max(sum(large.ngrams), 1)),
        seconds=seconds * (DISK_TIME if disk else 1),
        exchanged=(EXCHANGED + quantized * ROUNDED) * sum(ngrams) if cluster else 0,
    )


def temporary_bytes(tokens: int, ngrams: tuple[int, ...], quantized: bool = False) -> int:
    """Bytes of temporary files at their largest, see `level_files` for the columns."""
    longer, contexts = ngrams[1:], sum(ngrams[:-1])
    counted = 5 * sum(longer) + 2 * sum(longer[:-1])  # words, counts; adjusted ones and children
    preceding = 4 * sum(ngrams[2:]) + max(len(ngrams) - 2, 0) * (longer[0] if longer else 0)
    estimated = 4 * sum(longer) + 4 * contexts
    pairs = max((a + b for a, b in zip(ngrams[2:], [*ngrams[3:], 0], strict=True)), default=0)
    # The ids of the text go once they are counted; columns that no order reads any more go too.
    counting = 4 * tokens + counted + preceding
    if quantized:  # nothing that is counted goes before numbers are rounded
        return max(counting, counted + preceding + estimated + max(12 * contexts, 14 * pairs))
    return max(counting, counted + preceding // 2 + estimated + 8 * pairs)


def _amount(count: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {letter}"
    return f"{count:.0f}"


def _size(count: float) -> str:
    return f"{_amount(count)}B" if count >= 1e3 else f"{count:.0f} bytes"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
