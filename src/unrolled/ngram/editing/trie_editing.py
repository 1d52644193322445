"""Open a model, change its n-grams, close it again: what pruning, filtering and mixing share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import pack
from unrolled.ngram.trie.table import NgramTable
from unrolled.text.vocabulary import BOS, Vocabulary

Array = np.ndarray[Any, Any]


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


def remade(
    model: NgramModel, table: NgramTable, vocabulary: Vocabulary, operation: dict[str, Any]
) -> NgramModel:
    """What became of a model, quantized if that was; the operation joins its provenance."""
    table = _trimmed(table)
    config = {**model.config, "order": table.order}
    config.pop("quantized", None)
    past = [*model.provenance.get("surgery", []), operation]
    result = NgramModel(pack(table), vocabulary, config, {**model.provenance, "surgery": past})
    return quantize(result) if model.trie.quantized else result


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
