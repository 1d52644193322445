"""How often a model expects each of its contexts: the p(h) that relative-entropy pruning needs.

Stolcke 1998 takes the chain rule's product p(h1) p(h2|h1) ... of the model's own probabilities. For
Kneser-Ney that is wrong: its short n-grams tell in how many contexts a word comes, not how often
(Chelba, Brants, Neveitt and Xu, "Study on interaction between entropy pruning and Kneser-Ney
smoothing", 2010). But its longest n-grams know how often, and they imply how often the short ones
come: text drawn from the model has them at its stationary frequencies, which Kneser-Ney makes equal
to those of its own text. So the stationary frequencies are found, by letting each order's frequency
flow on, word by word, until little changes.

Measured, perplexity of the Penn Treebank's test text (closed vocabulary), modified Kneser-Ney
5-grams pruned from 2.3 M to 1 M, 622 k and 300 k n-grams: by the chain rule 143.4, 148.3, 161.8;
by stationary frequencies 142.5, 145.9, 155.8; by the chain rule of a second, Witten-Bell model
142.3, 145.1, 154.4. Witten-Bell and Katz models, too, prune better by stationary frequencies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_model import require_normalised
from unrolled.ngram import surgery_kernels as kernels
from unrolled.ngram.model import NgramModel
from unrolled.ngram.surgery import contexts, opened
from unrolled.ngram.table import NgramTable
from unrolled.ngram.union import Part, conditional_log_probs, known_ids, locate
from unrolled.threads import run_slices
from unrolled.vocabulary import BOS, EOS, Vocabulary

Array = np.ndarray[Any, Any]

WAYS = ("stationary", "chain")
PASSES = 6  # measured: after 3 the pruned model is 0.4 % worse, after 16 it is 0.2 % better


def own_frequencies(
    table: NgramTable, suffixes: Array, way: str = "stationary", *, threads: int = 2
) -> Array:
    """Expected number of times a token of text ends each context, (inner,) float64.

    <s> counts as often as </s>. An n-gram model of order 1 has no contexts: zeros.

    Args:
        way: "stationary" or "chain", see above.

    Raises:
        SettingError: another way.
    """
    if way not in WAYS:
        raise SettingError(f"the history is {way!r}, allowed are {', '.join(WAYS)}, or a model")
    frequencies = _chained(table, table.log_probs)
    if way == "stationary" and table.order > 1:
        _settle(table, suffixes, frequencies, threads)
    return frequencies


def foreign_frequencies(
    table: NgramTable,
    suffixes: Array,
    vocabulary: Vocabulary,
    history: NgramModel,
    *,
    threads: int = 2,
) -> Array:
    """The same by another model's chain rule; words that it lacks are its <unk>.

    Args:
        vocabulary: the words of the table. history: any normalised model of the same text.

    Raises:
        NotNormalisedError: stupid back-off.
    """
    require_normalised(history, "the history of pruning")
    own, _ = opened(history)
    inverse = history.vocabulary.ids(list(vocabulary))
    part = Part(own, known_ids(history.vocabulary, vocabulary), inverse)
    nodes = locate(table, part, threads=threads)
    levels = conditional_log_probs(table, suffixes, own, inverse, nodes, threads=threads)
    return _chained(table, np.concatenate(list(levels)))


def _chained(table: NgramTable, log_probs: Array) -> Array:
    """Products of the probabilities along each context."""
    result = np.zeros(table.inner)
    if table.order == 1:
        return result
    single = table.level(1)
    result[single] = np.exp(log_probs[single].astype(np.float64))
    result[BOS] = result[EOS]
    for length in range(2, table.order):
        here = table.level(length)
        result[here] = result[table.parents(length)] * np.exp(log_probs[here], dtype=np.float64)
    return result


def _settle(table: NgramTable, suffixes: Array, frequencies: Array, threads: int) -> None:
    """Move frequencies to the stationary ones, in place.

    A text's next word turns context h into (h w) less its first word. With f the frequencies, each
    n-gram (h w) of an order gets, from the contexts (v h) of that order:

        f(h w) = sum over v of f(v h) [p(w|v h) - b(v h) p(w|h)]        where (v h w) is an n-gram
               + p(w|h) [f(h) + sum over v of f(v h) (b(v h) - 1)]
    """
    values = np.empty(int(table.levels[-1]), np.float32)
    for length in range(2, table.order + 1):
        shared = (suffixes, table.log_probs, table.backoffs, values)
        cuts = contexts(table, length)
        run_slices(kernels.excesses, [(table.first, *cut, *shared) for cut in cuts], threads)
    lost = np.expm1(table.backoffs, dtype=np.float64)
    for _ in range(PASSES):
        for length in range(1, table.order):
            here = table.level(length)
            fresh = np.zeros(here.stop - here.start)
            shared = (suffixes, values, frequencies, fresh)
            kernels.send_to_suffixes(table.first, here.start, here.stop, *shared)
            backed = frequencies[here] * lost[here]
            probabilities = np.exp(table.log_probs[here], dtype=np.float64)
            if length == 1:
                fresh += probabilities * (1 + backed.sum())
                _renormalise(fresh)
            else:
                above = table.level(length - 1)
                size = above.stop - above.start
                passed = np.bincount(suffixes[here] - above.start, backed, minlength=size)
                passed += frequencies[above]
                fresh += probabilities * passed[table.parents(length) - above.start]
                np.maximum(fresh, 0, out=fresh)  # lower orders need not agree with higher ones
            frequencies[here] = fresh


def _renormalise(single: Array) -> None:
    """Words and </s> together come once a token, and a sentence begins as often as one ends."""
    np.maximum(single, 0, out=single)
    single[BOS] = 0
    single /= max(single.sum(), 1e-300)
    single[BOS] = single[EOS]
