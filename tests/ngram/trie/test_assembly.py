"""N-grams in any order become a trie, against plain dictionaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unrolled.errors import FormatError
from unrolled.ngram.trie import assembly
from unrolled.ngram.trie.assembly import arrange

Array = np.ndarray[Any, Any]
SIZE = 400  # words


def trigrams(seed: int) -> list[Array]:
    """All bigrams and trigrams of random words, in random order; word 3 has many children."""
    draw = np.random.default_rng(seed)
    text = np.where(draw.random(6000) < 0.3, 3, draw.integers(3, SIZE, 6000)).astype(np.int32)
    grams = []
    for length in (2, 3):
        rows = np.lib.stride_tricks.sliding_window_view(text, length)
        grams.append(draw.permutation(np.unique(rows, axis=0)))
    # The suffixes and contexts of trigrams are bigrams; no trigram lacks one.
    return grams


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ordered", [False, True])
def test_every_row_gets_its_place(
    threads: int, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "SERIAL", 100)  # a table in parts
    grams = trigrams(1)
    shape = arrange([*grams], SIZE, threads=threads)
    if ordered:  # as the trie has them, so that nothing is to be sorted
        grams = [shape.ngrams(2), shape.ngrams(3)]
        again = arrange([*grams], SIZE, threads=threads)
        assert np.array_equal(again.words, shape.words)
        assert np.array_equal(again.first, shape.first)
        shape = again
    for length, rows in enumerate(grams, 2):
        assert shape.size(length) == rows.shape[0]
        assert np.array_equal(shape.ngrams(length), rows[shape.sources[length - 1]])
    assert np.all(shape.link_suffixes(threads=threads) < shape.levels[-1])


def test_of_equal_rows_the_first_is_the_source() -> None:
    bigrams, given = trigrams(2)
    again = np.concatenate([given, given[::2], given[::3]])
    shape = arrange([bigrams, again], SIZE, merge=True)
    assert np.array_equal(shape.ngrams(3), given[shape.sources[2]])
    assert np.array_equal(shape.ngrams(3)[shape.places[2]], again)
    with pytest.raises(FormatError, match="an n-gram of 3 words is given twice"):
        arrange([bigrams, again], SIZE)


@pytest.mark.parametrize("threads", [1, 3])
def test_equal_rows_have_one_node_that_keeps_its_children(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "SERIAL", 100)  # children are counted in parts
    bigrams, given = trigrams(4)
    once = arrange([bigrams, given], SIZE, threads=threads)
    twice = arrange(
        [np.concatenate([bigrams, bigrams[::2]]), np.concatenate([given[::3], given])],
        SIZE, merge=True, threads=threads,
    )  # fmt: skip
    assert np.array_equal(twice.first, once.first)
    assert np.array_equal(twice.words, once.words)
    assert np.array_equal(twice.ngrams(3), once.ngrams(3))


def test_missing_contexts_and_suffixes_are_added() -> None:
    bigrams, given = trigrams(3)
    lost = bigrams[: bigrams.shape[0] // 2]
    shape = arrange([bigrams[lost.shape[0] :], given], SIZE)
    found = {tuple(row) for row in shape.ngrams(2).tolist()}
    needed = {tuple(row) for rows in (given[:, :2], given[:, 1:]) for row in rows.tolist()}
    assert needed <= found
    assert np.count_nonzero(shape.sources[1] < 0) == len(
        needed - {tuple(row) for row in bigrams[lost.shape[0] :].tolist()}
    )
