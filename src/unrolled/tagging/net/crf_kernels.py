"""Kernels of a linear-chain CRF: sums over all tag sequences, the best one, and the best few.

Sentences lie end to end: that of number s has rows ``offsets[s]:offsets[s + 1]`` of ``emissions``
(N, K) float64. ``transitions[i, j]`` is the score of tag j after tag i, ``start`` and ``end`` those
of the first and the last tag; -inf forbids. The score of a sequence is the sum of all of these, and
log Z the logarithm of the sum of exp of the scores of all sequences.

Products are taken of exp of scores, each set divided by its largest, which takes K exponentials a
token instead of K^2. Where a sum gets so small that digits may be lost, it is taken once more in
logarithms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import device_function, kernel

Array = np.ndarray[Any, Any]

TINY = 1e-200  # a smaller sum may have lost terms below the smallest double
HUGE = 600.0  # exp of more comes near the largest double


@kernel
def forward(
    emissions: Array,
    offsets: Array,
    transitions: Array,
    start: Array,
    end: Array,
    alphas: Array,
    log_z: Array,
) -> None:
    """log Z of each sentence, (S,) out.

    Args:
        alphas: (N, K) out, log of the sum over all beginnings of a sentence that end in each tag.
    """
    tags = emissions.shape[1]
    top = _largest(transitions)
    scaled = np.exp(transitions - top)
    sums = np.empty(tags)
    for s in range(log_z.size):
        log_z[s] = 0
        low, high = offsets[s], offsets[s + 1]
        for t in range(low, high):
            if t == low:
                for j in range(tags):
                    alphas[t, j] = start[j] + emissions[t, j]
            else:
                shift = _exps(alphas[t - 1], sums)
                for j in range(tags):
                    total = 0.0
                    for i in range(tags):
                        total += sums[i] * scaled[i, j]
                    if total > TINY:
                        alphas[t, j] = emissions[t, j] + np.log(total) + shift + top
                    else:
                        alphas[t, j] = emissions[t, j] + _log_sum(alphas[t - 1], transitions[:, j])
        if high > low:
            log_z[s] = _log_sum(alphas[high - 1], end)


@kernel
def backward(
    emissions: Array,
    offsets: Array,
    transitions: Array,
    end: Array,
    alphas: Array,
    log_z: Array,
    weights: Array,
    betas: Array,
    marginals: Array,
    pairs: Array,
    ends: Array,
) -> None:
    """Gradients of the sum over sentences of weight times log Z; they are expected counts.

    Args:
        alphas, log_z: what `forward` gave. weights: (S,).
        betas: (N, K) out, log of the sum over all ends of a sentence after each tag.
        marginals: (N, K) out, weight times the probability of each tag.
        pairs: (K, K) added to, of tag j after tag i. ends: (K,) added to, of the last tags.
    """
    tags = emissions.shape[1]
    top = _largest(transitions)
    scaled = np.exp(transitions - top)
    after, before, later = np.empty(tags), np.empty(tags), np.empty(tags)
    for s in range(log_z.size):
        low, high = offsets[s], offsets[s + 1]
        for t in range(high - 1, low - 1, -1):
            if t == high - 1:
                for i in range(tags):
                    betas[t, i] = end[i]
            else:
                for j in range(tags):
                    later[j] = emissions[t + 1, j] + betas[t + 1, j]
                shift = _exps(later, after)
                for i in range(tags):
                    total = 0.0
                    for j in range(tags):
                        total += scaled[i, j] * after[j]
                    if total > TINY:
                        betas[t, i] = np.log(total) + shift + top
                    else:
                        betas[t, i] = _log_sum(later, transitions[i])
                scale = _exps(alphas[t], before) + shift + top - log_z[s]
                if scale < HUGE:
                    factor = weights[s] * np.exp(scale)
                    for i in range(tags):
                        for j in range(tags):
                            pairs[i, j] += factor * before[i] * scaled[i, j] * after[j]
                else:
                    for i in range(tags):
                        for j in range(tags):
                            score = alphas[t, i] + transitions[i, j] + later[j] - log_z[s]
                            pairs[i, j] += weights[s] * np.exp(score)
            for i in range(tags):
                marginals[t, i] = weights[s] * np.exp(alphas[t, i] + betas[t, i] - log_z[s])
                if t == high - 1:
                    ends[i] += marginals[t, i]


@kernel
def viterbi(
    emissions: Array,
    offsets: Array,
    transitions: Array,
    start: Array,
    end: Array,
    tags: Array,
    scores: Array,
) -> None:
    """The best sequence of each sentence; of equal ones that with the lowest last tags.

    Args:
        tags: (N,) int64 out. scores: (S,) out.
    """
    count = emissions.shape[1]
    came_from = np.empty((_longest(offsets), count), np.int32)
    now, then = np.empty(count), np.empty(count)
    for s in range(scores.size):
        scores[s] = 0
        low, high = offsets[s], offsets[s + 1]
        if high == low:
            continue
        for j in range(count):
            then[j] = start[j] + emissions[low, j]
        for t in range(low + 1, high):
            for j in range(count):
                best, place = then[0] + transitions[0, j], 0
                for i in range(1, count):
                    score = then[i] + transitions[i, j]
                    if score > best:
                        best, place = score, i
                now[j] = best + emissions[t, j]
                came_from[t - low, j] = place
            now, then = then, now
        best, place = then[0] + end[0], 0
        for i in range(1, count):
            if then[i] + end[i] > best:
                best, place = then[i] + end[i], i
        scores[s] = best
        for t in range(high - 1, low - 1, -1):
            tags[t] = place
            if t > low:
                place = came_from[t - low, place]


@kernel
def best_few(
    emissions: Array,
    transitions: Array,
    start: Array,
    end: Array,
    tags: Array,
    scores: Array,
) -> int:
    """The M best sequences of one sentence (T, K), best first; returns how many there are.

    Args:
        tags: (M, T) int64 out. scores: (M,) out.
    """
    most, length = tags.shape
    count = emissions.shape[1]
    # Of each place and tag the M best ways to get there, as (tag before) * M + (its rank).
    came_from = np.full((length, count, most), -1, np.int64)
    then = np.full((count, most), -np.inf)
    now = np.empty((count, most))
    taken = np.empty(count, np.int64)
    for j in range(count):
        then[j, 0] = start[j] + emissions[0, j]
    for t in range(1, length):
        for j in range(count):
            _merge(then, transitions[:, j], taken, now[j], came_from[t, j])
            for m in range(most):
                now[j, m] += emissions[t, j]
        now, then = then, now
    last = np.full(most, -1, np.int64)
    _merge(then, end, taken, scores, last)
    found = 0
    while found < most and last[found] >= 0 and scores[found] > -np.inf:
        way = last[found]
        for t in range(length - 1, -1, -1):
            tag = way // most
            tags[found, t] = tag
            way = came_from[t, tag, way % most]
        found += 1
    return found


@device_function
def _merge(then: Array, onward: Array, taken: Array, best: Array, ways: Array) -> None:
    """The best sums of a way to each tag (K, M), sorted, and the step from that tag on (K,)."""
    count, most = then.shape
    taken[:] = 0
    for m in range(most):
        top, place = -np.inf, -1
        for i in range(count):
            if taken[i] < most:
                score = then[i, taken[i]] + onward[i]
                if score > top:
                    top, place = score, i
        best[m] = top
        ways[m] = -1
        if place >= 0:
            ways[m] = place * most + taken[place]
            taken[place] += 1


@device_function
def _exps(values: Array, exps: Array) -> float:
    """exp of values less their largest, into ``exps``; returns the largest."""
    top = values[0]
    for i in range(1, values.size):
        top = max(top, values[i])
    shift = top if np.isfinite(top) else 0.0
    for i in range(values.size):
        exps[i] = np.exp(values[i] - shift)
    return shift


@device_function
def _log_sum(one: Array, other: Array) -> float:
    """log of the sum of exp(one + other)."""
    top = -np.inf
    for i in range(one.size):
        top = max(top, one[i] + other[i])
    if top == -np.inf:
        return top
    total = 0.0
    for i in range(one.size):
        total += np.exp(one[i] + other[i] - top)
    return top + np.log(total)


@device_function
def _largest(values: Array) -> float:
    """The largest element that is not infinite, or 0."""
    top = -np.inf
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            top = max(top, values[i, j])
    return top if np.isfinite(top) else 0.0


@device_function
def _longest(offsets: Array) -> int:
    longest = 0
    for s in range(offsets.size - 1):
        longest = max(longest, offsets[s + 1] - offsets[s])
    return longest
