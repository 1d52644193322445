"""Open a model, change its n-grams, close it again: what pruning, filtering and mixing share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.ngram.editing.quantisation import quantise
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie import editing_kernels as kernels
from unrolled.ngram.trie.packed_trie import pack
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import BOS, Vocabulary

Array = np.ndarray[Any, Any]

STRETCHES = 32
ROUNDING = 1e-5


def opened(model: NgramModel) -> NgramTable:
    """A model's table, in which <s> is never predicted.

    Raises:
        FormatError: a damaged model.
    """
    table = model.trie.unpack()
    for length in range(1, table.order + 1):
        # ARPA files give <s> a log-probability of 0 or -99: it would count in the sums.
        places = np.flatnonzero(table.last_words(length) == BOS)
        table.log_probs[places + table.level(length).start] = -np.inf
    return table


def contexts(table: NgramTable, length: int) -> list[tuple[int, int]]:
    """Stretches of the contexts of n-grams of ``length`` words."""
    above = table.level(length - 1)
    cuts = even_slices(above.stop - above.start, STRETCHES)
    return [(above.start + low, above.start + high) for low, high in cuts]


def renew_backoffs(
    table: NgramTable, suffixes: Array, keep: Array | None, predicted: int, threads: int
) -> None:
    """Make every context sum to one, or those alone that lose a child to ``keep`` (G,) bool.

    ``predicted`` words have a probability: a context that has them all needs no back-off.
    """
    marks = np.ones(int(table.levels[-1]), bool) if keep is None else keep
    total = float(np.exp(table.log_probs[table.level(1)], dtype=np.float64).sum())
    if abs(total - 1) > ROUNDING:
        total = 1.0  # a padded vocabulary: the rest belongs to words that are not in it
    sums = np.empty(table.inner)
    for length in range(2, table.order + 1):
        above = table.level(length - 1)
        whole = sums[suffixes[above]] if length > 2 else np.full(above.stop, total)
        shared = (marks, suffixes, table.log_probs, table.backoffs)
        run_slices(
            kernels.renew_backoffs,
            [
                (table.first, low, high, *shared, whole[low - above.start : high - above.start],
                 sums, predicted, keep is None)
                for low, high in contexts(table, length)
            ],
            threads,
        )  # fmt: skip


def remade(
    model: NgramModel, table: NgramTable, vocabulary: Vocabulary, operation: dict[str, Any]
) -> NgramModel:
    """What became of a model, quantised if that was; the operation joins its provenance."""
    table = _trimmed(table)
    config = {**model.config, "order": table.order}
    config.pop("quantised", None)
    past = [*model.provenance.get("surgery", []), operation]
    result = NgramModel(pack(table), vocabulary, config, {**model.provenance, "surgery": past})
    return quantise(result) if model.trie.quantised else result


def _trimmed(table: NgramTable) -> NgramTable:
    """Without the highest orders if they have no n-grams left."""
    order = max(int(np.searchsorted(table.levels, table.levels[-1])), 1)
    if order == table.order:
        return table
    levels = table.levels[: order + 1]
    inner = int(levels[-2])
    return replace(
        table, levels=levels, first=table.first[: inner + 1], backoffs=table.backoffs[:inner]
    )
