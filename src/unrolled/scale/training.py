"""Train an n-gram model within a budget of memory: in memory, or over temporary files."""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import corpus_record, ngram_config, repeated, train_on_corpus
from unrolled.scale.budget import Budget, check_disk, in_memory_bytes, least_disk
from unrolled.scale.estimator import check_model_disk, count_levels, estimated_arrays
from unrolled.scale.stored_text import store_text, stored_text
from unrolled.storage.atomic import check_target
from unrolled.storage.columns import Column
from unrolled.storage.loading import StoredModel, load_as
from unrolled.storage.model_file import prefixed
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus
from unrolled.text.id_store import IdStore
from unrolled.text.options import TextOptions, VocabularyLimits, training_record
from unrolled.text.sources import files_of
from unrolled.version import __version__

if TYPE_CHECKING:
    from unrolled.text.sources import Sources
    from unrolled.text.vocabulary import Vocabulary

Report = Callable[[str], None]


class ModelInFiles(StoredModel):
    """An n-gram model that is larger than the budget of memory: it can be saved, not queried."""

    kind, kind_name = "ngram", "a model beyond the memory budget"

    def __init__(
        self,
        arrays: Mapping[str, Any],
        vocabulary: Vocabulary,
        config: dict[str, Any],
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(provenance)
        self.vocabulary, self.config = vocabulary, config
        words = prefixed("vocabulary.", vocabulary.arrays())
        self._arrays = prefixed("trie.", arrays) | words

    @property
    def name(self) -> str:
        """Smoothing and order."""
        return f"{self.config['smoothing']}-{self.config['order']}"

    def info(self) -> dict[str, Any]:
        """Its name."""
        return self.file_info()

    def contents(self) -> dict[str, Any]:
        """The arguments of `write_model`; arrays are made as they are written, once."""
        return {
            "kind": self.kind,
            "config": self.config,
            "arrays": self._arrays,
            "provenance": self.provenance,
        }


def train_ngram_file(
    sources: Sources | None = None,
    output: str | os.PathLike[str] = "",
    *,
    memory: str | int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    resume: bool = False,
    **training: Any,
) -> NgramModel:
    """Train an n-gram model into a file, within a budget of memory.

    A text that fits is trained in memory, as `train_ngram` does; of a larger one all that grows
    with the text goes to temporary files. The model has the same bytes either way.

    Args:
        sources: files, folders or "-".
        output: the ``.safetensors`` file to make.
        memory: bytes, or text such as "4G"; by default three quarters of what is free.
        temporary: folder for temporary files; by default that of the output.
        resume: go on after the last phase that a stopped run with the same arguments finished.
        training: all else that `train_ngram` takes.

    Returns:
        The model, opened from its file.

    Raises:
        SettingError: a budget that is too small, and as `train_ngram`.
        UnrolledError: the disk is full.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "small.safetensors")
    >>> train_ngram_file(texts=["a b", "a c"], output=path, memory="1G", order=2,
    ...     smoothing="additive").order
    2
    >>> folder.cleanup()
    """
    check_target(os.fspath(output))
    settings = {"memory": memory, "temporary": temporary, "resume": resume, **training}
    with ngram_training(sources, output, **settings) as model:
        if (report := training.get("report")) is not None:
            report(f"writing {os.fspath(output)}")
        model.save(output)
    return load_as(output, NgramModel, "use")


@contextlib.contextmanager
def ngram_training(
    sources: Sources | None,
    output: str | os.PathLike[str],
    *,
    memory: str | int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    resume: bool = False,
    format: str = "",
    texts: Iterable[str] | None = None,
    weights: Sequence[int] | None = None,
    options: TextOptions | None = None,
    vocabulary: Vocabulary | None = None,
    min_count: int = 0,
    max_size: int | None = None,
    words: Iterable[str] | None = None,
    threads: int = 2,
    report: Report | None = None,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> Iterator[StoredModel]:
    """Train an n-gram model within a budget of memory, to be saved before the block ends.

    Args:
        sources, texts, weights, options, vocabulary, min_count, max_size, words, threads, report,
            progress, settings: as those of `train_ngram`.
        output, memory, temporary, resume: as those of `train_ngram_file`.
        format: what the model becomes that only a model in memory can become, or nothing.

    Yields:
        An `NgramModel`, or a `ModelInFiles`, which can only be saved.

    Raises:
        As `train_ngram_file`.
    """
    config, say = ngram_config(settings), report or (lambda stage: None)
    if texts is not None and weights is not None:
        raise SettingError("weights are for files: repeat a text as often as it is to count")
    budget, options = Budget(memory), options or TextOptions()
    words = None if words is None else list(words)
    target = Path(os.path.realpath(output)).parent
    limits = VocabularyLimits(min_count, max_size)
    record = training_record(config, options, limits, texts=sources, threads=threads)
    given = vocabulary if vocabulary is not None else words
    work = _work(repeated(sources, weights), asdict(config), options, limits, given)
    with _work_folder(temporary or target, work, resume, say) as folder:
        if folder.has("text"):
            corpus, text = stored_text(folder)
        else:
            say("reading text")
            limit = budget.room() // in_memory_bytes(config.order)
            text = IdStore(limit, lambda: _spilled(folder, format))
            corpus = read_corpus(
                repeated(sources, weights), texts=texts, options=options, vocabulary=vocabulary,
                min_count=min_count, max_size=max_size, words=words, threads=threads, store=text,
                progress=progress,
            )  # fmt: skip
        if text.column is None:
            model = train_on_corpus(corpus, config, options=options, threads=threads, report=report)
            model.provenance |= record
            yield model
            return
        if corpus.tokens == 0:
            raise TextError("the text is empty: there is nothing to count")
        if not folder.has("text"):
            check_disk(folder.path, least_disk(corpus.tokens, config.order))
            store_text(folder, corpus, text)
        what = f"the text's vocabulary of {len(corpus.vocabulary)} words"
        shared: dict[str, Any] = {"folder": folder, "threads": threads, "report": say}
        files = count_levels(
            text.blocks, corpus.word_counts, config.order, room=budget.room(what), **shared
        )
        text.column.remove()
        check_model_disk(files, target, folder.path)
        arrays, rules = estimated_arrays(
            files, config, corpus.word_counts, room=budget.room(what), **shared
        )
        made = {"text": corpus_record(corpus, text.crc32), "discounts": rules.discounts, **record}
        stored = {**asdict(config), "text": options.stored()}
        yield ModelInFiles(arrays, corpus.vocabulary, stored, made)


def _spilled(folder: WorkFolder, format: str) -> Column:
    """Where the ids go that do not fit in memory."""
    if format:
        raise SettingError(
            f"the text is too large to become {format} within the memory budget",
            hint="Train a .safetensors model and convert it, or give more --memory",
        )
    return Column(folder.path / "ids", np.int32)


def _work(
    sources: Any,
    config: dict[str, Any],
    options: TextOptions,
    limits: VocabularyLimits,
    given: Iterable[str] | None,
) -> dict[str, Any]:
    """What a run does, so that only an equal one resumes it."""
    files: Any = secrets.token_hex(8)  # texts and standard input cannot be read again
    if sources is not None and None not in (paths := files_of(sources)):
        stats = [(str(path), path.stat()) for path in paths if path is not None]
        files = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    listed = None if given is None else zlib.crc32("\n".join(given).encode(errors="replace"))
    return {
        "version": __version__, "files": files, "config": config, "options": options.stored(),
        "limits": asdict(limits), "given": listed,
    }  # fmt: skip


@contextlib.contextmanager
def _work_folder(
    parent: str | os.PathLike[str], work: dict[str, Any], resume: bool, say: Report
) -> Iterator[WorkFolder]:
    with WorkFolder(parent, work, resume=resume) as folder:
        try:
            yield folder
        except BaseException:
            if folder.phases:
                say(f"finished phases stay in {folder.path} until the next run, for --resume")
            raise
