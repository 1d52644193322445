"""A recurrent net that reads a sequence and answers at its end, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unrolled.gradients.clipping import clip_by_norm
from unrolled.neural.cells import NO_LIMITS, Cell, State
from unrolled.neural.recurrent import Limits

_STEPS = 64


class SequenceClassifier(nn.Module):
    """Encoded input, a cell, and scores of the answers after the last step.

    Args:
        encode: inputs (T, B) to vectors (T, B, E). cell: of width E. answers: number A.
        limits: of errors on their way back through time.
        dropout_updates: as of `Cell.run_unrolled`, for answers in training mode.

    Raises:
        SettingError: such a share that is not allowed, or not of an LSTM.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        cell: Cell,
        answers: int,
        limits: Limits = NO_LIMITS,
        dropout_updates: float = 0.0,
    ) -> None:
        super().__init__()
        self.encode, self.cell, self.limits = encode, cell, limits
        self.dropout_updates = cell.dropout_share(dropout_updates)
        self.output = nn.Linear(cell.hidden, answers)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, A) of the answers to inputs (T, B)."""
        vectors = self.encode(x)
        state = self.begin(vectors)
        if self._is_torchs(vectors):
            return self.output(states_by_torch(self.cell, vectors, state[0])[-1])  # type: ignore[no-any-return]
        # Without gradients the states of all steps need not be there at once.
        share = self.dropout_updates if self.training else 0.0
        for part in [vectors] if torch.is_grad_enabled() else torch.split(vectors, _STEPS):
            _, state = self.cell.run_fused(part, state, limits=self.limits, dropout_updates=share)
        return self.output(state[0])  # type: ignore[no-any-return]

    def states(self, x: Tensor, *, fused: bool = True) -> Tensor:
        """States (T, B, H) after each step, with nothing dropped."""
        vectors = self.encode(x)
        begin, cell = self.begin(vectors), self.cell
        if self._is_torchs(vectors):
            return states_by_torch(cell, vectors, begin[0])
        run = cell.run_fused if fused else cell.run_unrolled
        states, _ = run(vectors, begin, limits=self.limits)
        return states

    def _is_torchs(self, vectors: Tensor) -> bool:
        elman = self.cell.kind in ("elman", "irnn")
        return vectors.device.type == "cuda" and elman and self.limits == NO_LIMITS

    def begin(self, vectors: Tensor) -> State:
        """States of zeros (B, H)."""
        shape = (vectors.shape[1], self.cell.hidden)
        return tuple(vectors.new_zeros(shape) for _ in range(self.cell.states))

    def train_on(self, x: Tensor, answers: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """One update, its gradient clipped at norm 1."""
        optimiser.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(self(x), answers))
        clip_by_norm([p.grad for p in self.parameters() if p.grad is not None], 1.0)
        optimiser.step()

    @torch.no_grad()
    def wrong(self, x: Tensor, answers: Tensor) -> int:
        """How many sequences get a wrong answer, with nothing dropped."""
        mode = self.training
        found = self.eval()(x).argmax(1)
        self.train(mode)
        return int((found != answers).sum())


def states_by_torch(cell: Cell, x: Tensor, begin: Tensor) -> Tensor:
    """States (T, B, H) of an Elman cell by torch's kernels, which are faster on a GPU."""
    run = torch.rnn_relu if cell.nonlinearity == "relu" else torch.rnn_tanh
    weights = [cell.input_weight, cell.state_weight, cell.bias, torch.zeros_like(cell.bias)]
    given = (x, begin.unsqueeze(0), weights, True, 1, 0.0, cell.training, False, False)
    states: Tensor = run(*given)[0]
    return states
