"""Word vectors of a tagger: those that training changes, and many more as a file gave them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import UnrolledWarning
from unrolled.tagging.config import TaggerConfig, TaggerTraining
from unrolled.tagging.data.features import SPECIALS, Lexicon, candidates, is_word, new_words
from unrolled.text.word_vectors import read_vectors
from unrolled.training.row_optimiser import RowOptimiser

Array = np.ndarray[Any, Any]


class VectorTable(NamedTuple):
    """trained (n, E) float32, and given (m, E) float16, which has half the size and is enough."""

    trained: Array
    given: Array

    def take(self, ids: Array) -> Array:
        """Rows (N, E) float32."""
        rows = np.empty((ids.size, self.trained.shape[1]), np.float32)
        own = ids < len(self.trained)
        rows[own] = self.trained[ids[own]]
        rows[~own] = self.given[ids[~own] - len(self.trained)]
        return rows


class TrainedVectors:
    """The table of a tagger's trained word vectors on the device where they are trained.

    On the CPU it is the tagger's own memory, so that the tagger always has what was trained; on
    another device it is a copy, which `copy_to_host` copies back.

    Args:
        vectors: the tagger's. training: how they are trained.
    """

    def __init__(
        self, vectors: VectorTable, training: TaggerTraining, device: torch.device
    ) -> None:
        self._vectors = vectors
        self._home = torch.from_numpy(vectors.trained)
        self.table = self._home.to(device)
        self.optimiser = RowOptimiser(self.table, training.optimiser, training.momentum)

    def take(self, ids: Array) -> Tensor:
        """Rows (U, E) of words (U,), those of words that are not trained among them."""
        rows = torch.from_numpy(self._vectors.take(ids))
        if self.table is self._home:
            return rows
        device = self.table.device
        own = np.flatnonzero(ids < len(self.table))
        trained = self.table[torch.from_numpy(ids[own]).to(device)]
        return rows.to(device).index_copy_(0, torch.from_numpy(own).to(device), trained)

    def trained(self, ids: Array) -> Tensor:
        """(U,) bool, which words are trained."""
        return torch.from_numpy(ids < len(self.table)).to(self.table.device)

    def step(self, ids: Array, gradient: Tensor, rate: float) -> None:
        """Move the rows of the trained words among these against their gradient."""
        own = torch.from_numpy(ids[ids < len(self.table)])
        self.optimiser.step(own.to(self.table.device), gradient, rate)

    def copy_to_host(self) -> None:
        """Update the tagger's own memory from another device."""
        if self.table is not self._home:
            self._home.copy_(self.table)


class Words(NamedTuple):
    """The words of a tagger with their vectors, and a line about them."""

    lexicon: Lexicon
    table: VectorTable
    line: str


def words_of(
    counts: Mapping[str, int], config: TaggerConfig, training: TaggerTraining
) -> tuple[Words, TaggerConfig]:
    """The lexicon of training data; the configuration with the width of the vectors.

    Args:
        counts: how often each word comes in the training data.

    Warns if the file has no vector for any of these words.

    Raises:
        TextError: the file of vectors cannot be read or is broken.
    """
    random = np.random.default_rng(training.seed)
    if not training.vectors:
        return _without_file(counts, config, random), config
    sought = {
        form for word in counts for form in candidates(word, config.case, config.normalise_digits)
    }
    names, given = read_vectors(training.vectors, training.vector_words, sought)
    config = replace(config, embedding=given.shape[1])
    place = {name: number for number, name in enumerate(names) if is_word(name)}
    used: dict[str, int] = {}
    for word in counts:
        for form in candidates(word, config.case, config.normalise_digits):
            if form in place:
                used[form] = place[form]
                break
    if not used:
        what = f"{training.vectors}: no word of the training data has a vector in it"
        warnings.warn(what, UnrolledWarning, stacklevel=4)
    # Frozen vectors leave nothing to learn for a word alone: those without one are unknown.
    added = []
    if not training.freeze_vectors:
        added = new_words(counts, config.case, config.normalise_digits, set(place))
    spread = float(np.sqrt(np.mean(given.astype(np.float64) ** 2)))
    own = random.normal(0, spread, (SPECIALS + len(added), given.shape[1])).astype(np.float32)
    own[:SPECIALS] = 0
    tuned = [] if training.freeze_vectors else list(used)
    first = {*added, *tuned}
    rest = [name for name in place if name not in first]
    words = [*added, *tuned, *rest]
    table = VectorTable(
        np.concatenate([own, given[[used[word] for word in tuned]].reshape(-1, given.shape[1])]),
        given[[place[word] for word in rest]].astype(np.float16).reshape(-1, given.shape[1]),
    )
    lexicon = Lexicon(
        words, trained=len(table.trained), case=config.case, digits=config.normalise_digits
    )
    line = (
        f"{len(used):,} words of the training data have vectors of {given.shape[1]} numbers, "
        f"{len(added):,} more are learned; {len(rest):,} words keep those of the file"
    )
    return Words(lexicon, table, line), config


def _without_file(
    counts: Mapping[str, int], config: TaggerConfig, random: np.random.Generator
) -> Words:
    words = new_words(counts, config.case, config.normalise_digits, set())
    spread = (3 / config.embedding) ** 0.5
    rows = random.uniform(-spread, spread, (SPECIALS + len(words), config.embedding))
    table = VectorTable(rows.astype(np.float32), np.zeros((0, config.embedding), np.float16))
    lexicon = Lexicon(words, trained=len(rows), case=config.case, digits=config.normalise_digits)
    return Words(lexicon, table, f"{len(words):,} words, no vectors to begin with")
