"""Steps and batches: every token is predicted once, from what stands before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.neural.streams import IGNORED, Batch, by_sentence, contiguous_batches, steps_of

SENTENCES = st.lists(st.lists(st.integers(3, 9), max_size=6), min_size=1, max_size=12)


def _ids(sentences: list[list[int]]) -> np.ndarray:
    return np.array([word for words in sentences for word in [1, *words, 2]], np.int32)


@given(SENTENCES)
def test_steps_predict_each_token_from_the_one_before(sentences: list[list[int]]) -> None:
    ids = _ids(sentences)
    steps = steps_of(ids)
    pairs = list(zip(steps.inputs.tolist(), steps.targets.tolist(), strict=True))
    wanted = [pair for words in sentences for pair in zip([1, *words], [*words, 2], strict=True)]
    assert pairs == wanted
    assert np.array_equal(ids[steps.places], steps.targets)


def test_ids_that_are_not_whole_sentences_have_steps_too() -> None:
    steps = steps_of(np.array([5, 6, 2, 7]))
    assert steps.inputs.tolist() == [1, 5, 6, 1]
    assert steps.targets.tolist() == [5, 6, 2, 7]
    assert steps_of(np.array([1])).inputs.size == 0


def _streams(batches: list[Batch]) -> list[list[int]]:
    """The numbers of the steps that each column of the batches went through."""
    columns: list[list[int]] = []
    for batch in batches:
        if batch.fresh:
            start = len(columns)
            columns += [[] for _ in range(batch.steps.shape[1])]
        for row in batch.steps:
            for place, number in enumerate(row.tolist()):
                if number >= 0:
                    columns[start + place].append(number)
    return columns


@settings(max_examples=60)
@given(SENTENCES, st.integers(1, 9), st.integers(1, 5))
def test_batches_go_through_every_step_once_in_order(
    sentences: list[list[int]], batch: int, length: int
) -> None:
    steps = steps_of(_ids(sentences))
    size = steps.inputs.size
    for batches in (
        list(contiguous_batches(steps, batch, length)),
        list(by_sentence(steps, batch, length, np.random.default_rng(1))),
    ):
        columns = _streams(batches)
        assert sorted(number for column in columns for number in column) == list(range(size))
        for column in columns:
            assert column == list(range(column[0], column[0] + len(column)))
        for piece in batches:
            real = piece.steps >= 0
            assert np.array_equal(piece.targets[real], steps.targets[piece.steps[real]])
            assert np.array_equal(piece.inputs[real], steps.inputs[piece.steps[real]])
            assert np.all(piece.targets[~real] == IGNORED)
            assert piece.inputs.shape[0] <= length


def test_sentences_stay_whole() -> None:
    steps = steps_of(_ids([[3, 4], [5], [6, 7, 8], []]))
    columns = _streams(list(by_sentence(steps, 2, 10)))
    assert sorted(columns) == [[0, 1, 2], [3, 4], [5, 6, 7, 8], [9]]


@settings(max_examples=60)
@given(SENTENCES, st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_a_text_may_begin_anywhere_and_is_a_ring(
    sentences: list[list[int]], batch: int, length: int, first: int
) -> None:
    steps = steps_of(_ids(sentences))
    size = steps.inputs.size
    first %= size
    columns = _streams(list(contiguous_batches(steps, batch, length, first)))
    numbers = [number for column in columns for number in column]
    assert numbers == [*range(first, size), *range(first)]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_parts_of_a_text_are_equally_long(batch: int) -> None:
    steps = steps_of(_ids([[3] * 10] * 10))
    lengths = [len(column) for column in _streams(list(contiguous_batches(steps, batch, 35)))]
    assert max(lengths) - min(lengths) <= 1
