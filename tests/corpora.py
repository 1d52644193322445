"""Small and large texts of word ids, and models of them, for the tests of n-gram models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from hypothesis import strategies as st

from unrolled.errors import UnrolledWarning
from unrolled.ngram.counts.counting import NgramCounts, count_ngrams
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.estimator import estimate
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.packed_trie import pack
from unrolled.ngram.trie.packing import unpack_words
from unrolled.ngram.trie.table import NgramTable
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

Sentences = list[list[int]]


@st.composite
def corpora(draw: st.DrawFn) -> tuple[Sentences, int]:
    """Sentences with marks, and V: few words so that n-grams repeat; some words may never occur."""
    size = draw(st.sampled_from([4, 5, 7, 12, 70]))
    used = draw(st.lists(st.sampled_from([UNK, *range(3, size)]), min_size=1, unique=True))
    sentence = st.lists(st.sampled_from(used), max_size=draw(st.sampled_from([1, 4, 12])))
    bodies = draw(st.lists(sentence, min_size=1, max_size=12))
    if draw(st.booleans()):
        bodies += bodies[: draw(st.integers(1, 4))] * 3
    return [[BOS, *body, EOS] for body in bodies], size


orders = st.sampled_from([1, 2, 2, 3, 3, 4, 5, 8, 20])


def zipf_sentences(tokens: int, size: int, seed: int, *, longest: int = 40) -> Sentences:
    """Random text: word frequencies as in language, and one line that is repeated often."""
    random = np.random.default_rng(seed)
    words = np.minimum(random.zipf(1.2, tokens) + 2, size - 1)
    cuts = np.cumsum(random.integers(0, longest, 2 * tokens // longest + 2))
    bodies = np.split(words, cuts[cuts < tokens])
    line = list(range(3, min(9, size)))
    return [[BOS, *map(int, body), EOS] for body in bodies] + [[BOS, *line, EOS]] * 50


def ids_of(sentences: Sequence[Sequence[int]]) -> np.ndarray[Any, Any]:
    """The corpus as one array."""
    return np.array([word for sentence in sentences for word in sentence], np.int32)


def counts_of(
    sentences: Sequence[Sequence[int]], size: int, order: int, threads: int = 2
) -> NgramCounts:
    return count_ngrams(ids_of(sentences), order, size, threads=threads)


def words_in(size: int) -> Vocabulary:
    """A vocabulary of ``size`` words w3, w4, ... after the marks."""
    return Vocabulary.from_words([f"w{number}" for number in range(3, size)])


def model_of(
    sentences: Sequence[Sequence[int]], size: int, order: int, **settings: Any
) -> NgramModel:
    """A model of sentences of ids, without a word about discounts that lack a closed form."""
    config = NgramConfig(order=order, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnrolledWarning)
        made = estimate(counts_of(sentences, size, order), config)
    return NgramModel(pack(made.table), words_in(size), asdict(config), made.record)


def grams_of(trie: NgramCounts | NgramTable) -> list[tuple[int, ...]]:
    """The n-gram of every node, by walking from parents to children."""
    words = unpack_words(trie.words, trie.bits, 0, int(trie.levels[-1])).tolist()
    first = trie.first.tolist()
    grams = [(word,) for word in range(int(trie.levels[1]))]
    for node in range(int(trie.levels[-2])):
        assert first[node] == len(grams), "children follow those of the node before"
        grams += [(*grams[node], word) for word in words[first[node] : first[node + 1]]]
    return grams


def state_after(model: NgramModel, history: Sequence[int]) -> Any:
    """The model's state after some ids, with no context before them."""
    state = model.start(bos=False)
    for word in history:
        state = model.advance(state, word)
    return state


def histories(sentences: Sentences, size: int) -> list[list[int]]:
    """Contexts to ask about: none, all of the text's, and some that the text lacks."""
    seen = [sentence[:stop] for sentence in sentences for stop in range(1, len(sentence))]
    unseen = [[BOS, size - 1, UNK, 3], [3, 3, 3, 3, 3, 3], [UNK, 3], [BOS, 3, size - 1], [EOS]]
    return [[], *seen[:40], *unseen]
