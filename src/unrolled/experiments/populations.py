"""Many small Elman nets trained as one batch, each with its own clipping and Omega.

Published success rates need dozens of nets of 50 units. One such net leaves a core idle between its
small products; a population makes them in one batched product each. Every net has its own random
numbers and its own batch, so that its training does not depend on the other nets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.gradients.omega import FLOOR


@dataclass(frozen=True)
class Rule:
    """How a net of the population is trained.

    Args:
        clip: largest norm of its gradient, infinite for none.
        omega: weight of Omega, 0 for none.
        rate: learning rate.
    """

    name: str
    clip: float = math.inf
    omega: float = 0.0
    rate: float = 0.01


class Population:
    """M nets h_t = tanh(W x_t + U h_{t-1} + b), softmax(V h_T + c), x_t a symbol.

    Args:
        rules: M rules; nets of one seed start alike whatever their rule.
        seeds: M seeds.
        symbols, hidden, answers: sizes of input, state H and output.
        spread: standard deviation of all weights at the start.
    """

    def __init__(
        self,
        rules: list[Rule],
        seeds: list[int],
        *,
        symbols: int,
        hidden: int,
        answers: int,
        spread: float = 0.1,
    ) -> None:
        self.names = [(rule.name, seed) for rule, seed in zip(rules, seeds, strict=True)]
        self.clip = torch.tensor([rule.clip for rule in rules])
        self.omega = torch.tensor([rule.omega for rule in rules])
        self.rate = torch.tensor([rule.rate for rule in rules])
        shapes = [(symbols, hidden), (hidden, hidden), (answers, hidden)]
        drawn: list[list[Tensor]] = [[], [], []]
        for seed in seeds:
            random = torch.Generator().manual_seed(seed)
            for weights, shape in zip(drawn, shapes, strict=True):
                weights.append(spread * torch.randn(shape, generator=random))
        # W by symbol (M, S, H), U (M, H, H), V (M, A, H), b (M, 1, H), c (M, 1, A)
        self.inputs, self.state, self.outputs = map(torch.stack, drawn)
        self.bias = torch.zeros(len(seeds), 1, hidden)
        self.output_bias = torch.zeros(len(seeds), 1, answers)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def parameters(self) -> list[Tensor]:
        """All weights; the first axis of each is the net."""
        return [self.inputs, self.state, self.outputs, self.bias, self.output_bias]

    def keep(self, nets: list[int]) -> None:
        """Drop all other nets."""
        self.names = [self.names[net] for net in nets]
        for name in ("clip", "omega", "rate", "inputs", "state", "outputs", "bias", "output_bias"):
            setattr(self, name, getattr(self, name)[nets])

    def states(self, sequences: Tensor) -> Tensor:
        """States (T + 1, M, B, H), zeros first, of sequences (M, T, B) int64."""
        nets, symbols, hidden = self.inputs.shape
        table = (self.inputs + self.bias).flatten(0, 1)
        rows = sequences.transpose(0, 1) + symbols * torch.arange(nets)[:, None]  # (T, M, B)
        states = torch.empty(len(rows) + 1, *rows.shape[1:], hidden)
        states[0] = 0
        torch.index_select(table, 0, rows.flatten(), out=states[1:].view(-1, hidden))
        turned = self.state.transpose(1, 2).contiguous()
        for t in range(1, len(states)):
            states[t].baddbmm_(states[t - 1], turned).tanh_()
        return states

    def answers(self, sequences: Tensor) -> Tensor:
        """The likeliest answer to each sequence, (M, B)."""
        return self._logits(self.states(sequences)[-1]).argmax(-1)

    def _logits(self, last: Tensor) -> Tensor:
        return torch.baddbmm(self.output_bias, last, self.outputs.transpose(1, 2))

    def gradients(self, sequences: Tensor, targets: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Gradients as `parameters`, losses (M,) and Omegas (M,), for sequences (M, T, B)."""
        states = self.states(sequences)
        batch = targets.shape[1]
        log_probs = self._logits(states[-1]).log_softmax(-1)
        losses = -log_probs.gather(2, targets[:, :, None]).mean((1, 2))
        wrong = log_probs.exp()  # (M, B, A)
        wrong.scatter_add_(2, targets[:, :, None], torch.full_like(wrong[..., :1], -1.0))
        wrong /= batch
        deltas = 1 - states[1:].square()  # slopes at first; then dE/d(W x + U h' + b), (T, M, B, H)
        errors = torch.empty_like(states)  # dE/dh_t
        torch.bmm(wrong, self.outputs, out=errors[-1])
        for t in range(len(deltas) - 1, -1, -1):
            deltas[t] *= errors[t + 1]
            torch.bmm(deltas[t], self.state, out=errors[t])
        omegas, factors = _omega(errors)
        # The shares of E and of Omega in dU have the same left factor.
        right = torch.addcmul(states[:-1], errors[:-1], (factors * self.omega[:, None])[..., None])
        dstate = torch.bmm(_by_net(deltas).transpose(1, 2), _by_net(right))
        # A product with ones and zeros is six times as fast as scatter_add.
        present = torch.zeros(len(self), self.inputs.shape[1], deltas[:, 0, :, 0].numel())
        present.scatter_(1, sequences.flatten(1)[:, None], 1.0)
        dinputs = torch.bmm(present, _by_net(deltas))
        doutputs = torch.bmm(wrong.transpose(1, 2), states[-1])
        dbias = dinputs.sum(1, keepdim=True)
        return [dinputs, dstate, doutputs, dbias, wrong.sum(1, keepdim=True)], losses, omegas

    def update(self, sequences: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One step of each net on its batch; gives losses (M,) and norms of gradients (M,)."""
        gradients, losses, _ = self.gradients(sequences, targets)
        norms = sum(gradient.square().flatten(1).sum(1) for gradient in gradients).sqrt()  # type: ignore[union-attr]
        # An infinite or NaN norm moves nothing, so that a clipped net survives one bad batch.
        scale = torch.where(norms > self.clip, self.clip / norms, 1.0)
        scale = torch.where(self.clip.isfinite() & ~norms.isfinite(), 0.0, scale)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            step = (self.rate * scale)[:, None, None] * gradient
            parameter -= torch.where(scale[:, None, None] > 0, step, 0.0)
        return losses, norms


def _omega(errors: Tensor) -> tuple[Tensor, Tensor]:
    """Omega (M,) by squared norms, and what errors are multiplied by in its gradient (T, M, B).

    The loss is read from the last step alone, so dE/dh_k is all that came through step k+1.
    """
    norms = errors.square().sum(-1)  # (T + 1, M, B)
    before, after = norms[:-1], norms[1:]
    used = after >= FLOOR
    used[0] = False  # h_0 does not depend on the recurrent weights
    count = used.sum((0, 2)).clamp(min=1)[:, None]
    safe = torch.where(used, after, 1.0)
    excess = torch.where(used, before / safe - 1, 0.0)
    factors = torch.where(used, 4 * excess / (safe * count), 0.0)
    return excess.square().sum((0, 2)) / count[:, 0], factors


def _by_net(rows: Tensor) -> Tensor:
    """(T, M, B, H) -> (M, T B, H)."""
    return rows.transpose(0, 1).flatten(1, 2)
