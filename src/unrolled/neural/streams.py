"""A text as steps of a net: an input word and the word to predict.

In ids, sentences stand as ``<s> words </s>``. A net reads ``<s>`` before the first word of each
sentence and never needs to read ``</s>``, so the inputs are all but ``</s>`` and the targets all
but ``<s>``: as many of one as of the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]

IGNORED = -1  # target of a step that only fills a batch up


@dataclass(frozen=True)
class Steps:
    """inputs and targets (S,) int64, and the place (S,) of each target in the ids."""

    inputs: Array
    targets: Array
    places: Array


def steps_of(ids: Array) -> Steps:
    """The steps of any ids (T,): every id but ``<s>`` is predicted from what stands before it.

    What no ``<s>`` goes before, at the beginning or after ``</s>``, begins a sentence all the same.

    >>> steps = steps_of(np.array([1, 5, 6, 2, 1, 7, 2]))
    >>> steps.inputs.tolist(), steps.targets.tolist()
    ([1, 5, 6, 1, 7], [5, 6, 2, 7, 2])
    """
    ids = np.asarray(ids, np.int64)
    places = np.flatnonzero(ids != BOS)
    before = np.concatenate([[BOS], ids[:-1]])[places]
    return Steps(np.where(before == EOS, BOS, before), ids[places], places)


@dataclass(frozen=True)
class Batch:
    """A number of steps of B texts in parallel.

    Attributes:
        inputs, targets: (T, B) int64; a target may be `IGNORED`.
        fresh: whether the state begins anew here.
        steps: (T, B) int64 number of each step, -1 where ignored.
    """

    inputs: Array
    targets: Array
    fresh: bool
    steps: Array

    def columns(self, part: slice) -> Batch:
        """The same steps of a part of the texts."""
        return Batch(self.inputs[:, part], self.targets[:, part], self.fresh, self.steps[:, part])


def contiguous_batches(steps: Steps, batch: int, length: int, first: int = 0) -> Iterator[Batch]:
    """Cut a text into B parts and go through them in parallel, ``length`` steps at a time.

    The state is to be carried from one batch to the next; the parts differ by one step at most.

    Args:
        first: number of the step to begin at; the text's beginning then follows its end.
    """
    size = steps.inputs.size
    if size == 0:
        return
    batch = min(batch, size)
    height = -(-size // batch)
    # Parts end where they would, so only the last row can have gaps.
    edges = np.linspace(0, size, batch + 1).astype(np.int64)
    grid = edges[:-1] + np.arange(height)[:, None]  # (height, B)
    numbers = np.where(grid < edges[1:], (first + grid) % size, -1)
    for start in range(0, height, length):
        yield _batch(steps, numbers[start : start + length], start == 0)


def by_sentence(
    steps: Steps, batch: int, length: int, random: np.random.Generator | None = None
) -> Iterator[Batch]:
    """B whole sentences at a time, of about equal length; each begins from the start state.

    Args:
        random: shuffles the batches; None leaves short sentences first.
    """
    starts = np.flatnonzero(steps.inputs == BOS)  # the first step always is one
    sizes = np.diff(np.append(starts, steps.inputs.size))
    order = np.argsort(sizes, kind="stable")
    groups = [order[low : low + batch] for low in range(0, order.size, batch)]
    if random is not None:
        groups = [groups[k] for k in random.permutation(len(groups))]
    for group in groups:
        grid = starts[group] + np.arange(sizes[group].max())[:, None]
        numbers = np.where(grid < starts[group] + sizes[group], grid, -1)
        for start in range(0, len(numbers), length):
            yield _batch(steps, numbers[start : start + length], start == 0)


def in_order(steps: Steps, length: int, sentences: bool) -> Iterator[Batch]:
    """A text from its beginning to its end, ``length`` steps at a time; B is 1.

    Args:
        sentences: whether no batch goes beyond a sentence, and each sentence begins fresh.
    """
    size = steps.inputs.size
    borders = np.array([0] if size else [], np.int64)
    if sentences:
        borders = np.flatnonzero(steps.inputs == BOS)  # the first step always is one
    for low, high in itertools.pairwise([*borders.tolist(), size]):
        for start in range(low, high, length):
            numbers = np.arange(start, min(start + length, high))[:, None]
            yield _batch(steps, numbers, start == low)


def _batch(steps: Steps, numbers: Array, fresh: bool) -> Batch:
    missing = numbers < 0
    inputs = np.where(missing, EOS, steps.inputs[numbers])
    targets = np.where(missing, IGNORED, steps.targets[numbers])
    return Batch(inputs, targets, fresh, numbers)
