"""A linear-chain conditional random field over the tags of a sentence (Lafferty et al. 2001).

log p(y | x) = score(y) - log Z, where the score of tags y is the sum of the emissions that a net
gives them, of transitions from each tag to the next, and of how good a tag is to begin and to end
with. All is exact: log Z by the forward algorithm, its gradient, which is what the tags are
expected to be, by the backward algorithm, the best tags by Viterbi's, and the n best ones. Only
log Z is needed in training, and is computed where the emissions are; the others, on the CPU.

>>> crf = LinearChainCRF(2)
>>> emissions, offsets = torch.tensor([[0.0, 3.0], [1.0, 0.0]]), np.array([0, 2])
>>> crf.decode(emissions, offsets).tolist()
[1, 0]
>>> crf.marginals(emissions, offsets)[0].round(decimals=2).tolist()
[[0.05, 0.95], [0.73, 0.27]]
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.tagging.data.batches import Packing
from unrolled.tagging.net import crf_kernels

Array = np.ndarray[Any, Any]


class Marginals(NamedTuple):
    """tags (N, K): the probability of each; betas (N, K): log of the weight of all that follows."""

    tags: Tensor
    betas: Tensor


class NBest(NamedTuple):
    """Tag sequences of one sentence, best first: tags (M, T) int64, log-probabilities (M,)."""

    tags: Array
    log_probs: Array


class LinearChainCRF(nn.Module):
    """Transitions between K tags.

    Args:
        tags: K.
        allowed: (K + 2, K + 2) bool, which tag may follow which; row K is the beginning of a
            sentence, column K + 1 its end. Without it everything may.
    """

    def __init__(self, tags: int, allowed: Array | None = None) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        if allowed is None:
            allowed = np.ones((tags + 2, tags + 2), bool)
        masks = np.where(allowed, 0.0, -np.inf).astype(np.float32)
        for name, mask in (
            ("pair_mask", masks[:tags, :tags]),
            ("start_mask", masks[tags, :tags]),
            ("end_mask", masks[:tags, tags + 1]),
        ):
            self.register_buffer(name, torch.from_numpy(mask.copy()), persistent=False)

    def scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """Transitions (K, K), beginnings (K,) and ends (K,); -inf where a tag is not allowed."""
        return (
            self.transitions + self.get_buffer("pair_mask"),
            self.start + self.get_buffer("start_mask"),
            self.end + self.get_buffer("end_mask"),
        )

    def log_partition(self, emissions: Tensor, offsets: Array) -> Tensor:
        """log Z (S,) of sentences, none empty, whose tokens lie end to end in emissions (N, K)."""
        if emissions.device.type != "cpu":
            return log_partition_by_torch(emissions, *self.scores(), offsets)
        result: Tensor = _LogPartition.apply(emissions, *self.scores(), offsets)
        return result

    def log_likelihood(self, emissions: Tensor, offsets: Array, tags: Tensor) -> Tensor:
        """log p (S,) of the tags (N,) int64 of sentences; none may be empty."""
        transitions, start, end = self.scores()
        first = torch.from_numpy(offsets[:-1]).to(tags.device)
        last = torch.from_numpy(offsets[1:] - 1).to(tags.device)
        steps = emissions.gather(1, tags.unsqueeze(1)).squeeze(1)
        onward = torch.cat([steps.new_zeros(1), transitions[tags[:-1], tags[1:]]])
        onward = onward.index_fill(0, first, 0.0)  # nothing leads from one sentence to the next
        sentence = torch.from_numpy(np.repeat(np.arange(first.numel()), np.diff(offsets)))
        path = steps.new_zeros(first.numel())
        path = path.index_add(0, sentence.to(tags.device), steps + onward)
        path = path + start[tags[first]] + end[tags[last]]
        return path - self.log_partition(emissions, offsets)

    @torch.no_grad()
    def decode(self, emissions: Tensor, offsets: Array) -> Array:
        """The likeliest tags (N,) int64."""
        given = [_array(part) for part in (emissions, *self.scores())]
        tags = np.zeros(len(given[0]), np.int64)
        scores = np.zeros(len(offsets) - 1)
        crf_kernels.viterbi(given[0], offsets, *given[1:], tags, scores)
        return tags

    @torch.no_grad()
    def n_best(self, emissions: Tensor, count: int) -> NBest:
        """The likeliest tag sequences of one sentence (T, K), at most so many."""
        given = [_array(part) for part in (emissions, *self.scores())]
        tags, scores = np.zeros((count, len(emissions)), np.int64), np.zeros(count)
        found = crf_kernels.best_few(*given, tags, scores)
        _, log_z = _forward(given, np.array([0, len(emissions)]))
        return NBest(tags[:found], scores[:found] - log_z[0])

    @torch.no_grad()
    def marginals(self, emissions: Tensor, offsets: Array) -> Marginals:
        """The probability of each tag at each place, and what a span's probability takes."""
        given = [_array(part) for part in (emissions, *self.scores())]
        alphas, log_z = _forward(given, offsets)
        tags, betas, *_ = _backward(given, offsets, alphas, log_z, np.ones_like(log_z))
        return Marginals(torch.from_numpy(tags), torch.from_numpy(betas))


