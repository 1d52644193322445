"""Bars: documents annotated, against `evaluate` on their text and a loop over KenLM's module.

Two million short documents where the text has as many, as JSONL.zst with four fields, under a
5-gram. The loop is what its users write: json, `score`, words that are not in the model, json.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, Run, interleave
from benchmarks.workspace import Workspace

NEEDS = ("module",)
_DOCUMENTS = 2_000_000
_LOOPED = 200_000  # documents that the loop gets
_LEAST_WORDS = 12  # of a document, which ends with a sentence
_KILLS = 10
_EVALUATE = Bar(at_least=0.6)
_LOOP = Bar(at_least=8)
_PEAK = Bar(at_most=600e6)


def run(workspace: Workspace, report: Report) -> None:
    """Make the documents, check that both sides agree, and measure in alternation."""
    settings = workspace.settings
    training, tokens = workspace.training(settings.model_tokens)
    model = workspace.model(training)
    documents = _documents(workspace, tokens)
    out = workspace.folder / "annotated.jsonl.zst"
    loop = _Loop(workspace, training, documents["rows"])
    annotate = partial(commands.annotate, model, documents["rows"], out, threads=settings.threads)
    whole = annotate()
    loop()
    _agree(_rows(out), loop.rows)
    runs: dict[str, list[Any]] = interleave(
        {
            "annotate": annotate,
            "evaluate": partial(
                commands.evaluate, model, documents["text"], threads=settings.threads
            ),
            "loop": loop,
        },
        settings.repeats,
    )
    count = documents["tokens"]
    ours = [count / run.wall_s for run in runs["annotate"]]
    name = f"annotating {documents['count'] / 1e6:.3g} M documents"
    evaluated = [count / run.wall_s for run in runs["evaluate"]]
    report.add(Comparison(name, "tokens/s", ours, evaluated, "evaluate", _EVALUATE))
    report.add(Comparison(name, "tokens/s", ours, runs["loop"], "loop over kenlm", _LOOP))
    peaks = [run.peak_bytes for run in runs["annotate"]]
    report.add(Comparison("peak memory of annotating them", "bytes", peaks, bar=_PEAK))
    part = commands.annotate(model, documents["quarter"], out, threads=settings.threads)
    report.add(Comparison("peak memory of a quarter", "bytes", [part.peak_bytes], bar=_PEAK))
    report.details["runs"] = {
        side: [run.numbers() for run in runs[side]] for side in ("annotate", "evaluate")
    }
    report.details["killed"] = _killed(model, documents["rows"], out, whole, settings.threads)
    report.note(f"killed {report.details['killed']['kills']} times and run again: identical")


def _documents(workspace: Workspace, trained: int) -> dict[str, Any]:
    """Documents of the text that the model was not trained on: rows, a quarter of them, text."""
    import zstandard

    folder = workspace.folder
    made: dict[str, Any] = {
        "rows": folder / "documents.jsonl.zst",
        "quarter": folder / "quarter.jsonl.zst",
        "text": folder / "documents.txt",
    }
    lines = workspace.after(trained)
    count = tokens = 0
    with (
        made["text"].open("w", encoding="utf-8", newline="\n") as text_file,
        zstandard.open(made["rows"], "wb") as rows,
        zstandard.open(made["quarter"], "wb") as quarter,
    ):
        for text in _pieces(lines):
            row = {"id": f"books-{count:07}", "text": text, "source": "books", "length": len(text)}
            data = (json.dumps(row, ensure_ascii=False) + "\n").encode()
            rows.write(data)
            if count % 4 == 0:
                quarter.write(data)
            text_file.write(text + "\n")
            count, tokens = count + 1, tokens + text.count(" ") + 2
            if count == _DOCUMENTS:
                break
    return {**made, "count": count, "tokens": tokens}


def _pieces(path: Path) -> Iterator[str]:
    """Each line cut after sentences, so that no piece but a line's last has fewer words."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            piece: list[str] = []
            for word in line.rstrip("\n").split(" "):
                piece.append(word)
                if len(piece) >= _LEAST_WORDS and word.endswith((".", "?", "!")):
                    yield " ".join(piece)
                    piece = []
            if piece:
                yield " ".join(piece)


class _Loop:
    """The loop over KenLM's module, in this process; a call returns its tokens a second."""

    def __init__(self, workspace: Workspace, training: Path, documents: Path) -> None:
        import kenlm

        from benchmarks.kenlm_programs import find

        # Without build_binary the module reads the ARPA file: slowly, but into the same form.
        binary = find("build_binary") is not None
        path = workspace.kenlm(training, "probing") if binary else workspace.arpa(training)
        self._model = kenlm.Model(str(path))
        self._documents, self._out = documents, workspace.folder / "loop.jsonl.zst"

    def __call__(self) -> float:
        import zstandard

        model, tokens, begin = self._model, 0, time.perf_counter()
        with (
            zstandard.open(self._documents, "rb") as packed,
            zstandard.open(self._out, "wb") as out,
        ):
            for number, line in enumerate(io.BufferedReader(packed)):
                if number == _LOOPED:
                    break
                row = json.loads(line)
                words = row["text"].split()
                log10_prob = model.score(row["text"])
                row["perplexity"] = 10 ** (-log10_prob / (len(words) + 1))
                row["log_prob"] = log10_prob
                row["tokens"] = len(words) + 1
                row["oov"] = sum(word not in model for word in words)
                out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
                tokens += len(words) + 1
        return tokens / (time.perf_counter() - begin)

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows that the last call wrote."""
        return _rows(self._out)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import zstandard

    with zstandard.open(path, "rb") as packed:
        yield from map(json.loads, io.BufferedReader(packed))


def _agree(mine: Iterator[dict[str, Any]], theirs: Iterator[dict[str, Any]]) -> None:
    """KenLM's words are those of Python's `split`, so rows with other white space may differ."""
    count = differing = 0
    for row, other in zip(mine, theirs, strict=False):
        count += 1
        same = (row["id"], row["tokens"], row["oov"]) == (
            other["id"],
            other["tokens"],
            other["oov"],
        ) and abs(row["log_prob"] / 2.302585093 - other["log_prob"]) < 1e-3 * row["tokens"]
        differing += not same
    if count == 0 or differing > count / 1000:
        raise BenchmarkError(f"{differing} of {count} rows differ between unrolled and KenLM")


def _killed(model: Path, source: Path, out: Path, whole: Run, threads: int) -> dict[str, Any]:
    """Kill the command at random moments, run it to its end, and compare the files."""
    commands.annotate(model, source, out, threads=threads)
    before, choice, moments = _checksum(out), random.Random(1), []
    out.unlink()
    command = commands.annotate_command(model, source, out, threads=threads)
    while len(moments) < _KILLS:
        moment = choice.uniform(0.2, max(whole.wall_s / 3, 1.0))
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            moments.append(round(moment, 2))
    if not out.exists():
        commands.annotate(model, source, out, threads=threads)
    if _checksum(out) != before or Path(f"{out}.partial").exists():
        raise BenchmarkError("a killed run made another file")
    return {"kills": len(moments), "moments_s": moments, "identical": True}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
