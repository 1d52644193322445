"""A ladder of models on one text: trained one after another, each in a process of its own.

A process a model is what makes the peak of memory each model's own, and keeps one that fails from
taking the others along. A model kind is one entry of `RUNGS`.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unrolled.corpus import TextOptions
from unrolled.errors import SettingError, UnrolledError
from unrolled.language_model import LanguageModel, evaluate


@dataclass(frozen=True)
class Task:
    """What every rung is given."""

    train: str
    valid: str
    test: str
    options: TextOptions
    min_count: int
    threads: int


@dataclass(frozen=True)
class Rung:
    """One model of the ladder: its name in the table and how it is trained."""

    name: str
    train: Callable[[Task, dict[str, Any]], LanguageModel]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What one rung reached. Speeds count words and </s>, reading of the text included."""

    name: str
    valid_perplexity: float | None
    test_perplexity: float | None
    line: str
    train_seconds: float
    train_tokens_per_second: float
    score_tokens_per_second: float
    parameters: int
    file_bytes: int
    peak_bytes: int
    settings: dict[str, Any]


def train_ngram_rung(task: Task, settings: dict[str, Any]) -> LanguageModel:
    """An n-gram model."""
    from unrolled.ngram.training import train_ngram

    return train_ngram(
        task.train,
        options=task.options,
        min_count=task.min_count,
        threads=task.threads,
        **settings,
    )


def _ngram(name: str, order: int, smoothing: str = "modified-kneser-ney") -> Rung:
    return Rung(name, train_ngram_rung, {"order": order, "smoothing": smoothing})


RUNGS = (
    _ngram("unigram", 1),
    _ngram("bigram", 2),
    _ngram("trigram", 3),
    _ngram("4-gram", 4),
    _ngram("5-gram", 5),
    _ngram("trigram, Kneser-Ney one discount", 3, "kneser-ney"),
    _ngram("trigram, absolute", 3, "absolute"),
    _ngram("trigram, Witten-Bell", 3, "witten-bell"),
    _ngram("trigram, Katz", 3, "katz"),
    _ngram("trigram, additive", 3, "additive"),
    _ngram("trigram, maximum likelihood", 3, "maximum-likelihood"),
    _ngram("trigram, stupid back-off", 3, "stupid-backoff"),
)


@dataclass(frozen=True)
class LadderResult:
    """The rows, and what they were measured on."""

    rows: list[Row]
    texts: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    settings: dict[str, Any]


def climb(
    train: str,
    valid: str,
    test: str,
    *,
    output: Path | None = None,
    options: TextOptions | None = None,
    min_count: int = 2,
    only: Sequence[str] = (),
    threads: int = 2,
    report: Callable[[str], None] | None = None,
) -> LadderResult:
    """Train every rung on ``train`` and measure it on ``valid`` and ``test``.

    Args:
        output: folder for the models and results.json; by default nothing is kept.
        min_count: words that come fewer times in the training text are <unk>.
        only: names of rungs; all by default.
        report: called with a line as each rung begins.

    Raises:
        SettingError: a name that no rung has. TextError: a text that cannot be read.
    """
    say = report or (lambda line: None)
    rungs = _chosen(only)
    task = Task(train, valid, test, options or TextOptions(), min_count, threads)
    texts = {name: _text_facts(path) for name, path in zip(_TEXTS, _paths(task), strict=True)}
    rows = []
    with tempfile.TemporaryDirectory() as spare:
        folder = Path(output or spare)
        folder.mkdir(parents=True, exist_ok=True)
        for number, rung in enumerate(rungs, 1):
            say(f"[{number}/{len(rungs)}] {rung.name}")
            rows.append(_in_own_process(rung, task, folder / _file_name(rung)))
        settings = {"min_count": min_count, "threads": threads, **asdict(task.options)}
        result = LadderResult(rows, texts, _machine(), settings)
        if output is not None:
            _write_results(result, folder / "results.json")
    return result


_TEXTS = ("train", "valid", "test")


