"""Several n-gram models into one: weights tuned on held-out text, and a static linear mixture.

>>> from unrolled import train_ngram
>>> one = train_ngram(texts=["the cat sat", "the cat ran"], order=2, smoothing="witten-bell")
>>> two = train_ngram(texts=["the dog sat", "a dog ran"], order=2, smoothing="witten-bell")
>>> mixed = mix([one, two], [0.5, 0.5])
>>> mixed.order, len(one.vocabulary), len(two.vocabulary), len(mixed.vocabulary)
(2, 7, 8, 9)
>>> float(np.exp(mixed.next_log_probs(mixed.start())).sum().round(6))
1.0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.language_models.mixture import check_several, checked_weights
from unrolled.language_models.mixture_weights import WeightFit, em_weights
from unrolled.ngram.editing.trie_editing import opened
from unrolled.ngram.model import NgramModel, checked_ids
from unrolled.ngram.trie.packed_trie import pack
from unrolled.ngram.trie.table import NgramTable
from unrolled.ngram.trie.union import Part, conditional_log_probs, unite
from unrolled.runtime.threads import run_ahead
from unrolled.text.tokens import read_blocks
from unrolled.text.vocabulary import BOS, UNK, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.blocks import Block
    from unrolled.text.options import TextOptions
    from unrolled.text.sources import Sources

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]


def tune_weights(
    models: Sequence[NgramModel],
    sources: Sources | None = None,
    *,
    ids: Array | None = None,
    options: TextOptions | None = None,
    skip_oov: bool = False,
    tolerance: float = 1e-6,
    iterations: int = 1000,
    threads: int = 2,
) -> WeightFit:
    """Weights of a linear mixture of models that make held-out text likeliest.

    A word that some models know and others do not has probability 0 for those others, whose <unk>
    stands for words that nobody knows; so it is in `mix`. A word that none knows is <unk> for all.

    Args:
        models: two or more; their vocabularies and orders may differ.
        sources: held-out text: files, folders or "-"; or instead
        ids: (T,) int ids of ``models[0].vocabulary``, sentences as <s> words </s>.
        options: how to read the text; by default as the models' training text was read.
        skip_oov: leave the words that no model knows out of account.
        tolerance, iterations: see `em_weights`.

    Returns:
        The weights, and the perplexity at each step.

    Raises:
        TextError: text that cannot be read, or an empty one.
        SettingError: fewer than two models, both text and ids, or models that
            split text differently.
        NotNormalisedError: stupid back-off.
    """
    check_several(models)
    if (sources is None) == (ids is None):
        raise SettingError("give either held-out text or ids to tune weights on")
    if ids is not None:
        own = _mapped_ids(models, checked_ids(ids))
        return _fit([_held_out(models, own, skip_oov)], tolerance, iterations)
    given = options or models[0].text_options

    def part(block: Block) -> Array:
        encoded = [
            model.vocabulary.encode_block(block.data, specials=given.specials, place=block.place)
            for model in models
        ]
        return _held_out(models, [each.ids for each in encoded], skip_oov)

    parts = list(run_ahead(part, read_blocks(sources or (), given), threads))
    return _fit(parts, tolerance, iterations)


def _fit(parts: list[Array], tolerance: float, iterations: int) -> WeightFit:
    if not parts or not any(part.size for part in parts):
        raise TextError("the held-out text is empty")
    return em_weights(np.concatenate(parts, axis=1), tolerance=tolerance, iterations=iterations)


def _mapped_ids(models: Sequence[NgramModel], ids: Array) -> list[Array]:
    """The ids of the first model's vocabulary in each model's own."""
    first = models[0].vocabulary
    if ids.size and not 0 <= ids.min() <= ids.max() < len(first):
        raise SettingError(
            f"ids reach from {ids.min()} to {ids.max()}; allowed are 0 to {len(first) - 1}"
        )
    words = list(first)
    return [ids, *(model.vocabulary.ids(words)[ids] for model in models[1:])]


def _held_out(models: Sequence[NgramModel], ids: list[Array], skip_oov: bool) -> Array:
    """(M, T) float32 log-probabilities of the tokens that are predicted."""
    log_probs = np.array([model.log_probs(own) for model, own in zip(models, ids, strict=True)])
    unknown = np.array([own == UNK for own in ids])
    oov = unknown.all(axis=0)
    log_probs[unknown & ~oov] = -np.inf
    counted = ids[0] != BOS
    if skip_oov:
        counted &= ~oov
    return log_probs[:, counted]


def mix(
    models: Sequence[NgramModel],
    weights: Sequence[float] | Array,
    *,
    threads: int = 2,
    report: Report | None = None,
) -> NgramModel:
    """One back-off model for the linear mixture p(w|h) = sum_i weight_i p_i(w|h).

    It holds every n-gram that some model holds, with exactly that probability, each p_i with its
    own back-off; back-off weights make every context sum to one, as ``ngram -mix-lm`` of SRILM
    does. Words that follow a context in no model get their probability by the mixture's back-off,
    which is near the true mixture but not equal to it.

    The vocabulary is that of all models, by descending probability. A word that a model lacks has
    probability 0 there, and as context is that model's <unk>; the mixture's <unk> is the mixture of
    the models' <unk>.

    Args:
        models: two or more; their orders may differ.
        weights: one for each, at least 0, of sum 1 (see `tune_weights`). A model of weight 0 adds
            no n-grams.
        report: called with the name of each stage as it begins.

    Raises:
        SettingError: fewer than two models, other weights, or models that split text differently.
        NotNormalisedError: stupid back-off.
    """
    check_several(models)
    shares = checked_weights(weights, len(models))
    begin = report or (lambda stage: None)
    used = [number for number, share in enumerate(shares) if share > 0]
    begin("unpacking the models")
    tables = [opened(models[number]) for number in used]
    own = [models[number].vocabulary for number in used]
    single = [
        share * np.exp(table.log_probs[table.level(1)], dtype=np.float64)
        for share, table in zip(shares[used], tables, strict=True)
    ]
    vocabulary = Vocabulary.united(own, single)
    parts = [
        Part.between(table, words, vocabulary, substitute=UNK)
        for table, words in zip(tables, own, strict=True)
    ]
    union = unite(parts, len(vocabulary), threads=threads, report=begin)
    mixed = NgramTable(
        union.levels,
        union.words,
        union.bits,
        union.first,
        np.empty(int(union.levels[-1]), np.float32),
        np.zeros(union.inner, np.float32),
    )
    begin("linking suffixes")
    suffixes = mixed.link_suffixes(threads=threads)
    begin("mixing probabilities")
    sources = [
        conditional_log_probs(mixed, suffixes, table, part.inverse, nodes, threads=threads)
        for table, part, nodes in zip(tables, parts, union.nodes, strict=True)
    ]
    for length, each in enumerate(zip(*sources, strict=True), 1):
        mixed.log_probs[mixed.level(length)] = _log_mean(each, shares[used])
    begin("recomputing back-off weights")
    predicted = len(vocabulary) - 1 - int(mixed.log_probs[UNK] == -np.inf)
    mixed.renew_backoffs(suffixes, None, predicted, threads=threads)
    return _mixture(models, shares, mixed, vocabulary)


def _log_mean(log_probs: Sequence[Array], weights: Array) -> Array:
    """log of sum_i weight_i p_i."""
    total = np.zeros(log_probs[0].size)
    for values, weight in zip(log_probs, weights, strict=True):
        total += weight * np.exp(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        result: Array = np.log(total)
    return result


def _mixture(
    models: Sequence[NgramModel], shares: Array, table: NgramTable, vocabulary: Vocabulary
) -> NgramModel:
    config: dict[str, Any] = {"smoothing": "mixture", "order": table.order}
    if "text" in models[0].config:
        config["text"] = models[0].config["text"]
    parts = [
        {"name": model.name, "weight": float(share), "config": model.config}
        for model, share in zip(models, shares, strict=True)
    ]
    return NgramModel(pack(table), vocabulary, config, {"mixed": parts})
