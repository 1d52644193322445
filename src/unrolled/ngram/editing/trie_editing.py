"""Unpack a model to edit its n-grams, and pack the result: shared by pruning and filtering."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import pack
from unrolled.ngram.trie.table import NgramTable
from unrolled.text.vocabulary import BOS, Vocabulary


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
    """The edited model, quantized if the original was; the operation is added to its provenance."""
    table = _trimmed(table)
    config = {**model.config, "order": table.order}
    config.pop("quantized", None)
    provenance = dict(model.provenance)
    if len(vocabulary) != len(model.vocabulary):  # and then <unk> is for other words too
        text = provenance.get("text", {})
        provenance["text"] = {name: text[name] for name in text if name != "unknown_types"}
    past = provenance.pop("surgery", [])  # the name in files of earlier versions
    provenance["edits"] = [*provenance.get("edits", past), operation]
    result = NgramModel(pack(table), vocabulary, config, provenance)
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
