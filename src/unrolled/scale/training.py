"""Train an n-gram model within a budget of memory: in memory, or over temporary files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError
from unrolled.language_models.protocol import not_normalised
from unrolled.ngram.arpa.files import write_arpa, write_tables
from unrolled.ngram.editing.quantization import check_bits
from unrolled.ngram.editing.quantization import quantize as quantized_model
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import corpus_record, ngram_config, repeated, train_on_corpus
from unrolled.runtime.memory import drained
from unrolled.scale.budget import Budget
from unrolled.scale.estimator import estimated_arrays
from unrolled.scale.level_files import LevelFiles
from unrolled.scale.part_shapes import part_tables, parts_within, table_sizes
from unrolled.scale.reading import Run, TextReading, read_within
from unrolled.storage.atomic import check_target
from unrolled.storage.file_kinds import is_arpa_name
from unrolled.storage.loading import StoredModel, load_as
from unrolled.storage.model_file import check_model_name, prefixed
from unrolled.text.options import TextOptions, VocabularyLimits, training_record
from unrolled.text.sources import check_not_read

if TYPE_CHECKING:
    from unrolled.text.sources import Sources
    from unrolled.text.vocabulary import Vocabulary

Report = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """A trained model that is yet to be saved.

    Attributes:
        model: an `UnsavedModel`, or an `NgramModel` where a format needs that.
        write_arpa: called with a path, writes it as an ARPA file.
    """

    model: StoredModel
    write_arpa: Callable[[str | os.PathLike[str]], None]

    @classmethod
    def in_memory(cls, model: NgramModel, threads: int | None = None) -> Trained:
        """A model like any other."""
        return cls(model, partial(write_arpa, model, threads=threads))


class UnsavedModel(StoredModel):
    """An n-gram model whose arrays are made, or freed, as they are written.

    It can be saved once, and not queried.
    """

    kind, kind_name = "ngram", "a model that is not saved yet"
    vocabulary: Vocabulary

    def __init__(
        self,
        arrays: Mapping[str, Any],
        vocabulary: Vocabulary,
        config: dict[str, Any],
        provenance: dict[str, Any],
    ) -> None:
        super().__init__(provenance)
        self.vocabulary, self.config = vocabulary, config
        words = vocabulary.arrays(compact=config.get("quantized", False))
        self._arrays = prefixed("trie.", arrays) | prefixed("vocabulary.", words)

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
    quantize: int | None = None,
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
        quantize: 8 to store probabilities in 8 bits.
        training: all else that `train_ngram` takes.

    Returns:
        The model, opened from its file.

    Raises:
        SettingError: a budget that is too small, and as `train_ngram`.
        UnrolledError: the disk is full.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "small.safetensors")
    >>> train_ngram_file(texts=["a b", "a c"], output=path, memory="8G", order=2,
    ...     smoothing="additive").order
    2
    >>> folder.cleanup()
    """
    check_model_name(os.fspath(output))
    check_target(os.fspath(output))
    check_not_read(output, sources)
    settings = {
        "memory": memory, "temporary": temporary, "resume": resume, "quantize": quantize, **training
    }  # fmt: skip
    with ngram_training(sources, output, **settings) as trained:
        if (report := training.get("report")) is not None:
            report(f"writing {os.fspath(output)}")
        trained.model.save(output)
    return load_as(output, NgramModel, "use")


