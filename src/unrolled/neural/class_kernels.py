"""Kernels of the class-factored softmax: p(w | c, h) for the words of the target's class only."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import REASSOCIATE, device_function, inlined, kernel
from unrolled.runtime.simd import (
    WIDTH,
    add_product,
    broadcast,
    load,
    load_first,
    store,
    store_first,
)

Array = np.ndarray[Any, Any]

TOGETHER = 32  # tokens that share a pass over their class's words, so that those are read once


@kernel
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
    """-log p(w | c, h) of every token of a number of classes, and its gradients.

    Args:
        h: (N, H) outputs of the net.
        targets: (N,) int64 word of each token.
        tokens: (N,) int64 tokens sorted by class; class c has tokens[first[c]:first[c + 1]].
        classes: the classes to do; others are another thread's.
        members: (V,) int64 words sorted by class; class c has members[borders[c]:borders[c + 1]].
        places: (V,) int64 place of each word within its class.
        weight, bias: (V, H) and (V,) of the words; a bias of -inf rules a word out.
        table, starts, offsets, errors: n-gram features, see `FeatureSlices`; starts (N, 0) has
            none, and no errors are written where there is no room for any.
        scale: what the gradients are multiplied by, in the precision of h.
        losses: (N,) out. dh: (N, H) out. dweight: (V, H) out, the rows of these classes' words.
            dbias: (V,) added to. All three gradients are of the sum of losses. A dh of no rows asks
            for losses alone, a dweight of no rows for no gradient of the weights.
    """
    most = 0
    for c in classes:
        most = max(most, borders[c + 1] - borders[c])
    p = np.empty((TOGETHER, most), h.dtype)
    for c in classes:
        words = members[borders[c] : borders[c + 1]]
        if dweight.shape[0] > 0:
            _clear(dweight, words)
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
                _clear(dh, rows)
                _add_products(dh, rows, p, weight, words)
                if dweight.shape[0] > 0:
                    _add_products(dweight, words, p.T, h, rows)


@device_function(fastmath=REASSOCIATE)
def _scores(h: Array, rows: Array, weight: Array, bias: Array, words: Array, p: Array) -> None:
    """p[a, j] = h[rows[a]] weight[words[j]] + bias[words[j]], two tokens and four words at a time.

    Where there are fewer left, the last one is done again.
    """
    for j in range(0, words.size, 4):
        j1, j2, j3 = (
            min(j + 1, words.size - 1),
            min(j + 2, words.size - 1),
            min(j + 3, words.size - 1),
        )
        w0, w1, w2, w3 = weight[words[j]], weight[words[j1]], weight[words[j2]], weight[words[j3]]
        b0, b1, b2, b3 = bias[words[j]], bias[words[j1]], bias[words[j2]], bias[words[j3]]
        for a in range(0, rows.size, 2):
            b = min(a + 1, rows.size - 1)
            one, two = h[rows[a]], h[rows[b]]
            s0, s1, s2, s3 = b0, b1, b2, b3
            t0, t1, t2, t3 = b0, b1, b2, b3
            for x in range(h.shape[1]):
                s0 += one[x] * w0[x]
                s1 += one[x] * w1[x]
                s2 += one[x] * w2[x]
                s3 += one[x] * w3[x]
                t0 += two[x] * w0[x]
                t1 += two[x] * w1[x]
                t2 += two[x] * w2[x]
                t3 += two[x] * w3[x]
            p[a, j], p[a, j1], p[a, j2], p[a, j3] = s0, s1, s2, s3
            p[b, j], p[b, j1], p[b, j2], p[b, j3] = t0, t1, t2, t3


@device_function(fastmath=REASSOCIATE)
def _clear(array: Array, rows: Array) -> None:
    for row in rows:
        for x in range(array.shape[1]):
            array[row, x] = 0


@device_function(fastmath=REASSOCIATE)
def _add_products(sums: Array, places: Array, factors: Array, source: Array, rows: Array) -> None:
    """sums[places[i]] += sum over k of factors[i, k] source[rows[k]], two and four at a time.

    Where there are fewer left, the last one is done again, or is added 0 times.
    """
    none = factors.dtype.type(0)
    last, end = places.size - 1, rows.size - 1
    for i in range(0, places.size, 2):
        j = min(i + 1, last)
        for k in range(0, rows.size, 4):
            k1, k2, k3 = min(k + 1, end), min(k + 2, end), min(k + 3, end)
            _add_four(
                sums, places[i], places[j], source, rows[k], rows[k1], rows[k2], rows[k3],
                (
                    factors[i, k],
                    factors[i, k1] if k + 1 <= end else none,
                    factors[i, k2] if k + 2 <= end else none,
                    factors[i, k3] if k + 3 <= end else none,
                ),
                (
                    factors[j, k],
                    factors[j, k1] if k + 1 <= end else none,
                    factors[j, k2] if k + 2 <= end else none,
                    factors[j, k3] if k + 3 <= end else none,
                ),
            )  # fmt: skip


@inlined
def _add_four(
    sums: Array, one: int, two: int, source: Array, r0: int, r1: int, r2: int, r3: int,
    f: tuple[float, ...], g: tuple[float, ...],
) -> None:  # fmt: skip
    """Add four rows of the source, times f, to one row of sums, and times g to another."""
    f0, f1, f2, f3 = broadcast(f[0]), broadcast(f[1]), broadcast(f[2]), broadcast(f[3])
    g0, g1, g2, g3 = broadcast(g[0]), broadcast(g[1]), broadcast(g[2]), broadcast(g[3])
    factors = f0, f1, f2, f3, g0, g1, g2, g3
    whole = sums.shape[1] // WIDTH * WIDTH
    for x in range(0, whole, WIDTH):
        rows = load(source, r0, x), load(source, r1, x), load(source, r2, x), load(source, r3, x)
        s, t = _plus_four(load(sums, one, x), load(sums, two, x), factors, rows)
        store(sums, one, x, s)
        store(sums, two, x, t)
    rest = sums.shape[1] - whole
    if rest > 0:
        rows = (
            load_first(source, r0, whole, rest),
            load_first(source, r1, whole, rest),
            load_first(source, r2, whole, rest),
            load_first(source, r3, whole, rest),
        )
        s, t = load_first(sums, one, whole, rest), load_first(sums, two, whole, rest)
        s, t = _plus_four(s, t, factors, rows)
        store_first(sums, one, whole, rest, s)
        store_first(sums, two, whole, rest, t)


@inlined
def _plus_four(s: Any, t: Any, factors: Any, rows: Any) -> Any:
    """Vectors of both sums, read before either is stored: the two rows may be the same one."""
    f0, f1, f2, f3, g0, g1, g2, g3 = factors
    v0, v1, v2, v3 = rows
    s, t = add_product(s, f0, v0), add_product(t, g0, v0)
    s, t = add_product(s, f1, v1), add_product(t, g1, v1)
    s, t = add_product(s, f2, v2), add_product(t, g2, v2)
    return add_product(s, f3, v3), add_product(t, g3, v3)


@device_function(fastmath=REASSOCIATE)
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