def log_partition_by_torch(
    emissions: Tensor, transitions: Tensor, start: Tensor, end: Tensor, offsets: Array
) -> Tensor:
    """log Z (S,) by torch's operations on any device, a step for all sentences at a time."""
    packing, kind = Packing(np.diff(offsets)), emissions.dtype
    words = torch.from_numpy(np.argsort(packing.place)).to(emissions.device)
    x = emissions.double().index_select(0, words)
    # What is not allowed is very unlikely here: infinities have no difference, and no gradient.
    transitions, start, end = (part.double().clamp_min(-1e30) for part in (transitions, start, end))
    alphas, ended = x.new_zeros(0), []
    for number, (begin, stop, _, count) in enumerate(packing.forward.steps):
        if number == 0:
            alphas = x[begin:stop] + start
            continue
        ended.append(alphas[count:])  # of sentences that have no further word
        alphas = torch.logsumexp(alphas[:count].unsqueeze(2) + transitions, 1) + x[begin:stop]
    ended.append(alphas)
    log_z = torch.logsumexp(torch.cat(ended[::-1]) + end, 1)  # longest sentence first
    first = torch.from_numpy(packing.place[packing.offsets[:-1]]).to(emissions.device)
    return log_z.index_select(0, first).to(kind)


def _array(part: Tensor) -> Array:
    array: Array = part.detach().to("cpu", torch.float64).contiguous().numpy()
    return array


def _forward(given: list[Array], offsets: Array) -> tuple[Array, Array]:
    """alphas (N, K) and log Z (S,)."""
    emissions, transitions, start, end = given
    alphas, log_z = np.empty_like(emissions), np.empty(len(offsets) - 1)
    crf_kernels.forward(emissions, offsets, transitions, start, end, alphas, log_z)
    return alphas, log_z


def _backward(
    given: list[Array], offsets: Array, alphas: Array, log_z: Array, weights: Array
) -> tuple[Array, Array, Array, Array]:
    """Marginals (N, K), betas (N, K), pairs (K, K) and ends (K,)."""
    emissions, transitions, _, end = given
    marginals, betas = np.empty_like(emissions), np.empty_like(emissions)
    pairs, ends = np.zeros_like(transitions), np.zeros_like(end)
    crf_kernels.backward(
        emissions, offsets, transitions, end, alphas, log_z, weights, betas, marginals, pairs, ends
    )
    return marginals, betas, pairs, ends


class _LogPartition(torch.autograd.Function):
    """log Z of each sentence; d log Z / d score is how often that score is expected to count."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From emissions, transitions, start, end and offsets."""
        emissions, offsets = given[0], given[4]
        ctx.given = [_array(part) for part in given[:4]]
        ctx.offsets = offsets
        ctx.alphas, ctx.log_z = _forward(ctx.given, offsets)
        return torch.from_numpy(ctx.log_z).to(emissions)

    @staticmethod
    def backward(ctx: Any, *errors: Any) -> Any:
        weights = _array(errors[0])
        marginals, _, pairs, ends = _backward(
            ctx.given, ctx.offsets, ctx.alphas, ctx.log_z, weights
        )
        first = ctx.offsets[:-1][np.diff(ctx.offsets) > 0]
        parts = (marginals, pairs, marginals[first].sum(0), ends)
        return (*(torch.from_numpy(part).to(errors[0]) for part in parts), None)