@contextlib.contextmanager
def ngram_training(
    sources: Sources | None,
    output: str | os.PathLike[str],
    *,
    memory: str | int | None = None,
    temporary: str | os.PathLike[str] | None = None,
    resume: bool = False,
    quantize: int | None = None,
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
) -> Iterator[Trained]:
    """Train an n-gram model within a budget of memory, to be saved before the block ends.

    Args:
        sources, texts, weights, options, vocabulary, min_count, max_size, words, threads, report,
            progress, settings: as those of `train_ngram`.
        output, memory, temporary, resume, quantize: as those of `train_ngram_file`.

    Raises:
        As `train_ngram_file`.
    """
    config, say = ngram_config(settings), report or (lambda stage: None)
    check_bits(quantize)
    check_probabilities(output, config)
    if texts is not None and weights is not None:
        raise SettingError("weights are for files: repeat a text as often as it is to count")
    options, limits = options or TextOptions(), VocabularyLimits(min_count, max_size)
    record = training_record(config, options, limits, texts=sources, threads=threads)
    reading = TextReading(
        repeated(sources, weights), texts=texts, options=options, vocabulary=vocabulary,
        words=None if words is None else list(words), limits=limits,
    )  # fmt: skip
    run = Run(Budget(memory), config.order, threads, say, progress, config, bool(quantize))
    purpose = {**asdict(config), "quantized": run.quantized}
    with read_within(reading, run, output, temporary, purpose, resume) as text:
        if text.ids.column is None:
            model = train_on_corpus(
                text.corpus, config, options=options, threads=threads, report=report
            )
            model.provenance |= record
            if quantize:
                say("quantizing")
                model = quantized_model(model, threads=threads)
            # Nobody else has its arrays: their memory becomes the pages of the file.
            pieces = {name: drained(array) for name, array in model.trie.arrays().items()}
            unsaved = UnsavedModel(pieces, model.vocabulary, model.config, model.provenance)
            yield Trained(unsaved, partial(write_arpa, model, threads=threads))
            return
        check_rounded(output, run.quantized)
        files = text.levels()
        text.check_disk(files)
        corpus = text.corpus
        arrays, rules = estimated_arrays(
            files, config, corpus.word_counts, folder=text.folder, room=text.room(counted=True),
            threads=threads, clock=text.clock, quantized=run.quantized,
        )  # fmt: skip
        made = {"text": corpus_record(corpus, text.ids.crc32), **rules.record()}
        stored = stored_settings(config, options, run.quantized)
        room = text.room(counted=True)
        yield trained_in_files(
            files, arrays, corpus.vocabulary, (stored, made | record), room, threads=threads
        )


def check_probabilities(output: str | os.PathLike[str], config: NgramConfig) -> None:
    """Refuse an ARPA file of scores that are no probabilities, before the work.

    Raises:
        NotNormalisedError: as said.
    """
    if is_arpa_name(output) and config.smoothing == "stupid-backoff":
        raise not_normalised("an ARPA file", f"{config.smoothing}-{config.order}")


def check_rounded(output: str | os.PathLike[str], quantized: bool) -> None:
    """Refuse an ARPA file of numbers that are rounded in files, before the work.

    Raises:
        SettingError: as said.
    """
    if quantized and is_arpa_name(output):
        raise SettingError(
            "a quantized model that is made within a memory budget is not written as ARPA",
            hint="Write a .safetensors file, then: unrolled convert",
        )


def stored_settings(config: NgramConfig, options: TextOptions, quantized: bool) -> dict[str, Any]:
    """The settings of a model file."""
    stored = {**asdict(config), "text": options.stored()}
    return {**stored, "quantized": True} if quantized else stored


def trained_in_files(
    files: LevelFiles,
    arrays: Mapping[str, Any],
    vocabulary: Vocabulary,
    records: tuple[dict[str, Any], dict[str, Any]],
    room: int,
    *,
    threads: int | None = None,
) -> Trained:
    """A model whose columns are in files.

    Args:
        arrays: of the model, see `trie_arrays`.
        records: its settings and its provenance.
        room: bytes of memory to use when it is written. threads: that compress ``.gz``.
    """
    model = UnsavedModel(arrays, vocabulary, *records)

    def write(path: str | os.PathLike[str]) -> None:
        pruned = bool(model.config["prune"]) and files.order > 1
        parts = parts_within(files, room)
        write_tables(
            path, table_sizes(files, pruned=pruned),
            lambda length: part_tables(
                files, length, parts, arrays["unigrams"], pruned=pruned,
                books=arrays.get("log_prob_book"),
            ),
            model.vocabulary, model.config["text"], threads=threads,
        )  # fmt: skip

    return Trained(model, write)
