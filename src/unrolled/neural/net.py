"""The nets: words in, outputs for the output layer out, with a state that is carried along."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.neural.cells import Cell, State, activate
from unrolled.neural.config import OUTPUTS, NetConfig
from unrolled.neural.initialisation import initialise
from unrolled.neural.max_ent import NO_WORD, MaxEnt
from unrolled.neural.output_layers import (
    AdaptiveSoftmax,
    ClassFactoredSoftmax,
    FullSoftmax,
    OutputLayer,
)
from unrolled.neural.sampled import NoiseContrastive, SampledSoftmax
from unrolled.text.vocabulary import EOS

Array = np.ndarray[Any, Any]

FADING = 0.9  # of a state, each step


class Net(nn.Module):
    """Word vectors, a body that turns them into outputs, and an output layer.

    Args:
        config: what it is made of.
        size: V.
        class_of: (V,) int64 class of each word, for the output by classes.
    """

    def __init__(self, config: NetConfig, size: int, class_of: Array | None) -> None:
        super().__init__()
        self.config = config
        self.class_of = class_of
        width = config.width
        self.vectors = nn.Parameter(torch.empty(size, width).uniform_(-0.1, 0.1))
        output = self.vectors
        if not config.tied:
            output = nn.Parameter(torch.empty(size, width).uniform_(-0.1, 0.1))
        self.output = output_layer(config.output_layer, output, class_of, config.samples)
        if config.maxent_size:
            self.output.max_ent = MaxEnt(config.maxent_size, config.maxent_order, size)
        last = config.hidden
        # Tied vectors of another width than the state are met by one linear layer.
        self.projection = nn.Linear(last, width, bias=False) if last != width else None

    def begin(self, batch: int) -> State:
        """The state before any word, of B texts."""
        state = self.begin_body(batch)
        max_ent = self.output.max_ent
        if max_ent is None:
            return state
        shape = (batch, max_ent.columns)
        return (*state, torch.full(shape, NO_WORD, dtype=torch.int64, device=self.vectors.device))

    def begin_body(self, batch: int) -> State:
        """The part of the state that `body` takes and gives."""
        raise NotImplementedError

    def body(
        self, x: Tensor, state: State, words: Tensor, depth: int | None
    ) -> tuple[Tensor, State]:
        """Outputs (T, B, H) from word vectors (T, B, E)."""
        raise NotImplementedError

    def forward(
        self, words: Tensor, state: State, *, depth: int | None = None
    ) -> tuple[Tensor, State]:
        """Outputs (T, B, E) after each of words (T, B), and the last state.

        With n-gram features beside the net outputs have columns more, see `max_ent`.

        Args:
            depth: 1: gradients do not flow back through time (plain backpropagation); by default
                they flow back through all T steps.
        """
        x = self._word_dropout(nn.functional.embedding(words, self.vectors), words)
        x = self._dropout(x, self.config.dropout_input)
        own = state if self.output.max_ent is None else state[:-1]
        h, after = self.body(x, own, words, depth)
        if self.projection is not None:
            h = self.projection(h)
        h = self._dropout(h, self.config.dropout_output)
        if self.output.max_ent is None:
            return h, after
        context, recent = _words_before(words, state[-1])
        h = h.float() if h.dtype == torch.bfloat16 else h  # which has no room for numbers of words
        return torch.cat([h, context.to(h.dtype)], -1), (*after, recent)

    def _word_dropout(self, x: Tensor, words: Tensor) -> Tensor:
        """Vectors x (T, B, E) of words (T, B), those of dropped words of the vocabulary as 0."""
        share = self.config.dropout_words
        if not self.training or share == 0:
            return x
        keep = x.new_empty(len(self.vectors), 1).bernoulli_(1 - share).div_(1 - share)
        return x * nn.functional.embedding(words, keep)

    def _dropout(self, x: Tensor, share: float) -> Tensor:
        """x (T, B, E) with units of each text set to 0, one mask for all steps."""
        if not self.training or share == 0:
            return x
        keep = x.new_empty(1, *x.shape[1:]).bernoulli_(1 - share).div_(1 - share)
        return x * keep


def _words_before(words: Tensor, recent: Tensor) -> tuple[Tensor, Tensor]:
    """The last K words at each of words (T, B), as (T, B, K), and at the end, (B, K).

    Args:
        recent: (B, K) the words before the first step, the last one at the end.
    """
    steps, columns = len(words), recent.shape[1]
    rows = torch.cat([recent.t(), words])
    windows = rows.unfold(0, columns, 1)[1:] if columns else rows.unsqueeze(-1)[:, :, :0]
    return windows, rows[steps:].t().contiguous()


class RecurrentNet(Net):
    """Elman, IRNN, LSTM or GRU layers, each reading the one below it."""

    def __init__(self, config: NetConfig, size: int, class_of: Array | None) -> None:
        super().__init__(config, size, class_of)
        widths = [config.width, *[config.hidden] * (config.layers - 1)]
        self.layers = nn.ModuleList(
            Cell(
                config.cell,
                width,
                config.hidden,
                nonlinearity=config.nonlinearity,
                forget_bias=config.forget_bias,
            )
            for width in widths
        )
        way, scale = config.recurrent_init, config.recurrent_init_scale
        if not way and config.cell == "elman" and config.nonlinearity in ("tanh", "relu"):
            way, scale = "identity", FADING
        for number in range(config.layers if way else 0):
            initialise(self._cell(number).state_weight, way, scale=scale)
        self.per_layer = self._cell(0).states
        start = torch.zeros(config.layers * self.per_layer, config.hidden)
        self.start = nn.Parameter(start) if config.learn_initial_state else None

    def _cell(self, number: int) -> Cell:
        cell = self.layers[number]
        assert isinstance(cell, Cell)
        return cell

    def begin_body(self, batch: int) -> State:
        config = self.config
        if self.start is not None:
            return tuple(row.expand(batch, -1).contiguous() for row in self.start)
        count = config.layers * self.per_layer
        return tuple(self.vectors.new_zeros(batch, config.hidden) for _ in range(count))

    def body(
        self, x: Tensor, state: State, words: Tensor, depth: int | None
    ) -> tuple[Tensor, State]:
        after: list[Tensor] = []
        for number in range(self.config.layers):
            cell = self._cell(number)
            given = state[number * self.per_layer : (number + 1) * self.per_layer]
            weight = self._weight(cell)
            if number > 0:
                x = self._dropout(x, self.config.dropout_layers)
            y, last = cell(x, given, state_weight=weight, depth=depth)
            x = x + y if self.config.residual and number > 0 else y
            after.extend(last)
        return x, tuple(after)

    def _weight(self, cell: Cell) -> Tensor | None:
        """Recurrent weights after dropout, one mask for all steps; None without dropout."""
        share = self.config.dropout_recurrent
        if not self.training or share == 0:
            return None
        return nn.functional.dropout(cell.state_weight, share)


class FeedForwardNet(Net):
    """h = f(W [x_{t-n+2}; ...; x_t] + b): an n-gram model by a net (Bengio et al. 2003).

    Its state is the n - 2 words before, so that it runs over text as the recurrent nets do.
    """

    def __init__(self, config: NetConfig, size: int, class_of: Array | None) -> None:
        super().__init__(config, size, class_of)
        self.hidden = nn.Linear((config.order - 1) * config.width, config.hidden)
        spread = 1 / math.sqrt(config.hidden)
        nn.init.uniform_(self.hidden.weight, -spread, spread)

    def begin_body(self, batch: int) -> State:
        shape = (batch, self.config.order - 2)
        return (torch.full(shape, EOS, dtype=torch.int64, device=self.vectors.device),)

    def body(
        self, x: Tensor, state: State, words: Tensor, depth: int | None
    ) -> tuple[Tensor, State]:
        steps, context = len(words), self.config.order - 1
        before = nn.functional.embedding(state[0].t(), self.vectors)  # (n - 2, B, E)
        rows = torch.cat([before, x])
        windows = torch.cat([rows[k : k + steps] for k in range(context)], -1)
        h = activate(self.hidden(windows), self.config.nonlinearity)
        seen = torch.cat([state[0].t(), words])
        return h, (seen[len(seen) - (context - 1) :].t().contiguous(),)


def build_net(config: NetConfig, size: int, class_of: Array | None = None) -> Net:
    """The net that a configuration describes, freshly initialised from torch's random numbers."""
    kind = FeedForwardNet if config.cell == "feed-forward" else RecurrentNet
    return kind(config, size, class_of)


def output_layer(
    kind: str, weight: nn.Parameter, class_of: Array | None, samples: int = 1024
) -> OutputLayer:
    """The output layer of a name; ``classes`` needs the class of every word.

    Raises:
        SettingError: an unknown name.
    """
    if kind == "full":
        return FullSoftmax(weight)
    if kind == "classes" and class_of is not None:
        return ClassFactoredSoftmax(weight, class_of)
    if kind == "adaptive":
        return AdaptiveSoftmax(weight.shape[1], weight.shape[0])
    if kind == "sampled":
        return SampledSoftmax(weight, samples)
    if kind == "nce":
        return NoiseContrastive(weight, samples)
    raise SettingError(f"the output '{kind}' is unknown, allowed are {', '.join(OUTPUTS)}")
