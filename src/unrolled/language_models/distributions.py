"""Whole next-word distributions at every place of a text, of any language model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.text.vocabulary import BOS, EOS

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel

Array = np.ndarray[Any, Any]

_ROWS = 128  # distributions held at a time


def all_log_probs(model: LanguageModel, ids: Array) -> Iterator[Array]:
    """The whole distribution at each place of ids (T,), a few places at a time: (t, V) float32.

    A model that has its own, quicker ``all_log_probs`` is asked for it; others are stepped through.
    """
    if hasattr(model, "all_log_probs"):
        yield from model.all_log_probs(ids)
        return
    state, size = model.start(), len(model.vocabulary)
    for begin in range(0, ids.size, _ROWS):
        rows = np.empty((min(_ROWS, ids.size - begin), size), np.float32)
        for row, word in zip(rows, ids[begin : begin + _ROWS].tolist(), strict=True):
            if word == BOS:
                row[:] = -np.inf
                row[BOS] = 0
                state = model.start()
            else:
                row[:] = model.next_log_probs(state)
                if word != EOS:
                    state = model.advance(state, word)
        yield rows


def aligned(parts: Sequence[Iterator[Array]]) -> Iterator[list[Array]]:
    """Blocks of rows that models give in sizes of their own, cut to the same sizes."""
    waiting = [next(part, None) for part in parts]
    while all(rows is not None for rows in waiting):
        size = min(len(rows) for rows in waiting if rows is not None)
        yield [rows[:size] for rows in waiting if rows is not None]
        waiting = [
            rows[size:] if rows is not None and len(rows) > size else next(part, None)
            for rows, part in zip(waiting, parts, strict=True)
        ]


def log_sum_exp(values: Array) -> Array:
    """log sum exp over the last axis, kept; 0 where every value is -inf, so that they stay so."""
    top = values.max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.exp(values - top).sum(axis=-1, keepdims=True)
    result: Array = top + np.log(np.where(total > 0, total, 1))
    return result


def spread_sentences(ids: Array, most: int) -> Array:
    """Whole sentences of ids (T,), spread evenly, of ``most`` tokens together or one sentence.

    >>> spread_sentences(np.array([1, 3, 2, 1, 4, 2, 1, 5, 2, 1, 6, 2]), 6).tolist()
    [1, 3, 2, 1, 5, 2]
    """
    if ids.size <= most:
        return ids
    sentences = np.split(ids, np.flatnonzero(ids == EOS)[:-1] + 1)
    step = -(-ids.size // most)
    return np.concatenate(sentences[::step])
