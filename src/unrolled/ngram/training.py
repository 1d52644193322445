"""`train_ngram`: from text to a model that can be queried."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.ngram.counts.count_files import read_counts
from unrolled.ngram.counts.counting import NgramCounts, count_ngrams
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.estimator import estimate
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import pack
from unrolled.runtime.threads import return_memory
from unrolled.settings import configure
from unrolled.text.corpus import Corpus, read_corpus
from unrolled.text.options import TextOptions, VocabularyLimits, training_record
from unrolled.text.vocabulary import BOS, EOS, UNK

if TYPE_CHECKING:
    from unrolled.text.sources import Sources
    from unrolled.text.vocabulary import Vocabulary

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]


def train_ngram(
    sources: Sources | None = None,
    *,
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
) -> NgramModel:
    """Train an n-gram model; modified Kneser-Ney of order 5 unless ``settings`` say otherwise.

    Args:
        sources: files, folders or "-"; or instead
        texts: sentences.
        weights: a whole number for each source: how many times it counts.
        options: how text becomes tokens; the model keeps them for later texts.
        vocabulary, min_count, max_size, words: limits of the vocabulary, see `read_corpus`.
        threads: used for reading, sorting and estimating.
        report: called with the name of each stage as it begins.
        progress: called with the bytes read since the last call.
        **settings: those of `NgramConfig`.

    Raises:
        TextError: text that cannot be read, an empty one, or with ``strict`` one too small for
            its discounts. SettingError: a setting that is unknown or not allowed.

    >>> model = train_ngram(texts=["a b", "a c"], order=2, smoothing="additive", delta=0.5)
    >>> round(model.score("a b"), 3)
    -2.534
    """
    config = ngram_config(settings)
    if texts is not None and weights is not None:
        raise SettingError("weights are for files: repeat a text as often as it is to count")
    if report is not None:
        report("reading text")
    corpus = read_corpus(
        repeated(sources, weights),
        texts=texts,
        options=options,
        vocabulary=vocabulary,
        min_count=min_count,
        max_size=max_size,
        words=words,
        threads=threads,
        progress=progress,
    )
    model = train_on_corpus(corpus, config, options=options, threads=threads, report=report)
    limits = VocabularyLimits(min_count, max_size)
    model.provenance |= training_record(
        config, options or TextOptions(), limits, texts=sources, threads=threads
    )
    return model


def repeated(sources: Any, weights: Sequence[int] | None) -> Any:
    """Each source as often as its weight says."""
    if weights is None:
        return sources
    given = [sources] if isinstance(sources, (str, Path)) else list(sources)
    if len(weights) != len(given) or any(weight < 1 or weight % 1 for weight in weights):
        raise SettingError(
            f"weights {list(weights)} must be whole numbers above 0, one for each of the "
            f"{len(given)} sources"
        )
    pairs = zip(given, weights, strict=True)
    return [source for source, weight in pairs for _ in range(int(weight))]


def ngram_config(settings: dict[str, Any]) -> NgramConfig:
    """Settings by name.

    Raises:
        SettingError: an unknown name, with the nearest known one.
    """
    config: NgramConfig
    (config,) = configure(settings, NgramConfig)
    return config


def corpus_record(corpus: Corpus, crc32: int) -> dict[str, Any]:
    """What a model file keeps of its text; ``crc32`` is that of the ids."""
    return {
        "tokens": corpus.tokens,
        "sentences": corpus.sentences,
        "unknown": int(corpus.word_counts[UNK]),
        "unknown_types": corpus.unknown_types,
        "ids_crc32": f"{crc32:08x}",
    }


def train_on_corpus(
    corpus: Corpus,
    config: NgramConfig,
    *,
    options: TextOptions | None = None,
    threads: int = 2,
    report: Report | None = None,
) -> NgramModel:
    """Count and estimate a corpus that has been read; its ids are used up.

    Raises:
        TextError: an empty text, or with ``strict`` one too small for its discounts.
    """
    if corpus.tokens == 0:
        raise TextError("the text is empty: there is nothing to count")
    vocabulary = corpus.vocabulary
    crc32 = zlib.crc32(corpus.ids.view(np.uint8).data)
    provenance = {"text": corpus_record(corpus, crc32)}
    return_memory()
    counts = count_ngrams(
        corpus.take_ids(), config.order, len(vocabulary), threads=threads, report=report
    )
    return model_from_counts(
        counts, vocabulary, config, options=options, provenance=provenance, threads=threads,
        report=report,
    )  # fmt: skip


def model_from_counts(
    counts: NgramCounts,
    vocabulary: Vocabulary,
    config: NgramConfig,
    *,
    options: TextOptions | None = None,
    provenance: dict[str, Any] | None = None,
    threads: int = 2,
    report: Report | None = None,
) -> NgramModel:
    """Estimate a model from counts, however they were made."""
    result = estimate(counts, config, threads=threads, report=report)
    settings = {**asdict(config), "text": (options or TextOptions()).stored()}
    made = {**(provenance or {}), **result.record}
    return NgramModel(pack(result.table, consume=True), vocabulary, settings, made)


def counts_record(word_counts: Array) -> dict[str, Any]:
    """What a model file keeps of its count files: their words' counts, (V,)."""
    tokens = int(word_counts.sum(dtype=np.int64) - int(word_counts[BOS]))
    return {"counts": {"tokens": tokens, "sentences": int(word_counts[EOS])}}


def train_on_counts(
    sources: Sources,
    *,
    vocabulary: Vocabulary | None = None,
    weights: Sequence[int] | None = None,
    options: TextOptions | None = None,
    threads: int = 2,
    report: Report | None = None,
    progress: Callable[[int], None] | None = None,
    **settings: Any,
) -> NgramModel:
    """Train an n-gram model on count files; equal to `train_ngram` on their text.

    Args:
        sources, vocabulary, weights, threads, report, progress: see `read_counts`.
        options: how the text was cut into tokens; the model keeps it for later texts.
        **settings: those of `NgramConfig`; the order is the files' unless given.

    Raises:
        UnrolledError: as of `read_counts` and `train_ngram`.
    """
    ngram_config(settings)  # refuse wrong settings before hours of reading
    counts, words = read_counts(
        sources,
        order=settings.get("order"),
        vocabulary=vocabulary,
        weights=weights,
        threads=threads,
        report=report,
        progress=progress,
    )
    config = ngram_config({**settings, "order": counts.order})
    provenance = counts_record(counts.counts(1))
    model = model_from_counts(
        counts, words, config, options=options, provenance=provenance, threads=threads,
        report=report,
    )  # fmt: skip
    model.provenance |= training_record(
        config, options or TextOptions(), VocabularyLimits(), texts=sources, threads=threads
    )
    return model
