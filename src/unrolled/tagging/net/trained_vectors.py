"""The word vectors of a tagger while they are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.tagging.config import TaggerTraining
from unrolled.tagging.net.vectors import VectorTable
from unrolled.training.row_optimiser import RowOptimiser

Array = np.ndarray[Any, Any]


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
