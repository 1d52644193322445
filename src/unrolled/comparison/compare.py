"""A ladder of models on one text: trained one after another, each in a process of its own.

A process a model is what makes the peak of memory each model's own, and keeps one that fails from
taking the others along.
"""

from __future__ import annotations

import importlib.util
import json
import math
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from unrolled.comparison.model_specs import RUNGS, Report, Rung, Task, file_name
from unrolled.comparison.provenance import file_facts, machine, peak_memory
from unrolled.errors import SettingError, UnrolledError
from unrolled.language_models.protocol import LanguageModel, evaluate, surprisals
from unrolled.runtime.threads import usable_cores
from unrolled.text.corpus import TextOptions


@dataclass(frozen=True)
class Row:
    """What one rung reached. Speeds count words and </s>, reading of the text included.

    Attributes:
        train_tokens_per_second: 0 for a mixture, which is tuned and not trained.
        kind: the rung's family.
        weights: of a mixture: ``{"model": name, "weight": number}`` for each of its models.
        curve: of a model trained in epochs, its provenance's ``training.curve``: ``{"epoch",
            "tokens", "seconds", "train_perplexity", "valid_perplexity", "rate"}`` for each point.
        surprisals: for each sentence of `LadderResult.sentences`, ``{"word", "bits", "oov"}`` of
            each token; bits are None where the probability is 0.
    """

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
    kind: str = "n-gram"
    weights: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    surprisals: list[list[dict[str, Any]]] = field(default_factory=list)


class Kept(Protocol):
    """Where rows of finished rungs are kept, such as `FinishedRuns`."""

    def find(self, job: Any) -> Any | None:
        """The row of a job, as a dictionary, if it was finished before."""

    def keep(self, job: Any, result: Any) -> Any:
        """Keep a row."""


@dataclass(frozen=True)
class RungJob:
    """What a row depends on beside the texts.

    Attributes:
        output: the model's file. name: the rung's. settings: by name, its own and those of the
            rungs that it needs. options, min_count, threads: see `climb`.
    """

    output: str
    name: str
    settings: dict[str, Any]
    options: TextOptions
    min_count: int
    threads: int


@dataclass(frozen=True)
class LadderResult:
    """The rows, what they were measured on, and the test sentences whose words they show."""

    rows: list[Row]
    texts: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    settings: dict[str, Any]
    sentences: list[str] = field(default_factory=list)


def climb(
    train: str,
    valid: str,
    test: str,
    *,
    output: Path | None = None,
    options: TextOptions | None = None,
    min_count: int = 2,
    only: Sequence[str] = (),
    rungs: Sequence[Rung] | None = None,
    threads: int | None = None,
    kept: Kept | None = None,
    report: Report | None = None,
) -> LadderResult:
    """Train every rung on ``train`` and measure it on ``valid`` and ``test``.

    Each rung is trained in a process of its own, so that its memory can be told; a script calls
    this under ``if __name__ == "__main__":``, as Python asks of all that starts processes.

    Args:
        output: folder for the models and results.json; by default nothing is kept.
        min_count: words that come fewer times in the training text are <unk>.
        only: names of rungs; all by default. The models that a mixture needs come along.
        rungs: the ladder; `RUNGS` by default, without the nets where torch is not installed.
        threads: for all that can use them; by default two, where there are two cores to use.
        kept: rows of rungs that were finished before are found there, and new ones kept.
        report: called with a line as each rung begins.

    Raises:
        SettingError: a name that no rung has. TextError: a text that cannot be read.
    """
    say = report or (lambda line: None)
    threads = threads or min(2, usable_cores())
    rungs = _chosen(RUNGS if rungs is None else rungs, only)
    if not only and not _has_torch():
        left = [rung for rung in rungs if rung.kind == "net"]
        rungs = _without(rungs, left)
        if left:
            say(
                f"{len(left)} nets are left out, as torch is not installed: "
                "pip install 'unrolled[neural]'"
            )
    task = Task(train, valid, test, options or TextOptions(), min_count, threads)
    texts = {name: file_facts(path) for name, path in zip(_TEXTS, _paths(task), strict=True)}
    rows = []
    with tempfile.TemporaryDirectory() as spare:
        folder = Path(output or spare)
        folder.mkdir(parents=True, exist_ok=True)
        for number, rung in enumerate(rungs, 1):
            say(f"[{number}/{len(rungs)}] {rung.name}")
            job = _job(rung, rungs, task, folder)
            row = None if kept is None else kept.find(job)
            if row is not None:
                say("  finished before")
            else:
                row = asdict(_in_own_process(rung, task, folder, say))
                row = row if kept is None else kept.keep(job, row)
            rows.append(Row(**row))
        settings = {"min_count": min_count, "threads": threads, **asdict(task.options)}
        result = LadderResult(rows, texts, machine(), settings, shown_sentences(task))
        if output is not None:
            _write_results(result, folder / "results.json")
    return result


_TEXTS = ("train", "valid", "test")


def _paths(task: Task) -> tuple[str, str, str]:
    return task.train, task.valid, task.test


def names_in(text: str) -> list[str]:
    """Names of rungs parted by commas, which may hold commas themselves.

    >>> names_in("bigram, trigram, Katz, 9-gram")
    ['bigram', 'trigram, Katz', '9-gram']
    """
    known = {rung.name for rung in RUNGS}
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    names = []
    while pieces:
        longest = (
            count for count in range(len(pieces), 0, -1) if ", ".join(pieces[:count]) in known
        )
        count = next(longest, 1)
        names.append(", ".join(pieces[:count]))
        pieces = pieces[count:]
    return names


