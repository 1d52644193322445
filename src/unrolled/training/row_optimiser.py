"""Steps on those rows of a large table that a batch uses, and on no others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class RowOptimiser:
    """Adam or SGD for the rows of a table (n, E), which is changed in place.

    A row's averages are only moved by batches that it is in, and Adam's correction counts those:
    a dense step would take time for every word of the vocabulary, and move words that are not in
    the batch by gradients of long ago.

    Args:
        table: (n, E) float32. kind: adam, or sgd. momentum: of SGD.
    """

    def __init__(self, table: Tensor, kind: str, momentum: float = 0.0) -> None:
        self.table, self.kind, self.momentum = table, kind, momentum
        self._state: dict[str, Tensor] = {}
        if kind == "adam":
            self._state = {name: torch.zeros_like(table) for name in ("mean", "square")}
            self._state["steps"] = torch.zeros(len(table), 1, device=table.device)
        elif momentum:
            self._state = {"momentum": torch.zeros_like(table)}

    @torch.no_grad()
    def step(self, rows: Tensor, gradient: Tensor, rate: float) -> None:
        """Move rows (U,), none of them twice, against their gradient (U, E)."""
        state = self._state
        if self.kind != "adam":
            if self.momentum:
                gradient = gradient + self.momentum * state["momentum"][rows]
                state["momentum"][rows] = gradient
            self.table[rows] -= rate * gradient
            return
        steps = state["steps"][rows] + 1
        mean = torch.lerp(state["mean"][rows], gradient, 0.1)
        square = torch.lerp(state["square"][rows], gradient * gradient, 0.001)
        state["steps"][rows], state["mean"][rows], state["square"][rows] = steps, mean, square
        spread = (square / (1 - 0.999**steps)).sqrt_().add_(1e-8)
        self.table[rows] -= rate * (mean / (1 - 0.9**steps)) / spread

    def state(self) -> dict[str, Tensor]:
        """Averages and counts by name, for a checkpoint."""
        return self._state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for name, value in self._state.items():
            value.copy_(state[name])
