"""Make an existing model smaller: by relative entropy, to a size, or to a list of words.

All of it works on any model, one from an ARPA file too. A pruned model sums to one again, and
weights of contexts that lose nothing stay as they are, bit for bit.

>>> from unrolled import train_ngram
>>> texts = ["the cat sat on the mat", "the dog sat on the cat", "a dog ran"]
>>> model = train_ngram(texts=texts, order=3, smoothing="witten-bell")
>>> [int(size) for size in np.diff(model.trie.levels)]
[11, 14, 14]
>>> [int(size) for size in np.diff(entropy_prune(model, 0.01).trie.levels)]
[11, 14, 3]
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import require_normalised
from unrolled.ngram.editing.frequencies import foreign_frequencies, own_frequencies
from unrolled.ngram.editing.interpolation import interpolated_trie
from unrolled.ngram.editing.trie_editing import opened, remade
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie import editing_kernels as kernels
from unrolled.ngram.trie.layout import BLOCK, NONE, packed_size, spread_words
from unrolled.ngram.trie.packed_trie import links_size
from unrolled.ngram.trie.table import NgramTable
from unrolled.ngram.trie.union import Part, Union, unite
from unrolled.runtime.threads import run_slices
from unrolled.text.vocabulary import EOS, UNK, Vocabulary

Array = np.ndarray[Any, Any]
Report = Callable[[str], None]

REMOVED = ("unknown", "renormalise")


def entropy_prune(
    model: NgramModel,
    threshold: float,
    *,
    history: NgramModel | str = "stationary",
    threads: int = 2,
    report: Report | None = None,
) -> NgramModel:
    """Drop the n-grams without which the model's perplexity grows by less than a share.

    Stolcke, "Entropy-based pruning of backoff language models" (1998), eq. 5: the relative entropy
    D between the model with the n-gram and the one without, in closed form; the n-gram goes if
    exp(D) - 1 < threshold, as for SRILM's ``ngram -prune``.

    Differs from SRILM: the suffix of an n-gram that stays, stays too (here every n-gram's suffix is
    in the model), so at the same threshold a few more short n-grams are left; and p(h) is the
    model's stationary frequency of h (see `frequencies`), unless ``history`` is "chain".

    Args:
        threshold: the share, about 1e-9 to 1e-6; at 0 nothing goes.
        history: where p(h) comes from: "stationary", by far the better for Kneser-Ney models;
            "chain", the chain rule's product of Stolcke and SRILM; or another model of the same
            text, by its chain rule (SRILM's ``-prune-history-lm``).
        report: called with the name of each stage as it begins.

    Raises:
        SettingError: a threshold that is no share, or another history. NotNormalisedError: stupid
            back-off.
    """
    if not 0 <= threshold < math.inf:
        raise SettingError(f"the threshold is {threshold}, allowed are 0 and more")
    table, suffixes, values = _measured(model, history, threads, report)
    keep = values >= threshold
    operation = {"pruned": {"threshold": threshold, "history": _name(history)}}
    return _pruned(model, table, suffixes, keep, operation, threads, report)


def prune_to_size(
    model: NgramModel,
    *,
    ngrams: int | None = None,
    megabytes: float | None = None,
    history: NgramModel | str = "stationary",
    threads: int = 2,
    report: Report | None = None,
) -> NgramModel:
    """Drop the n-grams that matter least, as `entropy_prune` does, until the model fits.

    Args:
        ngrams: how many to keep, of all orders together, single words included; all if there are
            fewer.
        megabytes: or the largest file that `NgramModel.save` may write, in 10^6 bytes.
        history, threads, report: as for `entropy_prune`.

    Raises:
        SettingError: neither or both sizes, or one that not even the single words fit.
        NotNormalisedError: stupid back-off.
    """
    if (ngrams is None) == (megabytes is None):
        raise SettingError("give either a number of n-grams or megabytes to prune to")
    words = len(model.vocabulary)
    if ngrams is not None and ngrams < words:
        raise SettingError(
            f"{ngrams} n-grams are fewer than the model's {words} words, which pruning keeps",
            hint="Filter the vocabulary first",
        )
    table, suffixes, values = _measured(model, history, threads, report)
    if ngrams is None:
        ngrams = _count_that_fits(model, table, suffixes, values, float(megabytes or 0))
    keep = _largest(values, ngrams)
    threshold = float(values[~keep].max(initial=0.0))
    operation = {"pruned": {"threshold": threshold, "history": _name(history)}}
    return _pruned(model, table, suffixes, keep, operation, threads, report)


def _name(history: NgramModel | str) -> str:
    return history if isinstance(history, str) else history.name


def _measured(
    model: NgramModel, history: NgramModel | str, threads: int, report: Report | None
) -> tuple[NgramTable, Array, Array]:
    """The model's table, its suffixes, and what keeps each n-gram: the largest share that depends
    on it, by itself or as context or suffix of another; (G,) float32."""
    require_normalised(model, "pruning")
    say = report or (lambda stage: None)
    say("unpacking the model")
    table = opened(model)
    suffixes = table.link_suffixes(threads=threads)
    say("counting on contexts")
    if isinstance(history, str):
        past = own_frequencies(table, suffixes, history)
    else:
        past = foreign_frequencies(table, suffixes, model.vocabulary, history, threads=threads)
    values = np.full(int(table.levels[-1]), np.inf, np.float32)
    for length in range(2, table.order + 1):
        say(f"relative entropies of order {length}")
        shared = (suffixes, table.log_probs, past, values)
        run_slices(
            kernels.relative_entropies,
            [(table.first, *cut, *shared) for cut in table.context_slices(length)],
            threads,
        )
    for length in range(table.order, 2, -1):
        above = table.level(length - 1)
        kernels.raise_shorter(table.first, above.start, above.stop, suffixes, values)
    return table, suffixes, values


def _pruned(
    model: NgramModel,
    table: NgramTable,
    suffixes: Array,
    keep: Array,
    operation: dict[str, Any],
    threads: int,
    report: Report | None,
) -> NgramModel:
    if report is not None:
        report("recomputing back-off weights")
    table.renew_backoffs(suffixes, keep, model.vocabulary_predicted, threads=threads)
    return remade(model, table.select(keep), model.vocabulary, operation)


# -- to a size -------------------------------------------------------------------------------------


def _largest(values: Array, count: int) -> Array:
    """Marks of the ``count`` largest values, (G,) bool, of equal ones those that come first.

    Shorter n-grams come first and have at least the values of the longer ones that need them, so
    what is marked can stand alone, whatever the count.
    """
    if count >= values.size:
        return np.ones(values.size, bool)
    least = np.partition(values, values.size - count)[values.size - count]
    keep: Array = values > least
    keep[np.flatnonzero(values == least)[: count - np.count_nonzero(keep)]] = True
    return keep


def _count_that_fits(
    model: NgramModel, table: NgramTable, suffixes: Array, values: Array, megabytes: float
) -> int:
    """The most n-grams, those of the largest values, whose file has at most ``megabytes``."""
    target = megabytes * 1e6
    low, high = len(model.vocabulary), values.size
    least = _file_size(model, table, suffixes, _largest(values, low))
    if least > target:
        raise SettingError(
            f"{megabytes} MB are too few: the words alone take {least / 1e6:.3g} MB",
            hint="Filter the vocabulary first",
        )
    most = _file_size(model, table, suffixes, np.ones(values.size, bool))
    if most <= target:
        return high
    # The size grows nearly in line with the number, so interpolation ends in a few steps.
    while high - low > 1 and most - least > 1000:
        middle = low + int((target - least) / (most - least) * (high - low))
        middle = min(max(middle, low + 1), high - 1)
        size = _file_size(model, table, suffixes, _largest(values, middle))
        if size <= target:
            low, least = middle, size
            if target - size < 1000 + target * 1e-4:
                break
        else:
            high, most = middle, size
    return low


def _file_size(model: NgramModel, table: NgramTable, suffixes: Array, keep: Array) -> float:
    """Bytes of the file of a model with only the n-grams of ``keep``, or some hundred less."""
    places = np.zeros(keep.size + 1, np.uint32)
    np.cumsum(keep, out=places[1:])
    children = np.diff(places[table.first])
    total = int(places[-1])
    inner = int(np.count_nonzero(keep[: table.inner]))
    marked = int(np.count_nonzero(children))
    longer = total - len(model.vocabulary)
    tree = 32 * (-(-inner // BLOCK)) + 4 * int(np.count_nonzero(children > 2))
    if model.trie.quantized:
        kept = _renewed(model, table, suffixes, keep)
        trie = interpolated_trie(*kept)
        numbers = longer + 9 / 8 * marked + 1024 * (table.order + 1)
        if trie is not None:
            numbers = trie.codes.nbytes + trie.weights.nbytes + trie.log_prob_book.nbytes
        tree += links_size(*kept)
    else:
        numbers = 4 * longer + 4 * marked  # hardly a weight that was renewed occurs twice
        tree += 8 * packed_size(total, table.bits)
    words = model.vocabulary.arrays()
    fixed = sum(array.nbytes for array in words.values())
    if model.trie.quantized:
        fixed = words["text"].nbytes + len(model.vocabulary)
    fixed += 4 * len(model.vocabulary) + len(json.dumps([model.config, model.provenance]))
    header = 4900 if model.trie.quantized else 3900  # by the number of arrays, and some to spare
    return numbers + tree + fixed + header


def _renewed(
    model: NgramModel, table: NgramTable, suffixes: Array, keep: Array
) -> tuple[NgramTable, Array]:
    """The table with only the n-grams of ``keep``, as `_pruned` makes it, and its suffixes."""
    table = replace(table, backoffs=table.backoffs.copy())
    table.renew_backoffs(suffixes, keep, model.vocabulary_predicted)
    kept = table.select(keep)
    return kept, kept.link_suffixes()


# -- to a vocabulary -------------------------------------------------------------------------------


def filter_vocabulary(
    model: NgramModel,
    words: Iterable[str],
    *,
    removed: str = "unknown",
    threads: int = 2,
    report: Report | None = None,
) -> NgramModel:
    """Keep only the n-grams whose words are all in a list; <unk>, <s> and </s> stay.

    With ``removed="unknown"`` the words removed become unknown words: after every context that
    stays, the probability of <unk> is exactly what <unk> and they had together, so that sentences
    of words kept score as before and each context still sums to one. Where some of them followed a
    context, one n-gram, "context <unk>", takes their place: no model grows.
    With ``removed="renormalise"`` their probability goes to the words that are left: single words
    are divided by what remains, and back-off weights make up for longer n-grams.

    Differs from SRILM and KenLM: SRILM's ``-limit-vocab`` does the second, KenLM's ``filter`` drops
    n-grams and does not change the others, so that contexts sum to less than one.

    Args:
        words: words to keep; those that the model lacks are left out of account.

    Raises:
        SettingError: another value of ``removed``, or no word that the model has.
        NotNormalisedError: stupid back-off.
    """
    if removed not in REMOVED:
        raise SettingError(f"removed is {removed!r}, allowed are {', '.join(REMOVED)}")
    require_normalised(model, "filtering the vocabulary")
    say = report or (lambda stage: None)
    say("unpacking the model")
    table = opened(model)
    stays = np.zeros(len(model.vocabulary), bool)
    stays[model.vocabulary.ids(list(words))] = True
    if not stays[EOS + 1 :].any():
        raise SettingError("the model has none of the words to keep")
    stays[: EOS + 1] = True
    kept = np.flatnonzero(stays)
    names = list(model.vocabulary)
    vocabulary = Vocabulary.from_words(names[id] for id in kept.tolist())
    mapping = np.where(stays, np.cumsum(stays) - 1, UNK if removed == "unknown" else -1)
    part = Part(table, mapping.astype(np.int32), kept.astype(np.int32))
    union = unite([part], kept.size, threads=threads, report=say)
    say("recomputing probabilities")
    result = _with_values(union, table)
    if removed == "unknown":
        mass = _unknown_mass(table, table.link_suffixes(threads=threads), ~stays, threads)
        _give_to_unknown(result, union.nodes[0], mass)
    else:
        left = np.exp(result.log_probs[: kept.size].astype(np.float64)).sum()
        result.log_probs[: kept.size] -= np.log(left)
        predicted = kept.size - 1 - int(result.log_probs[UNK] == -np.inf)
        suffixes = result.link_suffixes(threads=threads)
        result.renew_backoffs(suffixes, None, predicted, threads=threads)
    operation = {"filtered": {"words": int(kept.size), "removed": removed}}
    return remade(model, result, vocabulary, operation)


def _with_values(union: Union, table: NgramTable) -> NgramTable:
    """The table of a union of one trie, with the values of its n-grams; log 1 for new ones."""
    nodes = union.nodes[0]
    log_probs = np.zeros(nodes.size, np.float32)
    had = nodes != NONE
    log_probs[had] = table.log_probs[nodes[had]]
    inner = nodes[: union.inner]
    backoffs = np.zeros(inner.size, np.float32)
    had = inner < table.inner
    backoffs[had] = table.backoffs[inner[had]]
    return NgramTable(union.levels, union.words, union.bits, union.first, log_probs, backoffs)


def _unknown_mass(table: NgramTable, suffixes: Array, gone: Array, threads: int) -> Array:
    """Probability of <unk> and all words ``gone`` (V,) after each context: (inner,) float64.

    One more at the end: without any context.
    """
    unknown = gone.copy()
    unknown[UNK] = True
    fields = np.zeros(1 << table.bits, bool)
    fields[spread_words(np.flatnonzero(unknown), table.bits)] = True
    alone = np.exp(table.log_probs[: gone.size][unknown].astype(np.float64)).sum()
    mass = np.full(table.inner + 1, alone)
    for length in range(2, table.order + 1):
        here = table.level(length - 1)
        cuts = table.context_slices(length)
        above = mass[suffixes[here]] if length > 2 else np.full(gone.size, alone)
        shared = (table.log_probs, table.backoffs, mass)
        run_slices(
            kernels.class_mass,
            [
                (
                    table.first, *cut, table.words, table.bits, fields, suffixes,
                    above[cut[0] - here.start : cut[1] - here.start], *shared,
                )
                for cut in cuts
            ],
            threads,
        )  # fmt: skip
    return mass


def _give_to_unknown(result: NgramTable, nodes: Array, mass: Array) -> None:
    """Set the probability of <unk> wherever the table has it."""
    with np.errstate(divide="ignore"):
        result.log_probs[UNK] = np.log(mass[-1])
        for length in range(2, result.order + 1):
            here = np.flatnonzero(result.last_words(length) == UNK)
            context = nodes[result.parents(length)[here]]
            result.log_probs[here + result.level(length).start] = np.log(mass[context])
