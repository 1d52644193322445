"""Models compared on one text: trained one after another, each in a process of its own.

So the peak of memory is each model's own.
"""

from __future__ import annotations

import importlib.util
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unrolled.comparison.finished_runs import FinishedRuns
from unrolled.comparison.model_specs import MODELS, ModelSpec, Report, Task, file_name
from unrolled.comparison.provenance import file_facts, machine, peak_memory
from unrolled.errors import SettingError, UnrolledError
from unrolled.language_models.evaluation import evaluate
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.scoring import surprisals
from unrolled.language_models.unknown_words import Unknown, check_unknown
from unrolled.runtime.threads import usable_cores
from unrolled.text.options import TextOptions


@dataclass(frozen=True)
class Row:
    """What one model reached. Speeds count words and </s>, reading of the text included.

    Attributes:
        train_tokens_per_second: 0 for a mixture, which is tuned and not trained.
        kind: the model's family.
        weights: of a mixture: ``{"model": name, "weight": number}`` for each of its models.
        curve: of a model trained in epochs, its provenance's ``training.curve``: ``{"epoch",
            "tokens", "seconds", "train_perplexity", "valid_perplexity", "rate"}`` for each point.
        surprisals: for each sentence of `Comparison.sentences`, ``{"word", "bits", "oov"}`` of
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


@dataclass(frozen=True)
class ModelJob:
    """What a row depends on, apart from the texts.

    Attributes:
        output: the model's file. name: the model's. settings: by name, its own and those of the
            models that it needs. options, min_count, threads, unknown: see `compare_models`.
    """

    output: str
    name: str
    settings: dict[str, Any]
    options: TextOptions
    min_count: int
    threads: int
    unknown: Unknown


@dataclass(frozen=True)
class Comparison:
    """The rows, what they were measured on, and the test sentences of their surprisals."""

    rows: list[Row]
    texts: dict[str, dict[str, Any]]
    machine: dict[str, Any]
    settings: dict[str, Any]
    sentences: list[str] = field(default_factory=list)


def compare_models(
    train: str,
    valid: str,
    test: str,
    *,
    output: Path | None = None,
    options: TextOptions | None = None,
    min_count: int = 2,
    only: Sequence[str] = (),
    models: Sequence[ModelSpec] = MODELS,
    unknown: Unknown = "class",
    threads: int | None = None,
    finished: FinishedRuns | None = None,
    report: Report | None = None,
) -> Comparison:
    """Train every model on ``train`` and measure it on ``valid`` and ``test``.

    Each is trained in a process of its own, so that its memory can be measured; a script calls
    this under ``if __name__ == "__main__":``, as Python asks of all that starts processes.

    Args:
        output: folder for the models and results.json; by default none is written.
        min_count: words that occur fewer times in the training text are <unk>.
        only: names of models; all by default. The models that a mixture needs are trained too.
        models: what to compare; nets are left out where torch is not installed.
        unknown: what an unknown word costs, see `unknown_words`; the lines below the table say so.
        threads: for all that can use them; by default two, where there are two cores to use.
        finished: rows of models from an earlier run; new ones are saved there.
        report: called with a line as each model begins.

    Raises:
        SettingError: a name that no model has. TextError: a text that cannot be read.
    """
    check_unknown(unknown)
    report = report or (lambda line: None)
    threads = threads or min(2, usable_cores())
    models = _chosen(models, only)
    if not only and not _has_torch():
        nets = {spec.name for spec in models if spec.kind == "net"}
        models = [spec for spec in models if not nets.intersection([spec.name, *spec.needs])]
        if nets:
            report(
                f"{len(nets)} nets and their mixtures are left out, as torch is not installed: "
                "pip install 'unrolled[neural]'"
            )
    task = Task(train, valid, test, options or TextOptions(), min_count, threads, unknown)
    texts = {name: file_facts(getattr(task, name)) for name in ("train", "valid", "test")}
    rows = []
    with tempfile.TemporaryDirectory() as spare:
        folder = Path(output or spare)
        folder.mkdir(parents=True, exist_ok=True)
        for number, spec in enumerate(models, 1):
            report(f"[{number}/{len(models)}] {spec.name}")
            job = _job(spec, models, task, folder)
            row = None if finished is None else finished.find(job)
            if row is not None:
                report("  finished earlier")
            else:
                row = asdict(_in_own_process(spec, task, folder, report))
                row = row if finished is None else finished.save(job, row)
            rows.append(Row(**row))
        settings = {"min_count": min_count, "threads": threads, "unknown": unknown}
        settings |= asdict(task.options)
        result = Comparison(rows, texts, machine(), settings, shown_sentences(task))
        if output is not None:
            _write_results(result, folder / "results.json")
    return result


def _chosen(models: Sequence[ModelSpec], only: Sequence[str]) -> list[ModelSpec]:
    known = {spec.name: spec for spec in models}
    for name in only:
        if name not in known:
            raise SettingError(f"there is no model '{name}'", hint="Known: " + "; ".join(known))
    chosen = set(only or known)
    for spec in reversed(models):
        if spec.name in chosen:
            chosen.update(spec.needs)
    return [spec for spec in models if spec.name in chosen]


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def shown_sentences(task: Task, count: int = 5) -> list[str]:
    """Test sentences that fit a screen: of 8 to 18 words, or as they come where few are."""
    from itertools import islice

    from unrolled.text.tokens import iter_sentences

    plain = replace(task.options, tokens="word", lower=False)
    early = [line for line in islice(iter_sentences(task.test, plain), 2000) if line.strip()]
    handy = [line for line in early if 8 <= len(line.split()) <= 18]
    return [line.strip() for line in (handy if len(handy) >= count else early)[:count]]


def _job(spec: ModelSpec, models: Sequence[ModelSpec], task: Task, folder: Path) -> ModelJob:
    settings = {other.name: other.settings for other in models if other.name in spec.needs}
    return ModelJob(
        str(folder / file_name(spec.name)), spec.name, {**settings, spec.name: spec.settings},
        task.options, task.min_count, task.threads, task.unknown,
    )  # fmt: skip


def _in_own_process(spec: ModelSpec, task: Task, folder: Path, report: Report) -> Row:
    """Train and measure a model in a new process, which sends its progress and its row."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_row, args=(sender, spec, task, folder))
    process.start()
    sender.close()  # the child has its own; without this one its death ends the pipe
    try:
        while isinstance(received := receiver.recv(), str):
            report(f"  {received}")
    except EOFError:
        raise UnrolledError(
            "the process that trained it was killed, most likely for lack of memory",
            where=spec.name,
            hint="Use less text or a lower order; a script must call it under "
            "if __name__ == '__main__'",
        ) from None
    finally:
        receiver.close()
        process.join()
    if isinstance(received, Exception):
        raise received
    row: Row = received
    return row


