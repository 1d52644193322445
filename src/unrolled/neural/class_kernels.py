"""Kernels of the class-factored softmax: p(w | c, h) for the words of the target's class only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray[Any, Any]

TOGETHER = 8  # tokens that share a pass over their class's words, so that those are read once

# Sums may be taken in any order, which lets a dot product use vector registers. Nothing else of
# fastmath is on: infinities and NaN keep their meaning.
_REORDER = {"reassoc", "contract"}


@njit(cache=True, nogil=True, fastmath=_REORDER)
def word_losses(
    h: Array,
    targets: Array,
    tokens: Array,
    first: Array,
    classes: Array,
    members: Array,
    borders: Array,
    places: Array,
    weight: Array,
    bias: Array,
    losses: Array,
    dh: Array,
    dweight: Array,
    dbias: Array,
) -> None:
    """-log p(w | c, h) of every token of some classes, and its gradients.

    Args:
        h: (N, H) outputs of the net.
        targets: (N,) int64 word of each token.
        tokens: (N,) int64 tokens sorted by class; class c has tokens[first[c]:first[c + 1]].
        classes: the classes to do; others are another thread's.
        members: (V,) int64 words sorted by class; class c has members[borders[c]:borders[c + 1]].
        places: (V,) int64 place of each word within its class.
        weight, bias: (V, H) and (V,) of the words; a bias of -inf rules a word out.
        losses: (N,) out. dh: (N, H) out. dweight, dbias: (V, H), (V,) added to; all three
            gradients are of the sum of losses. A dweight of no rows asks for losses alone.
    """
    width = h.shape[1]
    most = 0
    for c in classes:
        most = max(most, borders[c + 1] - borders[c])
    p = np.empty((TOGETHER, most), h.dtype)
    for c in classes:
        low = borders[c]
        size = borders[c + 1] - low
        for begin in range(first[c], first[c + 1], TOGETHER):
            count = min(TOGETHER, first[c + 1] - begin)
            for j in range(size):
                word = members[low + j]
                for a in range(count):
                    i = tokens[begin + a]
                    total = bias[word]
                    for x in range(width):
                        total += h[i, x] * weight[word, x]
                    p[a, j] = total
            for a in range(count):
                i = tokens[begin + a]
                losses[i] = _softmax(p[a, :size], places[targets[i]])
            if dweight.shape[0] == 0:
                continue
            for a in range(count):
                i = tokens[begin + a]
                p[a, places[targets[i]]] -= 1
                for x in range(width):
                    dh[i, x] = 0
            for j in range(size):
                word = members[low + j]
                for a in range(count):
                    i = tokens[begin + a]
                    d = p[a, j]
                    dbias[word] += d
                    for x in range(width):
                        dh[i, x] += d * weight[word, x]
                    for x in range(width):
                        dweight[word, x] += d * h[i, x]


@njit(cache=True, nogil=True, fastmath=_REORDER)
def _softmax(scores: Array, target: int) -> float:
    """Turn scores into probabilities in place; returns -log of the target's."""
    top = scores[0]
    for j in range(scores.size):
        top = max(top, scores[j])
    chosen = scores[target] - top
    total = scores[0] * 0  # a zero of the array's own precision
    for j in range(scores.size):
        scores[j] = np.exp(scores[j] - top)
        total += scores[j]
    for j in range(scores.size):
        scores[j] /= total
    return np.log(total) - chosen
