"""`annotate_file`: a file of documents with the scores of language models, as `unrolled annotate`.

Threads take the texts out of a batch of rows, score them and put the new fields in, all in kernels
without the GIL, and compress the result, a frame a batch, so that a file may be cut off after any
batch and go on there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from unrolled.documents.annotation import Annotation, Annotator
from unrolled.documents.buckets import (
    PerplexityCounts,
    cutoffs_file,
    even_shares,
    write_cutoffs,
)
from unrolled.documents.jsonl_files import JsonlFile
from unrolled.documents.outputs import Output, Stream, UnfinishedFile
from unrolled.documents.parquet_files import ParquetFile
from unrolled.documents.row_files import RowFile
from unrolled.errors import SettingError, TextError
from unrolled.language_models.protocol import LanguageModel
from unrolled.runtime.memory import keep_freed_memory
from unrolled.runtime.threads import run_ahead
from unrolled.storage.atomic import check_different, check_target
from unrolled.text.sources import PARQUET, check_not_read, files_of
from unrolled.text.tables import format_of
from unrolled.version import __version__

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

_REPORTED = 20  # broken rows that are reported one by one


@dataclass(frozen=True)
class Progress:
    """How far the annotation of a file has come.

    Attributes:
        offset: bytes of the input, uncompressed, that are done. line: lines.
        rows: documents read. kept: written. rejected: broken rows. tokens: of the first model.
        cutoffs: of buckets, once the first pass has found them.
        perplexities: as counted in the first pass up to now.
        done: whether all rows are written.
    """

    offset: int = 0
    line: int = 0
    rows: int = 0
    kept: int = 0
    rejected: int = 0
    tokens: int = 0
    cutoffs: Sequence[float] | None = None
    perplexities: Sequence[Sequence[int]] = ((), ())
    done: bool = False


@dataclass(frozen=True)
class _Result:
    """What a thread makes of a batch."""

    after: Progress  # of this batch alone, but for the offset and the line
    perplexities: Array
    written: bytes = b""
    broken: Sequence[tuple[int, str]] = ()
    rejected: bytes = b""


def annotate_file(
    models: Sequence[LanguageModel],
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | IO[bytes],
    annotation: Annotation | None = None,
    *,
    rejected: str | os.PathLike[str] | None = None,
    save_cutoffs: str | os.PathLike[str] | None = None,
    threads: int = 2,
    progress: Callable[[int], None] | None = None,
    report: Report | None = None,
) -> Progress:
    """Write the rows of a file of documents with the scores of models in new fields.

    All other fields stay, byte for byte, and so does the order. A row that is no JSON object with
    the text as a string is set aside. Killed, the same call goes on from where it was, and makes
    the same file.

    Args:
        models: language models.
        source: JSONL, also ``.gz .bz2 .xz .zst``, or ``-`` for standard input; or Parquet.
        output: a file of the same kind, JSONL compressed if it ends in ``.gz`` or ``.zst``; or an
            open pipe or file for JSONL, from which nothing is resumed.
        annotation: what is added.
        rejected: where broken rows go, each after its line's number and what is wrong with it,
            separated by tabs; by default the output's name with ``.rejected.tsv``. Those of Parquet
            go to ``.rejected.parquet``. Without such a file they go, whole, to ``report``.
        save_cutoffs: a file for the cut-offs of buckets.
        threads: that may be used.
        progress: called with the bytes of the source that were read since the last call.
        report: called with a sentence about each of the first broken rows, and about what else a
            user should know.

    Raises:
        SettingError: a setting that is not allowed, rows that have such fields already, an output
            that cannot be written. TextError: a source that cannot be read, or that has no row
            with a text: then nothing is written.

    >>> import tempfile
    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="witten-bell")
    >>> folder = tempfile.TemporaryDirectory()
    >>> source, output = Path(folder.name, "in.jsonl"), Path(folder.name, "out.jsonl")
    >>> _ = source.write_text('{"text": "the cat sat"}')
    >>> annotate_file([model], source, output).kept
    1
    >>> print(output.read_text(), end="")
    {"text": "the cat sat", "perplexity": 1.632653, "log_prob": -1.960825, "tokens": 4, "oov": 0}
    >>> folder.cleanup()
    """
    annotation, source = annotation or Annotation(), os.fspath(source)
    annotator = Annotator(models, annotation, threads)
    path = Path(os.fspath(output)) if isinstance(output, (str, os.PathLike)) else None
    _check_source(source)
    reader = ParquetFile if Path(source).suffix.lower() == PARQUET else JsonlFile
    rows: RowFile = reader(source, annotator, "" if path is None else str(path), progress)
    aside = None if rejected is None else Path(rejected)
    if path is not None and aside is None:
        aside = path.with_name(path.name + rows.rejected_suffix)
    if path is not None:
        _check_name(path, "parquet" if reader is ParquetFile else "jsonl")
    _check_files(annotator, source, (aside, save_cutoffs))
    read = [source, *(model.path or "" for model in models), cutoffs_file(annotation.cutoffs or "")]
    for place in (path, aside):
        if place is not None:
            check_not_read(place, read)
    if save_cutoffs is not None:
        check_not_read(save_cutoffs, read[:-1])  # cut-offs may be saved where they were
    check_different(path, aside, save_cutoffs)
    if path is None:
        target: Output = Stream(output, aside)  # type: ignore[arg-type]
    else:
        target = UnfinishedFile(path, _settings_of(models, source, annotation))
    keep_freed_memory()  # arrays of each batch, whose pages cost a twentieth of the time
    run = _Run(annotator, rows, target, threads, report or _ignore)
    try:
        done = run.through()
        if annotator.buckets is not None and save_cutoffs is not None:
            write_cutoffs(annotator.buckets, save_cutoffs)
        rows.conclude(target, path, aside)
        return done
    finally:
        target.close()


class _Run:
    """One annotation of a file, perhaps begun by a process that was killed."""

    def __init__(
        self, annotator: Annotator, rows: RowFile, target: Output, threads: int, report: Report
    ) -> None:
        self._annotator, self._rows, self._target = annotator, rows, target
        self._threads, self._report = threads, report
        self._done = Progress(**target.state)
        if target.state:
            name = "the first pass" if annotator.needs_cutoffs else "the run"
            report(f"{name} goes on at line {self._done.line + 1:,} of {rows.source}")

    def through(self) -> Progress:
        """Both passes, or what is left of them."""
        if self._done.cutoffs is not None:
            self._annotator.set_cutoffs(self._done.cutoffs)
        with self._annotator.scorer.at_once() as at_once:
            threads = min(self._threads, at_once)
            if self._annotator.needs_cutoffs:
                self._find_cutoffs(threads)
            if not self._done.done:
                self._write(threads)
        if self._done.rejected and not self._done.rows:
            self._refuse_all()
        return self._done

    def _refuse_all(self) -> None:
        """No row has a text: what was written before stays."""
        self._target.discard()
        raise TextError(
            "all rows are broken: nothing is written",
            where=self._rows.source,
            hint=f"Is '{self._annotator.annotation.field}' the field of the text? Name it: "
            "--field NAME, or Annotation(field=NAME)",
        )

    def _find_cutoffs(self, threads: int) -> None:
        annotation = self._annotator.annotation
        counts = PerplexityCounts(self._done.perplexities)
        for result in self._results(self._scored, threads):
            counts.add(result.perplexities)
            self._advance(result)
            self._target.commit(asdict(replace(self._done, perplexities=counts.stored())))
        if self._done.line and not counts.counts.any():
            self._refuse_all()
        shares = annotation.shares or even_shares(len(annotation.buckets))
        cutoffs = counts.quantiles(shares)
        self._annotator.set_cutoffs(cutoffs)
        shown = ", ".join(f"{cutoff:.6g}" for cutoff in cutoffs)
        self._report(f"{', '.join(annotation.buckets)} are cut off at perplexities {shown}")
        self._done = Progress(cutoffs=cutoffs)
        self._target.commit(asdict(self._done), now=True)

    def _write(self, threads: int) -> None:
        self._target.append("rows", b"")
        for result in self._results(self._annotated, threads):
            self._target.append("rows", result.written)
            if result.broken:
                self._set_aside(result)
            self._advance(result)
            self._target.commit(asdict(self._done))
        if self._target.has_rejected and self._done.rejected > _REPORTED:
            self._report(f"{self._done.rejected - _REPORTED:,} more rows are set aside")
        self._done = replace(self._done, done=True)
        self._target.commit(asdict(self._done), now=True)

    def _set_aside(self, result: _Result) -> None:
        """Write broken rows to their file, or to the report if they have none."""
        self._target.append("rejected", result.rejected)
        before = self._done.rejected
        listed = result.broken[: max(_REPORTED - before, 0)] if self._target.has_rejected else ()
        for number, problem in listed:
            place = self._rows.place(self._done.line + number)
            self._report(f"{place}: {problem}: the row is set aside")
        if not self._target.has_rejected:
            for line in result.rejected.decode(errors="backslashreplace").split("\n")[:-1]:
                shown, problem, row = line.split("\t", 2)
                self._report(f"{self._rows.place(int(shown) - 1)}: {problem}: {row}")
        self._done = replace(self._done, rejected=before + len(result.broken))

    def _advance(self, result: _Result) -> None:
        done, more = self._done, result.after
        self._done = replace(
            done,
            offset=more.offset,
            line=more.line,
            rows=done.rows + more.rows,
            kept=done.kept + more.kept,
            tokens=done.tokens + more.tokens,
        )

    def _results(self, task: Callable[[Any], _Result], threads: int) -> Iterator[_Result]:
        """Results of all batches that are not done yet, in their order."""
        for group in self._rows.groups(self._done.offset, self._done.line):
            yield from map(task, group) if threads == 1 else run_ahead(task, group, threads)

    def _scored(self, batch: Any) -> _Result:
        rows = self._rows.read(batch)
        scores = self._annotator.judge(rows.text, rows.lines).scores
        after = Progress(batch.end, batch.line + rows.count)
        return _Result(after, scores.documents[0])

    def _annotated(self, batch: Any) -> _Result:
        rows = self._rows.read(batch)
        judged = self._annotator.judge(rows.text, rows.lines)
        after = Progress(
            batch.end,
            batch.line + rows.count,
            rows=rows.lines.size,
            kept=int(np.count_nonzero(judged.kept)),
            tokens=int(judged.scores.values[2].sum()),
        )
        written, broken = self._rows.write(rows, judged), self._rows.broken(rows)
        rejected = self._rows.rejected(rows, batch.line) if broken else b""
        return _Result(after, np.zeros(0), written, broken, rejected)


def _check_source(source: str) -> None:
    if Path(source).is_dir():
        raise TextError("is a folder", where=source, hint="Name one file of documents")
    files_of(source)


def _check_name(output: Path, format: str) -> None:
    """Refuse the name of a table of another format than the one that is read and written.

    Raises:
        SettingError: with the ending that the name may have.
    """
    if format_of(output) not in (None, format):
        raise SettingError(
            "rows are written in the format in which they are read",
            where=str(output),
            hint=f"End the name in .{format}",
        )


def _check_files(annotator: Annotator, source: str, others: Sequence[Any]) -> None:
    """Refuse files that cannot be read, written or both.

    Raises:
        SettingError: or TextError, before work begins.
    """
    (file,) = files_of(source)
    for other in others:
        if other is not None:
            check_target(os.fspath(other))
    if annotator.needs_cutoffs and (file is None or not file.is_file()):
        raise SettingError(
            "standard input is read once, and cut-offs of buckets take a first pass",
            hint="Give them as a file with --cutoffs",
        )


def _settings_of(
    models: Sequence[LanguageModel], source: str, annotation: Annotation
) -> dict[str, Any]:
    """What a run that goes on must have the same of, by the names in messages."""
    return {
        "version of unrolled": __version__,
        "input": _identity(source),
        "model": [_identity(model.path) if model.path else model.name for model in models],
        **asdict(annotation),
    }


def _identity(path: str) -> list[Any]:
    """A file's name, bytes, and time of change."""
    if path == "-" or not Path(path).exists():
        return [path]
    facts = Path(path).stat()
    return [str(Path(path).absolute()), facts.st_size, facts.st_mtime_ns]


def _ignore(_sentence: str) -> None:
    pass