def _send_row(sender: Any, spec: ModelSpec, task: Task, folder: Path) -> None:
    try:
        sender.send(measure(spec, task, folder, sender.send))
    except Exception as error:
        sender.send(error)


def measure(spec: ModelSpec, task: Task, folder: Path, report: Report) -> Row:
    """Train one model, save it, and measure it; the peak of memory is this process's."""
    import warnings

    from unrolled.errors import UnrolledWarning

    warnings.simplefilter("ignore", UnrolledWarning)  # fallbacks are compared too
    path = folder / file_name(spec.name)
    began = time.perf_counter()
    model: Any = spec.train(task, spec.settings, folder, report)
    model.save(path)
    seconds = time.perf_counter() - began
    peak = peak_memory()
    valid, test, speed, words = None, None, 0.0, []
    line = f"{model.name}: scores are not probabilities"
    if model.normalised:
        valid = evaluate(model, task.valid, threads=task.threads, unknown=task.unknown)
        began = time.perf_counter()
        test = evaluate(model, task.test, threads=task.threads, unknown=task.unknown)
        speed = test.tokens / (time.perf_counter() - began)
        line = test.line()
        words = _surprisals(model, shown_sentences(task))
    return Row(
        name=spec.name,
        valid_perplexity=None if valid is None else valid.perplexity,
        test_perplexity=None if test is None else test.perplexity,
        line=line,
        train_seconds=seconds,
        train_tokens_per_second=_trained_tokens(model) / seconds,
        score_tokens_per_second=speed,
        parameters=model.parameters,
        file_bytes=path.stat().st_size,
        peak_bytes=peak,
        settings=spec.settings,
        kind=spec.kind,
        weights=_weights(spec, model),
        curve=model.provenance.get("training", {}).get("curve", []),
        surprisals=words,
    )


def _trained_tokens(model: Any) -> int:
    tokens: int = model.provenance.get("text", {}).get("tokens", 0)
    return tokens


def _weights(spec: ModelSpec, model: Any) -> list[dict[str, Any]]:
    if not spec.needs:
        return []
    names = [*spec.needs, *(model.name for model in model.models[len(spec.needs) :])]
    pairs = zip(names, model.weights.tolist(), strict=True)
    return [{"model": name, "weight": weight} for name, weight in pairs]


def _surprisals(model: LanguageModel, sentences: list[str]) -> list[list[dict[str, Any]]]:
    shown: list[list[dict[str, Any]]] = [[] for _ in sentences]
    for token in surprisals(model, sentences):
        bits = token.bits if math.isfinite(token.bits) else None
        shown[token.sentence].append({"word": token.word, "bits": bits, "oov": token.oov})
    return shown


def _write_results(result: Comparison, path: Path) -> None:
    from unrolled.storage.atomic import atomic_write

    with atomic_write(path) as file:
        file.write(json.dumps(asdict(result), indent=1).encode() + b"\n")


def format_table(result: Comparison) -> str:
    """The rows as an aligned table, and below it how the perplexities were measured."""
    header = ("model", "valid ppl", "test ppl", "train tok/s", "score tok/s", "parameters",
              "file MB", "peak MB")  # fmt: skip
    cells = [header, *((row.name, *cells_of(row)) for row in result.rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    lines = []
    for line in cells:
        first = line[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([*lines, "", *(row.line for row in result.rows)])


def cells_of(row: Row) -> tuple[str, ...]:
    """The numbers of a row as a table shows them, a dash for what was not measured."""
    return (
        number(row.valid_perplexity, 2),
        number(row.test_perplexity, 2),
        number(row.train_tokens_per_second or None),
        number(row.score_tokens_per_second or None),
        number(row.parameters),
        number(row.file_bytes / 1e6, 1),
        number(row.peak_bytes / 1e6),
    )


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators; a dash for None.

    >>> number(1234.5, 1), number(1e304), number(math.inf), number(None)
    ('1,234.5', '1e+304', '∞', '-')
    """
    if value is None:
        return "-"
    if math.isinf(value):
        return "∞"
    return f"{value:,.{digits}f}" if abs(value) < 1e15 else f"{value:.3g}"
