"""Steps on those rows of a large table that a batch has touched, and on no others."""

from __future__ import annotations

import torch
from torch import Tensor


class RowOptimiser:
    """Adam or SGD for the rows of a table (n, E), which is changed in place.

    A row's averages are only moved by batches that it is in, and Adam's correction counts those:
    a dense step would take time for every word of the vocabulary, and move words that are not in
    the batch by what they were in long ago.

    Args:
        table: (n, E) float32. kind: adam or sgd. momentum: of SGD.
    """

    def __init__(self, table: Tensor, kind: str, momentum: float = 0.0) -> None:
        self.table, self.kind, self.momentum = table, kind, momentum
        if kind == "adam":
            self._mean, self._square = torch.zeros_like(table), torch.zeros_like(table)
            self._steps = torch.zeros(len(table), 1, device=table.device)
        elif momentum:
            self._mean = torch.zeros_like(table)

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor, rate: float) -> None:
        """Move rows (U,), none of them twice, against their gradient (U, E)."""
        if self.kind == "sgd":
            if self.momentum:
                gradient = gradient + self.momentum * self._mean[rows]
                self._mean[rows] = gradient
            self.table[rows] -= rate * gradient
            return
        steps = self._steps[rows] + 1
        mean = torch.lerp(self._mean[rows], gradient, 0.1)
        square = torch.lerp(self._square[rows], gradient * gradient, 0.001)
        self._steps[rows], self._mean[rows], self._square[rows] = steps, mean, square
        spread = (square / (1 - 0.999**steps)).sqrt_().add_(1e-8)
        self.table[rows] -= rate * (mean / (1 - 0.9**steps)) / spread
