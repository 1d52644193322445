"""Kernels that work on the n-grams of an existing model."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.ngram.trie.trie_kernels import field, find_child, guess_child, spread
from unrolled.runtime.intrinsics import prefetch
from unrolled.runtime.kernels import kernel

Array = np.ndarray[Any, Any]

FEW_AHEAD = 8  # children of one context whose places are asked for early
AHEAD = 32  # children whose suffixes are asked for early: they lie all over the memory


@kernel
def relative_entropies(
    first: Array,
    start: int,
    stop: int,
    suffixes: Array,
    log_probs: Array,
    history: Array,
    changes: Array,
) -> None:
    """What leaving out one n-gram does to the perplexity, as a share of it (Stolcke 1998, eq. 5):

    D = - p(h) (p(w|h) [log p(w|h') + log b' - log p(w|h)] + [log b' - log b] (1 - sum p(v|h)))

    with b' = (1 - sum p(v|h) + p(w|h)) / (1 - sum p(v|h') + p(w|h')), and the share exp(D) - 1.

    For the children of contexts ``start`` to ``stop``; ``history`` holds p(h).
    """
    for context in range(start, stop):
        low = np.int64(first[context])
        high = np.int64(first[context + 1])
        left = 1.0
        lower = 1.0
        for child in range(low, high):
            if child + AHEAD < suffixes.size:
                prefetch(log_probs, np.int64(suffixes[child + AHEAD]))
            left -= np.exp(np.float64(log_probs[child]))
            lower -= np.exp(np.float64(log_probs[suffixes[child]]))
        left = max(left, 0.0)
        lower = max(lower, 0.0)
        weight = np.float64(history[context])
        for child in range(low, high):
            given = np.float64(log_probs[child])
            backed = np.float64(log_probs[suffixes[child]])
            p = np.exp(given)
            q = np.exp(backed)
            change = 0.0
            if q > 0:
                if p > 0:
                    change -= p * (backed + np.log((left + p) / (lower + q)) - given)
                if left > 0 and lower > 0:
                    change -= left * (np.log1p(p / left) - np.log1p(q / lower))
            elif p > 0:
                change = np.inf
            if weight > 0:
                changes[child] = np.expm1(max(change, 0.0) * weight)
            else:
                changes[child] = 0.0


@kernel
def flow_down(
    first: Array,
    start: int,
    stop: int,
    suffixes: Array,
    probabilities: Array,
    backoffs: Array,
    frequencies: Array,
    passing: Array,
    fresh: Array,
) -> float:
    """One order of one step of text through a model; see `frequencies._step`.

    For the contexts ``start`` to ``stop``, all of one length, whose ``passing`` is complete and
    whose children got in ``fresh`` what longer n-grams send. Returns what the contexts lose.
    """
    lost = 0.0
    for context in range(start, stop):
        mass = passing[context]
        backed = np.exp(np.float64(backoffs[context])) * mass
        lost += backed - frequencies[context]
        if start > 0:
            if context + AHEAD < suffixes.size:
                prefetch(passing, np.int64(suffixes[context + AHEAD]))
            passing[suffixes[context]] += backed - frequencies[context]
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            flow = probabilities[child] * mass
            if child < fresh.size:
                flow += fresh[child]
                fresh[child] = flow
            if child + AHEAD < suffixes.size:
                prefetch(fresh, np.int64(suffixes[child + AHEAD]))
                prefetch(probabilities, np.int64(suffixes[child + AHEAD]))
            suffix = suffixes[child]
            fresh[suffix] += flow - probabilities[suffix] * backed
    return lost


@kernel
def raise_shorter(first: Array, start: int, stop: int, suffixes: Array, values: Array) -> None:
    """Raise each n-gram's value to at least those of its children and of what it is a suffix of.

    For contexts ``start`` to ``stop``, whose children's values are final.
    """
    for context in range(start, stop):
        most = values[context]
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            value = values[child]
            most = max(most, value)
            if value > values[suffixes[child]]:
                values[suffixes[child]] = value
        values[context] = max(most, values[context])


@kernel
def renew_backoffs(
    first: Array,
    start: int,
    stop: int,
    keep: Array,
    suffixes: Array,
    log_probs: Array,
    backoffs: Array,
    whole: Array,
    sums: Array,
    predicted: int,
    every: bool,
) -> None:
    """Log back-off weights that make contexts sum to one again once only ``keep`` is left:

    b(h) = (1 - sum of p(w|h)) / (S(h') - sum of p(w|h')), over the children w that stay.

    ``whole[context - start]`` is S(h'), which all words after the suffix sum to: not quite 1, as
    numbers are rounded, and where few words are left b can be large. ``sums`` gets S(h).

    Contexts that lose no child stay as they are unless ``every``. One that has all ``predicted``
    words as children, or more than all the mass, gets its children scaled instead.
    """
    for context in range(start, stop):
        low = np.int64(first[context])
        high = np.int64(first[context + 1])
        left = 1.0
        lower = np.float64(whole[context - start])
        kept = 0
        for child in range(low, high):
            if child + AHEAD < suffixes.size:
                prefetch(log_probs, np.int64(suffixes[child + AHEAD]))
            if keep[child]:
                left -= np.exp(np.float64(log_probs[child]))
                lower -= np.exp(np.float64(log_probs[suffixes[child]]))
                kept += 1
        if kept < high - low or every:
            if kept == 0:
                backoffs[context] = 0.0
            elif kept >= predicted or left < 0 or lower < 1e-7:
                backoffs[context] = -np.inf
                scale = np.log(1.0 - left)
                left = 1.0
                for child in range(low, high):
                    log_probs[child] -= scale
                    if keep[child]:  # what they sum to is not quite 1 either
                        left -= np.exp(np.float64(log_probs[child]))
            elif left == 0:
                backoffs[context] = -np.inf
            else:
                backoffs[context] = np.log(left / lower)
        sums[context] = 1.0 - left + np.exp(np.float64(backoffs[context])) * max(lower, 0.0)


@kernel
def class_mass(
    first: Array,
    start: int,
    stop: int,
    packed: Array,
    bits: int,
    marked: Array,
    suffixes: Array,
    above: Array,
    log_probs: Array,
    backoffs: Array,
    mass: Array,
) -> None:
    """mass[h] = probability, after contexts ``start`` to ``stop``, of all marked words together.

    ``marked`` (2^bits,) bool goes by the words' fields; ``above`` holds, for each of these
    contexts, the mass after its suffix.
    """
    for context in range(start, stop):
        weight = np.exp(np.float64(backoffs[context]))
        total = above[context - start] * weight
        for child in range(np.int64(first[context]), np.int64(first[context + 1])):
            if marked[field(packed, bits, child)]:
                total += np.exp(np.float64(log_probs[child]))
                total -= np.exp(np.float64(log_probs[suffixes[child]])) * weight
        mass[context] = max(total, 0.0)


@kernel
def list_children(
    first: Array,
    packed: Array,
    bits: int,
    inverse: int,
    nodes: Array,
    start: int,
    stop: int,
    mapping: Array,
    new_bits: int,
    keys: Array,
) -> int:
    """Keys of the children that ``nodes[start:stop]`` of one trie have, in the words of another.

    A key is (number of the parent in the slice) << new_bits | spread(new word). ``nodes`` are
    NONE where the trie has no such n-gram, ``mapping`` (V,) is -1 for words that are left out.
    Returns the number of keys.
    """
    mask = (1 << bits) - 1
    size = 0
    for index in range(start, stop):
        node = np.int64(nodes[index])
        if node + 1 >= first.size:
            continue
        for child in range(np.int64(first[node]), np.int64(first[node + 1])):
            word = (field(packed, bits, child) * inverse) & mask
            if word < mapping.size and mapping[word] >= 0:
                keys[size] = ((index - start) << new_bits) | spread(mapping[word], new_bits)
                size += 1
    return size


@kernel
def link_children(
    first: Array, packed: Array, bits: int, start: int, stop: int, suffixes: Array
) -> int:
    """Suffixes of the children of contexts ``start`` to ``stop``, whose own suffixes are known.

    The suffix of a child is the child of its context's suffix by the same word. Returns how many
    are missing, which get NONE.
    """
    missing, last = 0, stop - 1
    for context in range(start, stop):
        prefetch(first, np.int64(suffixes[min(context + 2 * AHEAD, last)]))
        near = min(context + AHEAD, last)
        node, child = np.int64(suffixes[near]), np.int64(first[near])
        low: Any = np.int64(first[node])
        high: Any = np.int64(first[node + 1])
        if child < first[near + 1]:
            key = field(packed, bits, child)
            prefetch(packed, guess_child(bits, low, high, key) * bits >> 6)
        node, end = np.int64(suffixes[context]), np.int64(first[context + 1])
        low, high = np.int64(first[node]), np.int64(first[node + 1])
        for child in range(np.int64(first[context]), end):
            if child + FEW_AHEAD < end:
                key = field(packed, bits, child + FEW_AHEAD)
                prefetch(packed, guess_child(bits, low, high, key) * bits >> 6)
            found = find_child(packed, bits, low, high, field(packed, bits, child))
            suffixes[child] = np.uint32(found)
            missing += 1 if found < 0 else 0
    return missing


@kernel
def find_children(
    first: Array,
    packed: Array,
    bits: int,
    nodes: Array,
    parents: Array,
    words: Array,
    start: int,
    stop: int,
    found: Array,
) -> None:
    """found[i] = child of ``nodes[parents[i]]`` by ``words[i]``, for i from ``start`` to ``stop``.

    NONE, 2^32 - 1, where the trie lacks the n-gram or its context, or where the word is -1.
    """
    last = stop - 1
    for index in range(start, stop):
        prefetch(first, np.int64(nodes[parents[min(index + 2 * AHEAD, last)]]))
        near = min(index + AHEAD, last)
        node = np.int64(nodes[parents[near]])
        if node + 1 < first.size:
            low: Any = np.int64(first[node])
            high: Any = np.int64(first[node + 1])
            prefetch(packed, guess_child(bits, low, high, spread(words[near], bits)) * bits >> 6)
        found[index] = np.uint32(0xFFFFFFFF)
        node = np.int64(nodes[parents[index]])
        if node + 1 < first.size and words[index] >= 0:
            low, high = np.int64(first[node]), np.int64(first[node + 1])
            child = find_child(packed, bits, low, high, spread(words[index], bits))
            if child >= 0:
                found[index] = child


@kernel
def back_off(
    nodes: Array,
    parents: Array,
    start: int,
    stop: int,
    parent_nodes: Array,
    suffixes: Array,
    base: int,
    log_probs: Array,
    backoffs: Array,
    shorter: Array,
    result: Array,
) -> None:
    """result[i] = what one model gives n-gram i of an order, for i from ``start`` to ``stop``.

    Its own log-probability if it has the n-gram (``nodes``), else that of the suffix (``shorter``,
    whose first is node ``base``) and the back-off weight of the context, if it has that.
    """
    for index in range(start, stop):
        node = np.int64(nodes[index])
        if node < log_probs.size:
            result[index] = log_probs[node]
            continue
        value = shorter[np.int64(suffixes[index]) - base]
        context = np.int64(parent_nodes[parents[index]])
        if context < backoffs.size:
            value += backoffs[context]
        result[index] = value
