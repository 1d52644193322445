"""Kernels of the class-factored softmax: p(w | c, h) for the words of the target's class only."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.kernels import sum_kernel, sum_part

Array = np.ndarray[Any, Any]

TOGETHER = 8  # tokens that share a pass over their class's words, so that those are read once


@sum_kernel
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
    table: Array,
    starts: Array,
    offsets: Array,
    errors: Array,
    scale: float,
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
        table, starts, offsets, errors: n-gram features, see `max_ent.Stretches`; starts (N, 0) has
            none, and no errors are written where there is no room for any.
        scale: what the gradients are multiplied by, in the precision of h.
        losses: (N,) out. dh: (N, H) out. dweight, dbias: (V, H), (V,) added to; all three
            gradients are of the sum of losses. A dh of no rows asks for losses alone, a dweight of
            no rows for no gradient of the weights.
    """
    most = 0
    for c in classes:
        most = max(most, borders[c + 1] - borders[c])
    p = np.empty((TOGETHER, most), h.dtype)
    for c in classes:
        words = members[borders[c] : borders[c + 1]]
        for begin in range(first[c], first[c + 1], TOGETHER):
            rows = tokens[begin : min(begin + TOGETHER, first[c + 1])]
            _scores(h, rows, weight, bias, words, p)
            for a in range(rows.size):
                for k in range(starts.shape[1]):
                    if starts[rows[a], k] >= 0:
                        for j in range(words.size):
                            p[a, j] += table[starts[rows[a], k] + j]
            for a in range(rows.size):
                losses[rows[a]] = _softmax(p[a, : words.size], places[targets[rows[a]]])
            if dh.shape[0] > 0:
                for a in range(rows.size):
                    p[a, places[targets[rows[a]]]] -= 1
                    for j in range(words.size):
                        p[a, j] *= scale
                        dbias[words[j]] += p[a, j]
                    if errors.size > 0:
                        for j in range(words.size):
                            errors[offsets[rows[a]] + j] = p[a, j]
                _add_to_outputs(p, rows, weight, words, dh)
                if dweight.shape[0] > 0:
                    _add_to_weights(p, rows, h, words, dweight)


@sum_part
def _scores(h: Array, rows: Array, weight: Array, bias: Array, words: Array, p: Array) -> None:
    """p[a, j] = h[rows[a]] weight[words[j]] + bias[words[j]], four words at a time."""
    width = h.shape[1]
    whole = words.size & ~3
    for j in range(0, whole, 4):
        w0, w1, w2, w3 = words[j], words[j + 1], words[j + 2], words[j + 3]
        for a in range(rows.size):
            i = rows[a]
            s0, s1, s2, s3 = bias[w0], bias[w1], bias[w2], bias[w3]
            for x in range(width):
                s0 += h[i, x] * weight[w0, x]
                s1 += h[i, x] * weight[w1, x]
                s2 += h[i, x] * weight[w2, x]
                s3 += h[i, x] * weight[w3, x]
            p[a, j] = s0
            p[a, j + 1] = s1
            p[a, j + 2] = s2
            p[a, j + 3] = s3
    for j in range(whole, words.size):
        for a in range(rows.size):
            s0 = bias[words[j]]
            for x in range(width):
                s0 += h[rows[a], x] * weight[words[j], x]
            p[a, j] = s0


@sum_part
def _add_to_outputs(p: Array, rows: Array, weight: Array, words: Array, dh: Array) -> None:
    """dh[rows[a]] = sum over j of p[a, j] weight[words[j]]: four words a pass over dh."""
    width = dh.shape[1]
    whole = words.size & ~3
    for a in range(rows.size):
        i = rows[a]
        for x in range(width):
            dh[i, x] = 0
        for j in range(0, whole, 4):
            w0, w1, w2, w3 = words[j], words[j + 1], words[j + 2], words[j + 3]
            p0, p1, p2, p3 = p[a, j], p[a, j + 1], p[a, j + 2], p[a, j + 3]
            for x in range(width):
                dh[i, x] += (
                    p0 * weight[w0, x]
                    + p1 * weight[w1, x]
                    + p2 * weight[w2, x]
                    + p3 * weight[w3, x]
                )
        for j in range(whole, words.size):
            for x in range(width):
                dh[i, x] += p[a, j] * weight[words[j], x]


@sum_part
def _add_to_weights(p: Array, rows: Array, h: Array, words: Array, dweight: Array) -> None:
    """dweight[words[j]] += sum over a of p[a, j] h[rows[a]]: four tokens a pass over dweight."""
    width = h.shape[1]
    whole = rows.size & ~3
    for j in range(words.size):
        w = words[j]
        for a in range(0, whole, 4):
            i0, i1, i2, i3 = rows[a], rows[a + 1], rows[a + 2], rows[a + 3]
            p0, p1, p2, p3 = p[a, j], p[a + 1, j], p[a + 2, j], p[a + 3, j]
            for x in range(width):
                dweight[w, x] += p0 * h[i0, x] + p1 * h[i1, x] + p2 * h[i2, x] + p3 * h[i3, x]
        for a in range(whole, rows.size):
            for x in range(width):
                dweight[w, x] += p[a, j] * h[rows[a], x]


@sum_part
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
