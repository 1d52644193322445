"""How often a model expects each of its contexts: the p(h) that relative-entropy pruning needs.

Stolcke 1998 takes the chain rule's product p(h1) p(h2|h1) ... of the model's own probabilities. For
Kneser-Ney that is wrong: the counts of its short n-grams are numbers of contexts, not of
occurrences (Chelba, Brants, Neveitt and Xu, "Study on interaction between entropy pruning and
Kneser-Ney smoothing", 2010). But its longest n-grams are estimated from occurrences, and imply
those of the short ones: text drawn from the model has each context at its stationary frequency,
which for Kneser-Ney is about that of the training text, by its design. So the next word of a text
is drawn again and again, for all contexts at once, until their frequencies hardly change.

Measured, perplexity of the Penn Treebank's test text (closed vocabulary), modified Kneser-Ney
5-grams pruned from 2.3 M to 1 M, 622 k and 300 k n-grams: by the chain rule 143.4, 148.3, 161.8;
by stationary frequencies 142.5, 145.7, 155.0; by the chain rule of a second, Witten-Bell model
142.3, 145.1, 154.4. Witten-Bell and Katz models, too, prune better by stationary frequencies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.language_models.protocol import require_normalised
from unrolled.ngram.editing.trie_editing import opened
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie import editing_kernels as kernels
from unrolled.ngram.trie.table import NgramTable
from unrolled.ngram.trie.union import Part, conditional_log_probs, known_ids, locate
from unrolled.text.vocabulary import BOS, EOS, Vocabulary

Array = np.ndarray[Any, Any]

WAYS = ("stationary", "chain")
STEPS = 8  # measured on the smallest model above: 156.5 after 3, 155.2 after 6, 154.6 after 24


def own_frequencies(table: NgramTable, suffixes: Array, way: str = "stationary") -> Array:
    """Share of a text's places at which each context stands, (inner,) float64.

    A place is a word or </s>; <s> stands as often as </s>. Order 1 has no contexts.

    Args:
        way: "stationary" or "chain", see above.

    Raises:
        SettingError: another way.
    """
    if way not in WAYS:
        raise SettingError(f"the history is {way!r}, allowed are {', '.join(WAYS)}, or a model")
    frequencies = _chained(table, table.log_probs)
    if way == "stationary" and table.order > 1:
        _settle(table, suffixes, frequencies)
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
    own = opened(history)
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


def _settle(table: NgramTable, suffixes: Array, frequencies: Array) -> None:
    """Move frequencies to the stationary ones, in place.

    Raises:
        FormatError: back-off weights that no model has.
    """
    probabilities = np.exp(table.log_probs)
    for _ in range(STEPS):
        with np.errstate(over="ignore", invalid="ignore"):
            frequencies[:] = _step(table, suffixes, probabilities, frequencies)
        if not np.isfinite(frequencies).all():
            raise FormatError("the model's back-off weights overflow: its file is damaged")


def _step(table: NgramTable, suffixes: Array, probabilities: Array, frequencies: Array) -> Array:
    """Frequencies of the contexts of a text, one word later, (inner,) float64.

    Longest n-grams first. What is in a context h, less what is in its extensions (v h), and what
    these pass on as they back off, is A(h); it predicts w by p(w|h). Where (v h w) is an n-gram,
    its own frequency counts instead of what (v h) would pass on:

        A(h)   = f(h) + sum over contexts (v h) of [b(v h) A(v h) - f(v h)]
        F(h w) = p(w|h) A(h) + sum over n-grams (v h w) of [F(v h w) - p(w|h) b(v h) A(v h)]
    """
    fresh = np.zeros(table.inner)
    passing = frequencies.copy()
    lost = 0.0
    for length in range(table.order, 1, -1):
        above = table.level(length - 1)
        lost = kernels.flow_down(
            table.first, above.start, above.stop, suffixes, probabilities, table.backoffs,
            frequencies, passing, fresh,
        )  # fmt: skip
    # Without a context: all text but the ends of sentences, from where nothing is drawn.
    lost -= float(np.exp(table.backoffs[EOS])) * passing[EOS] - frequencies[EOS]
    single = fresh[table.level(1)]
    single += probabilities[table.level(1)] * (1 + lost)
    np.maximum(fresh, 0, out=fresh)  # on the way, orders may disagree
    single[BOS] = 0
    single /= max(single.sum(), 1e-300)
    single[BOS] = single[EOS]  # a sentence begins as often as one ends
    return fresh