def _chosen(rungs: Sequence[Rung], only: Sequence[str]) -> list[Rung]:
    known = {rung.name: rung for rung in rungs}
    for name in only:
        if name not in known:
            raise SettingError(f"there is no model '{name}'", hint="Known: " + "; ".join(known))
    chosen = set(only or known)
    for rung in reversed(rungs):
        if rung.name in chosen:
            chosen.update(rung.needs)
    return [rung for rung in rungs if rung.name in chosen]


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _without(rungs: Sequence[Rung], left: Sequence[Rung]) -> list[Rung]:
    """The rungs that need none of some others, and are none of them."""
    gone = {rung.name for rung in left}
    kept = []
    for rung in rungs:
        if rung.name in gone or gone.intersection(rung.needs):
            gone.add(rung.name)
        else:
            kept.append(rung)
    return kept


def shown_sentences(task: Task, count: int = 5) -> list[str]:
    """Test sentences that fit a screen: of 8 to 18 words, or as they come where few are."""
    from itertools import islice

    from unrolled.text.corpus import iter_sentences

    plain = replace(task.options, tokens="word", lower=False)
    early = [line for line in islice(iter_sentences(task.test, plain), 2000) if line.strip()]
    handy = [line for line in early if 8 <= len(line.split()) <= 18]
    return [line.strip() for line in (handy if len(handy) >= count else early)[:count]]


def _job(rung: Rung, rungs: Sequence[Rung], task: Task, folder: Path) -> RungJob:
    settings = {other.name: other.settings for other in rungs if other.name in rung.needs}
    return RungJob(
        output=str(folder / file_name(rung.name)),
        name=rung.name,
        settings={**settings, rung.name: rung.settings},
        options=task.options,
        min_count=task.min_count,
        threads=task.threads,
    )


def _in_own_process(rung: Rung, task: Task, folder: Path, say: Report) -> Row:
    context = multiprocessing.get_context("spawn")
    lines = context.SimpleQueue()
    teller = threading.Thread(target=_pass_on, args=(lines, say), daemon=True)
    teller.start()
    with ProcessPoolExecutor(1, context, initializer=_tell_by, initargs=(lines,)) as pool:
        try:
            return pool.submit(measure, rung, task, folder).result()
        except BrokenProcessPool:
            raise UnrolledError(
                "the process that trained it was ended, most likely for lack of memory",
                where=rung.name,
                hint="Use less text or a lower order; a script must call it under "
                "if __name__ == '__main__'",
            ) from None
        finally:
            lines.put(None)
            teller.join()


def _pass_on(lines: Any, say: Report) -> None:
    """Lines of the other process, until None comes."""
    while (line := lines.get()) is not None:
        say(f"  {line}")


_lines: Any = None  # where a process of the ladder tells how far it is


def _tell_by(lines: Any) -> None:
    global _lines  # set once, as the process begins
    _lines = lines


def _tell(line: str) -> None:
    if _lines is not None:
        _lines.put(line)


def measure(rung: Rung, task: Task, folder: Path) -> Row:
    """Train one rung, save it, and measure it; the peak of memory is this process's."""
    import warnings

    from unrolled.errors import UnrolledWarning

    warnings.simplefilter("ignore", UnrolledWarning)  # the ladder is for comparing, fallbacks too
    path = folder / file_name(rung.name)
    began = time.perf_counter()
    model: Any = rung.train(task, rung.settings, folder, _tell)
    model.save(path)
    seconds = time.perf_counter() - began
    peak = peak_memory()
    valid, test, speed, words = None, None, 0.0, []
    line = f"{model.name}: scores are not probabilities"
    if model.normalised:
        valid = evaluate(model, task.valid, threads=task.threads)
        began = time.perf_counter()
        test = evaluate(model, task.test, threads=task.threads)
        speed = test.tokens / (time.perf_counter() - began)
        line = test.line()
        words = _surprisals(model, shown_sentences(task))
    return Row(
        name=rung.name,
        valid_perplexity=None if valid is None else valid.perplexity,
        test_perplexity=None if test is None else test.perplexity,
        line=line,
        train_seconds=seconds,
        train_tokens_per_second=_trained_tokens(model) / seconds,
        score_tokens_per_second=speed,
        parameters=model.parameters,
        file_bytes=path.stat().st_size,
        peak_bytes=peak,
        settings=rung.settings,
        kind=rung.kind,
        weights=_weights(rung, model),
        curve=model.provenance.get("training", {}).get("curve", []),
        surprisals=words,
    )


def _trained_tokens(model: Any) -> int:
    tokens: int = model.provenance.get("text", {}).get("tokens", 0)
    return tokens


def _weights(rung: Rung, model: Any) -> list[dict[str, Any]]:
    if not rung.needs:
        return []
    names = [*rung.needs, *(model.name for model in model.models[len(rung.needs) :])]
    pairs = zip(names, model.weights.tolist(), strict=True)
    return [{"model": name, "weight": weight} for name, weight in pairs]


def _surprisals(model: LanguageModel, sentences: list[str]) -> list[list[dict[str, Any]]]:
    shown: list[list[dict[str, Any]]] = [[] for _ in sentences]
    for token in surprisals(model, sentences):
        bits = token.bits if math.isfinite(token.bits) else None
        shown[token.sentence].append({"word": token.word, "bits": bits, "oov": token.oov})
    return shown


def _write_results(result: LadderResult, path: Path) -> None:
    from unrolled.storage.atomic import atomic_write

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
        f"{row.train_tokens_per_second:,.0f}" if row.train_tokens_per_second else "-",
        f"{row.score_tokens_per_second:,.0f}" if row.score_tokens_per_second else "-",
        f"{row.parameters:,}",
        f"{row.file_bytes / 1e6:.1f}",
        f"{row.peak_bytes / 1e6:.0f}",
    )


def _perplexity(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