def _paths(task: Task) -> tuple[str, str, str]:
    return task.train, task.valid, task.test


def _chosen(only: Sequence[str]) -> list[Rung]:
    known = {rung.name: rung for rung in RUNGS}
    for name in only:
        if name not in known:
            raise SettingError(f"there is no model '{name}'", hint="Known: " + "; ".join(known))
    return [rung for rung in RUNGS if not only or rung.name in only]


def _file_name(rung: Rung) -> str:
    return "".join(c if c.isalnum() or c == "-" else "-" for c in rung.name) + ".safetensors"


def _in_own_process(rung: Rung, task: Task, path: Path) -> Row:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure, rung, task, path).result()
        except BrokenProcessPool:
            raise UnrolledError(
                "the process that trained it was ended, most likely for lack of memory",
                where=rung.name,
                hint="Use less text or a lower order",
            ) from None


def measure(rung: Rung, task: Task, path: Path) -> Row:
    """Train one rung, save it, and measure it; the peak of memory is this process's."""
    import warnings

    from unrolled.errors import UnrolledWarning

    warnings.simplefilter("ignore", UnrolledWarning)  # the ladder is for comparing, fallbacks too
    began = time.perf_counter()
    model = rung.train(task, rung.settings)
    model.save(path)  # type: ignore[attr-defined]
    seconds = time.perf_counter() - began
    peak = peak_memory()
    tokens = model.provenance["text"]["tokens"]  # type: ignore[attr-defined]
    valid, test, speed = None, None, 0.0
    line = f"{model.name}: scores are not probabilities"
    if model.normalised:
        valid = evaluate(model, task.valid, threads=task.threads)
        began = time.perf_counter()
        test = evaluate(model, task.test, threads=task.threads)
        speed = test.tokens / (time.perf_counter() - began)
        line = test.line()
    return Row(
        name=rung.name,
        valid_perplexity=None if valid is None else valid.perplexity,
        test_perplexity=None if test is None else test.perplexity,
        line=line,
        train_seconds=seconds,
        train_tokens_per_second=tokens / seconds,
        score_tokens_per_second=speed,
        parameters=model.parameters,  # type: ignore[attr-defined]
        file_bytes=path.stat().st_size,
        peak_bytes=peak,
        settings=rung.settings,
    )


def peak_memory() -> int:
    """Most memory that this process has held so far, in bytes; 0 where the system cannot tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _text_facts(path: str) -> dict[str, Any]:
    checksum, size = 0, 0
    try:
        with Path(path).open("rb") as file:
            while piece := file.read(1 << 20):
                checksum, size = zlib.crc32(piece, checksum), size + len(piece)
    except OSError as error:
        raise SettingError(f"cannot be read: {error.strerror}", where=path) from None
    return {"name": Path(path).name, "bytes": size, "crc32": f"{checksum:08x}"}


def _machine() -> dict[str, Any]:
    import os

    import numba
    import numpy

    import unrolled

    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "unrolled": unrolled.__version__,
    }


def _write_results(result: LadderResult, path: Path) -> None:
    from unrolled.atomic import atomic_write

    with atomic_write(path) as file:
        file.write(json.dumps(asdict(result), indent=1).encode() + b"\n")


def format_table(result: LadderResult) -> str:
    """The rows as an aligned table, and below it how the perplexities were measured."""
    header = ("model", "valid ppl", "test ppl", "train tok/s", "score tok/s", "parameters",
              "file MB", "peak MB")  # fmt: skip
    cells = [header, *(_cells(row) for row in result.rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    lines = []
    for line in cells:
        first = line[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([*lines, "", *(row.line for row in result.rows)])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        _perplexity(row.valid_perplexity),
        _perplexity(row.test_perplexity),
        f"{row.train_tokens_per_second:,.0f}",
        f"{row.score_tokens_per_second:,.0f}" if row.score_tokens_per_second else "-",
        f"{row.parameters:,}",
        f"{row.file_bytes / 1e6:.1f}",
        f"{row.peak_bytes / 1e6:.0f}",
    )


def _perplexity(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
