"""Kernels of the class-factored softmax: p(w | c, h) for the words of the target's class only.

Rows of weights lie here and there, so that the next ones are asked for while some are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.neural.tiles import four_broadcast, plus_products, plus_tile, prefetch_row, store_tile
from unrolled.runtime.kernels import REASSOCIATE, inlined, kernel, no_refcount
from unrolled.runtime.simd import (
    WIDTH,
    add,
    add_product,
    broadcast,
    exponential,
    load,
    load_first,
    store,
    store_first,
    subtract,
    sum_of,
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
    p, sums = np.empty((TOGETHER, most), h.dtype), np.empty(most, h.dtype)
    for c in classes:
        words = members[borders[c] : borders[c + 1]]
        if first[c] == first[c + 1] and dweight.shape[0] > 0:
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
                losses[rows[a]] = _softmax(p, a, words.size, places[targets[rows[a]]])
            if dh.shape[0] > 0:
                for a in range(rows.size):
                    p[a, places[targets[rows[a]]]] -= 1
                _scale(p, rows.size, words.size, scale, sums)
                for j in range(words.size):
                    dbias[words[j]] += sums[j]
                if errors.size > 0:
                    for a in range(rows.size):
                        for j in range(words.size):
                            errors[offsets[rows[a]] + j] = p[a, j]
                _sum_products(dh, rows, p, weight, words, False)
                if dweight.shape[0] > 0:
                    _sum_products(dweight, words, p.T, h, rows, begin > first[c])


@no_refcount
def _scores(h: Array, rows: Array, weight: Array, bias: Array, words: Array, p: Array) -> None:
    """p[a, j] = h[rows[a]] weight[words[j]] + bias[words[j]], two tokens and four words at a time.

    Where there are fewer left, the last one is done again.
    """
    end, last = words.size - 1, rows.size - 1
    for j in range(0, words.size, 4):
        places = (j, min(j + 1, end), min(j + 2, end), min(j + 3, end))
        of = (words[places[0]], words[places[1]], words[places[2]], words[places[3]])
        for k in range(j + 4, min(j + 8, words.size)):
            prefetch_row(weight, words[k])
        for a in range(0, rows.size, 2):
            b = min(a + 1, last)
            _score(h, (rows[a], rows[b]), weight, of, bias, p, (a, b), places)


@inlined
def _score(
    h: Array, rows: Any, weight: Array, words: Any, bias: Array, p: Array, tokens: Any, places: Any
) -> None:
    """Scores of four words for two tokens.

    Args:
        rows: of h, the tokens' two. words: four.
        tokens, places: the same ones as rows and columns of p.
    """
    one, two = rows
    i, j, k, m = words
    none = broadcast(weight.dtype.type(0))
    sums = (none, none, none, none, none, none, none, none)
    whole = h.shape[1] // WIDTH * WIDTH
    for x in range(0, whole, WIDTH):
        of_words = load(weight, i, x), load(weight, j, x), load(weight, k, x), load(weight, m, x)
        sums = plus_products(sums, of_words, load(h, one, x), load(h, two, x))
    rest = h.shape[1] - whole
    if rest > 0:
        of_words = (
            load_first(weight, i, whole, rest),
            load_first(weight, j, whole, rest),
            load_first(weight, k, whole, rest),
            load_first(weight, m, whole, rest),
        )
        left, right = load_first(h, one, whole, rest), load_first(h, two, whole, rest)
        sums = plus_products(sums, of_words, left, right)
    s0, t0, s1, t1, s2, t2, s3, t3 = sums
    a, b = tokens
    p[a, places[0]], p[a, places[1]] = sum_of(s0) + bias[i], sum_of(s1) + bias[j]
    p[a, places[2]], p[a, places[3]] = sum_of(s2) + bias[k], sum_of(s3) + bias[m]
    p[b, places[0]], p[b, places[1]] = sum_of(t0) + bias[i], sum_of(t1) + bias[j]
    p[b, places[2]], p[b, places[3]] = sum_of(t2) + bias[k], sum_of(t3) + bias[m]


@no_refcount
def _clear(array: Array, rows: Array) -> None:
    for row in rows:
        for x in range(array.shape[1]):
            array[row, x] = 0


@no_refcount
def _sum_products(
    sums: Array, places: Array, factors: Array, source: Array, rows: Array, added: bool
) -> None:
    """sums[places[i]] = sum over k of factors[i, k] source[rows[k]], four places at a time.

    Where there are fewer left, the last one is done again. Sums are added to what is there or not.
    """
    last, width = places.size - 1, sums.shape[1]
    whole = width // WIDTH * WIDTH
    for i in range(0, places.size, 4):
        j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        four, into = (i, j, k, m), (places[i], places[j], places[k], places[m])
        for x in range(i + 4, min(i + 8, places.size)):
            prefetch_row(sums, places[x])
        for c in range(0, whole, 2 * WIDTH):
            # Of an odd number of vectors the last one is both.
            d = min(c + WIDTH, whole - WIDTH)
            _sum_columns(sums, into, factors, four, source, rows, added, c, d)
        if whole < width:
            _sum_last_columns(sums, into, factors, four, source, rows, added, whole)


@inlined
def _sum_columns(
    sums: Array, into: Any, factors: Array, four: Any, source: Array, rows: Array, added: bool,
    c: int, d: int,
) -> None:  # fmt: skip
    """The vectors that begin at two columns, of four rows of sums; places may be the same.

    Args:
        into: rows of sums. four: the same ones as rows of factors.
    """
    i, j, k, m = four
    none = broadcast(sums.dtype.type(0))
    tile = (none, none, none, none, none, none, none, none)
    for x in range(rows.size):
        own = four_broadcast(factors[i, x], factors[j, x], factors[k, x], factors[m, x])
        tile = plus_products(tile, own, load(source, rows[x], c), load(source, rows[x], d))
    if added:
        tile = plus_tile(tile, sums, into, c, d)
    store_tile(sums, into, c, d, tile)


@inlined
def _sum_last_columns(
    sums: Array, into: Any, factors: Array, four: Any, source: Array, rows: Array, added: bool,
    c: int,
) -> None:  # fmt: skip
    """Likewise the columns from one on, which are fewer than a vector has."""
    i, j, k, m = into
    rest = sums.shape[1] - c
    none = broadcast(sums.dtype.type(0))
    s0, s1, s2, s3 = none, none, none, none
    for x in range(rows.size):
        v = load_first(source, rows[x], c, rest)
        s0 = add_product(s0, broadcast(factors[four[0], x]), v)
        s1 = add_product(s1, broadcast(factors[four[1], x]), v)
        s2 = add_product(s2, broadcast(factors[four[2], x]), v)
        s3 = add_product(s3, broadcast(factors[four[3], x]), v)
    if added:
        s0 = add(s0, load_first(sums, i, c, rest))
        s1 = add(s1, load_first(sums, j, c, rest))
        s2 = add(s2, load_first(sums, k, c, rest))
        s3 = add(s3, load_first(sums, m, c, rest))
    store_first(sums, i, c, rest, s0)
    store_first(sums, j, c, rest, s1)
    store_first(sums, k, c, rest, s2)
    store_first(sums, m, c, rest, s3)


@no_refcount(fastmath=REASSOCIATE)
def _softmax(scores: Array, row: int, count: int, target: int) -> float:
    """Turn a row's first scores into probabilities in place; returns -log of the target's."""
    top = scores[row, 0]
    for j in range(count):
        top = max(top, scores[row, j])
    chosen = scores[row, target] - top
    whole = count // WIDTH * WIDTH
    for j in range(0, whole, WIDTH):
        store(scores, row, j, exponential(subtract(load(scores, row, j), broadcast(top))))
    rest = count - whole
    if rest > 0:
        last = load_first(scores, row, whole, rest)
        store_first(scores, row, whole, rest, exponential(subtract(last, broadcast(top))))
    mass = scores[row, 0] * 0  # a zero of the array's own precision
    for j in range(count):
        mass += scores[row, j]
    for j in range(count):
        scores[row, j] /= mass
    return np.log(mass) - chosen


@no_refcount(fastmath=REASSOCIATE)
def _scale(p: Array, tokens: int, words: int, scale: float, sums: Array) -> None:
    """Multiply errors, and sum those of each word."""
    for j in range(words):
        p[0, j] *= scale
        sums[j] = p[0, j]
    for a in range(1, tokens):
        for j in range(words):
            p[a, j] *= scale
            sums[j] += p[a, j]
