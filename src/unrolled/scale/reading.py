"""Read a text within a budget of memory: into memory, or into a work folder that can be resumed."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import TextError
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.scale.budget import (
    CODE_BYTES,
    LEAST,
    LEAST_COUNTED,
    Budget,
    check_disk,
    in_memory_bytes,
    least_disk,
)
from unrolled.scale.clock import Clock
from unrolled.scale.estimator import (
    check_model_disk,
    count_levels,
    least_to_count,
    least_to_estimate,
)
from unrolled.scale.level_files import LevelFiles
from unrolled.storage.columns import Column
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import Corpus, read_corpus
from unrolled.text.id_store import IdStore
from unrolled.text.options import TextOptions, VocabularyLimits
from unrolled.text.sources import Sources, files_of
from unrolled.text.vocabulary import Vocabulary
from unrolled.version import __version__

Report = Callable[[str], None]


@dataclass(frozen=True)
class TextReading:
    """What is read and how, see `read_corpus`."""

    sources: Sources | None
    options: TextOptions
    texts: Iterable[str] | None = None
    vocabulary: Vocabulary | None = None
    words: list[str] | None = None
    limits: VocabularyLimits = field(default_factory=VocabularyLimits)

    def record(self) -> dict[str, Any]:
        """What tells one reading from another, so that only an equal one is resumed."""
        given = self.vocabulary if self.vocabulary is not None else self.words
        return {
            **sources_record(self.sources, given), "options": self.options.stored(),
            "limits": asdict(self.limits),
        }  # fmt: skip


def sources_record(sources: Sources | None, words: Iterable[str] | None) -> dict[str, Any]:
    """What tells sources and given words from others, so that only equal work is resumed."""
    files: Any = secrets.token_hex(8)  # texts and standard input cannot be read again
    if sources is not None and None not in (paths := files_of(sources)):
        stats = [(str(path), path.stat()) for path in paths if path is not None]
        files = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    listed = None if words is None else zlib.crc32("\n".join(words).encode(errors="replace"))
    return {"version": __version__, "files": files, "given": listed}


@dataclass(frozen=True)
class Run:
    """How a run goes: memory, order, threads, reports, and how a model is estimated, if it is.

    ``quantized``: whether its numbers are rounded.
    """

    budget: Budget
    order: int
    threads: int
    report: Report
    progress: Callable[[int], None] | None = None
    config: NgramConfig | None = None
    quantized: bool = False

    @property
    def token_bytes(self) -> int:
        """Memory for each token of a text that is trained on in memory."""
        return in_memory_bytes(self.order, self.quantized)


@dataclass(frozen=True)
class ReadText:
    """A text that has been read.

    Attributes:
        corpus: with its ids, unless they are in a file.
        ids: their store; its ``column`` is None where the corpus has them.
        folder: for temporary files. target: the folder of the output.
        clock: reports the phases of work over files.
    """

    corpus: Corpus
    ids: IdStore
    folder: WorkFolder
    target: Path
    run: Run
    clock: Clock

    def room(self, *, counted: bool = False) -> int:
        """Bytes of the budget that are left for n-grams.

        Args:
            counted: whether they are counted already.

        Raises:
            SettingError: there are too few.
        """
        run, corpus = self.run, self.corpus
        least = 0
        if run.config is not None:
            least = least_to_estimate(corpus.word_counts, run.config, run.threads, run.quantized)
        if not counted:
            counting = least_to_count(corpus.word_counts, run.order, run.threads)
            least = max(least + CODE_BYTES, counting)
        what = f"{corpus.tokens} tokens and a vocabulary of {len(corpus.vocabulary)} words"
        return run.budget.room(what, least, LEAST_COUNTED if counted else LEAST)

    def levels(self) -> LevelFiles:
        """The counted n-grams of a text in a file, which is removed then."""
        files = count_levels(
            self.ids.blocks, self.corpus.word_counts, self.run.order, folder=self.folder,
            room=self.room(), threads=self.run.threads, clock=self.clock,
            named=lambda word: self.corpus.vocabulary.words([word])[0],
        )  # fmt: skip
        if self.ids.column is not None:
            self.ids.column.remove()
        return files

    def check_disk(self, files: LevelFiles) -> None:
        """Refuse to go on where the disk lacks the room for a model."""
        check_model_disk(files, self.target, self.folder.path, quantized=self.run.quantized)


@contextlib.contextmanager
def read_within(
    reading: TextReading,
    run: Run,
    output: str | os.PathLike[str],
    temporary: str | os.PathLike[str] | None,
    purpose: dict[str, Any],
    resume: bool,
) -> Iterator[ReadText]:
    """Read a text; the ids go to a file once they are too many for work in memory.

    Args:
        output: what is made of the text. temporary: folder for files, by default the output's.
        purpose: what the text is read for: only equal work is resumed.

    Raises:
        SettingError: too small a budget. UnrolledError: a full disk. TextError: as `read_corpus`.
    """
    target = place_for_files(output)
    work = {**reading.record(), **purpose}
    with work_folder(temporary or target, work, resume, run.report) as folder:
        if folder.has("text"):
            corpus, ids = _stored_text(folder)
        else:
            corpus, ids = _read(reading, run, folder)
        clock = Clock(run.report, folder, corpus.tokens, run.order, run.config is not None)
        yield ReadText(corpus, ids, folder, target, run, clock)


@contextlib.contextmanager
def work_folder(
    parent: str | os.PathLike[str], work: dict[str, Any], resume: bool, report: Report
) -> Iterator[WorkFolder]:
    """A `WorkFolder`; where work is stopped, the user reads that finished phases can be resumed."""
    with WorkFolder(parent, work, resume=resume) as folder:
        try:
            yield folder
        except BaseException:
            if folder.phases:
                place = folder.path
                report(f"finished phases stay in {place} until the next run, for --resume")
            raise


def place_for_files(output: str | os.PathLike[str]) -> Path:
    """The folder of an output; beside a device or a pipe, as /dev/null, there is no place."""
    path = Path(output)
    if path.exists() and not path.is_file():
        return Path(tempfile.gettempdir())
    return Path(os.path.realpath(path)).parent


def _read(reading: TextReading, run: Run, folder: WorkFolder) -> tuple[Corpus, IdStore]:
    run.report("reading text")
    limit = run.budget.room() // run.token_bytes
    ids = IdStore(limit, lambda: Column(folder.path / "ids", np.int32), run.budget.check)
    corpus = read_corpus(
        reading.sources, texts=reading.texts, options=reading.options,
        vocabulary=reading.vocabulary, words=reading.words, min_count=reading.limits.min_count,
        max_size=reading.limits.vocabulary_size, threads=run.threads, store=ids,
        progress=run.progress,
    )  # fmt: skip
    if ids.column is None and run.budget.exceeded(ids.size * (run.token_bytes - 4)):
        ids.move(corpus.take_ids())  # many words take up what the ids were to leave free
    if ids.column is not None:
        if corpus.tokens == 0:
            raise TextError("the text is empty: there is nothing to count")
        check_disk(folder.path, least_disk(corpus.tokens, run.order))
        _store_text(folder, corpus, ids)
    return corpus, ids


def _store_text(folder: WorkFolder, corpus: Corpus, ids: IdStore) -> None:
    """Record a text as read."""
    values = {
        "sentences": corpus.sentences, "tokens": corpus.tokens, "oov": corpus.oov,
        "crc32": ids.crc32,
    }  # fmt: skip
    arrays = {**corpus.vocabulary.arrays(), "word_counts": corpus.word_counts}
    folder.finish("text", values, arrays)


def _stored_text(folder: WorkFolder) -> tuple[Corpus, IdStore]:
    """The text that a folder has."""
    values, arrays = folder.values("text"), folder.arrays("text")
    corpus = Corpus(
        np.empty(0, np.int32), stored_vocabulary(arrays), values["sentences"],
        values["tokens"], values["oov"], arrays["word_counts"],
    )  # fmt: skip
    return corpus, IdStore.of_column(Column(folder.path / "ids", np.int32), values["crc32"])


def stored_vocabulary(arrays: dict[str, Any]) -> Vocabulary:
    """The words that a phase recorded."""
    return Vocabulary(arrays["text"], arrays["offsets"], arrays["slots"])
