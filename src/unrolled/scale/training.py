"""Train an n-gram model within a budget of memory: in memory, or over temporary files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import SettingError, TextError
from unrolled.ngram.model import NgramModel
from unrolled.ngram.training import corpus_record, ngram_config, repeated, train_on_corpus
from unrolled.scale.budget import Budget, in_memory_bytes
from unrolled.scale.estimator import count_levels, estimated_arrays
from unrolled.storage.atomic import check_target
from unrolled.storage.columns import Column
from unrolled.storage.loading import StoredModel, load_as
from unrolled.storage.model_file import prefixed
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus
from unrolled.text.id_store import IdStore
from unrolled.text.options import TextOptions, VocabularyLimits, training_record

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
    sources: Sources | None = None, output: str | os.PathLike[str] = "", **given: Any
) -> NgramModel:
    """Train an n-gram model into a file, within a budget of memory.

    A text that fits is trained in memory, as `train_ngram` does; of a larger one all that grows
    with the text goes to temporary files. The model has the same bytes either way.

    Args:
        sources: files, folders or "-".
        output: the ``.safetensors`` file to make.
        given: ``memory``, ``temporary`` and all else of `ngram_training`.

    Returns:
        The model, opened from its file.

    Raises:
        As `ngram_training`.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "small.safetensors")
    >>> train_ngram_file(texts=["a b", "a c"], output=path, memory="1G", order=2,
    ...     smoothing="additive").order
    2
    >>> folder.cleanup()
    """
    check_target(os.fspath(output))
    folder = given.pop("temporary", None) or Path(os.path.realpath(output)).parent
    with ngram_training(sources, temporary=folder, **given) as model:
        if (report := given.get("report")) is not None:
            report(f"writing {os.fspath(output)}")
        model.save(output)
    return load_as(output, NgramModel, "use")


@contextlib.contextmanager
def ngram_training(
    sources: Sources | None = None,
    *,
    temporary: str | os.PathLike[str],
    memory: str | int | None = None,
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
        temporary: folder for temporary files, which are removed at the end.
        memory: bytes, or text such as "4G"; by default three quarters of what is free.

    Yields:
        An `NgramModel`, or a `ModelInFiles`, which can only be saved.

    Raises:
        As `train_ngram`. SettingError: a budget that is too small. UnrolledError: a full disk.
    """
    config, say = ngram_config(settings), report or (lambda stage: None)
    if texts is not None and weights is not None:
        raise SettingError("weights are for files: repeat a text as often as it is to count")
    budget, options = Budget(memory), options or TextOptions()
    limit = budget.room() // in_memory_bytes(config.order)
    record = training_record(
        config, options, VocabularyLimits(min_count, max_size), texts=sources, threads=threads
    )
    with WorkFolder(temporary, {}) as folder:
        store = IdStore(limit, lambda: Column(folder.path / "ids", "int32"))
        say("reading text")
        corpus = read_corpus(
            repeated(sources, weights), texts=texts, options=options, vocabulary=vocabulary,
            min_count=min_count, max_size=max_size, words=words, threads=threads, store=store,
            progress=progress,
        )  # fmt: skip
        if store.column is None:
            model = train_on_corpus(corpus, config, options=options, threads=threads, report=report)
            model.provenance |= record
            yield model
            return
        if corpus.tokens == 0:
            raise TextError("the text is empty: there is nothing to count")
        what = f"the text's vocabulary of {len(corpus.vocabulary)} words"
        files = count_levels(
            store.blocks, corpus.word_counts, config.order, folder=folder.path,
            room=budget.room(what), threads=threads, report=say,
        )  # fmt: skip
        arrays, rules = estimated_arrays(
            files, config, corpus.word_counts, room=budget.room(what), threads=threads, report=say
        )
        made = {"text": corpus_record(corpus, store.crc32), "discounts": rules.discounts, **record}
        stored = {**asdict(config), "text": options.stored()}
        yield ModelInFiles(arrays, corpus.vocabulary, stored, made)
