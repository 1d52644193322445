"""Gradients by time lag: how much of the error of step t reaches the state k steps before.

The norm of dE_t/dh_{t-k}, for every lag k, t and sentence, comes out of one backward pass, see
`adjoint`. Where a net has several layers, dE_t/dh is the whole derivative by a layer's state, the
paths through the layers above included; where a layer reads backwards, it is the state k steps
later.

>>> import torch
>>> net = torch.nn.RNN(3, 8)
>>> found = lags_of_module(net, torch.randn(20, 4, 3), lambda y: y.square().sum())
>>> found.layers[0].norms.shape, round(float(found.layers[0].shares.sum()), 6)
((20,), 1.0)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.errors import SettingError
from unrolled.gradients.adjoint import Entering, StepErrors, carry_back, chunks
from unrolled.gradients.by_lag import GradientLags, LayerLags
from unrolled.gradients.calls import call_of, gradient_of, leaf_of, recorded_cells
from unrolled.gradients.stacks import Stack, stack_of
from unrolled.gradients.tangents import Tangent, tangent_of
from unrolled.neural.cells import Cell, State
from unrolled.neural.net import RecurrentNet

Array = np.ndarray[Any, Any]


class _Counter:
    """Records the norm of every propagated error, and sums them by lag."""

    def __init__(self, stack: Stack, entering: Entering, sources: Tensor, weights: bool) -> None:
        steps, batch = entering.outputs.shape[:2]
        self.stack, self.entering, self.sources = stack, entering, sources
        cells = [cell for layer in stack.layers for cell in layer]
        room = entering.outputs.new_zeros(len(sources), steps, batch)
        self.norms = [torch.zeros_like(room) for _ in cells]
        self.of_cells = [torch.zeros_like(room) if cell.states == 2 else None for cell in cells]
        self.weights: list[Tensor] = []
        if weights:
            shapes = [(steps, *cell.state_weight.shape) for cell in cells]
            self.weights = [entering.outputs.new_zeros(shape) for shape in shapes]

    def visit(self, seen: StepErrors) -> None:
        """Record the norms at one step of one layer."""
        where = slice(seen.first, None), seen.step
        norms, of_cells = self.norms[seen.number], self.of_cells[seen.number]
        torch.linalg.vector_norm(seen.errors[0], dim=-1, out=norms[where])
        if of_cells is not None:
            to_cell = seen.tangent.to_cell[seen.step]
            total = torch.addcmul(seen.errors[1], seen.errors[0], to_cell)
            torch.linalg.vector_norm(total, dim=-1, out=of_cells[where])
        if self.weights:
            parts = seen.gates.transpose(1, 2) @ seen.tangent.before[seen.step]  # (S, G H, H)
            lags = self.sources[seen.first :] - seen.step
            self.weights[seen.number].index_add_(0, lags, parts)

    def layer(self, number: int, mask: Tensor, highway: Tensor | None) -> LayerLags:
        """Sums by lag of a layer or direction.

        Args:
            mask: (T, B) where errors enter. highway: (S, T, B) norms, if wanted.
        """
        steps = len(mask)
        pairs, lags = self._pairs(number, mask)
        places = (lags * steps + self.sources.reshape(-1, 1, 1)).flatten()

        def heat(values: Tensor | None) -> Array | None:
            if values is None:
                return None
            weights = torch.where(pairs, values, 0).flatten().double()
            sums = torch.bincount(places, weights, minlength=steps * steps)
            found: Array = sums.view(steps, steps).cpu().numpy()
            return found

        counts = heat(torch.ones_like(self.norms[number]))
        sums = heat(self.norms[number])
        assert sums is not None and counts is not None
        rest = [heat(values) for values in (self.of_cells[number], highway)]
        of_cell, along = (None if values is None else values.sum(1) for values in rest)
        name = self.stack.names[number]
        return LayerLags(name, sums.sum(1), counts.sum(1), sums, counts, of_cell, along)

    def _pairs(self, number: int, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Which of (S, T, B) are errors at a step they can reach, and the lags."""
        lengths, steps = self.entering.full_lengths(), len(mask)
        own = torch.arange(steps, device=mask.device).unsqueeze(1)  # of the layer's time
        backwards = self.entering.backwards(number)
        places = lengths - 1 - own if backwards else own.expand(-1, len(lengths))
        lags = self.sources.reshape(-1, 1, 1) - places
        pairs = (own < lengths) & mask[self.sources].unsqueeze(1)
        # Below a layer that reads both ways errors come from both sides.
        one_sided = self.entering.directions == 1 or number >= 2 * (len(self.stack.layers) - 1)
        if one_sided:
            pairs = pairs & ((lags <= 0) if backwards else (lags >= 0))
        return pairs, lags.abs().clamp(max=steps - 1)  # what is beyond is no pair


@torch.no_grad()
def count_lags(
    stack: Stack,
    traced: list[tuple[Tangent, ...]],
    entering: Entering,
    *,
    sources: Tensor | None = None,
    highway: bool = True,
    weights: bool = False,
) -> GradientLags:
    """Norms by lag from known errors and derivatives.

    Args:
        traced: from `Stack.trace`.
        sources: steps whose errors are used; by default all at which errors enter.
        highway: also the part through the cell states only, at twice the work where there are some.
        weights: also the recurrent weights' gradients by lag: K G H H numbers a layer.

    Raises:
        SettingError: weights of bidirectional layers.
    """
    if weights and entering.directions == 2:
        raise SettingError("gradients of weights by lag are supported only for unidirectional nets")
    mask = entering.mask()
    if sources is None:
        sources = mask.any(1).nonzero().squeeze(1)
    counter = _Counter(stack, entering, sources, weights)
    carry_back(stack, traced, entering, sources, counter.visit)
    highways: list[Tensor | None] = [None] * len(stack.names)
    if highway and stack.layers[0][0].kind in ("lstm", "gru"):
        alone = _Counter(stack, entering, sources, False)
        carry_back(stack, traced, entering, sources, alone.visit, recurrent=False)
        pairs = zip(alone.norms, alone.of_cells, strict=True)
        highways = [of_h if of_c is None else of_c for of_h, of_c in pairs]
    layers = [counter.layer(k, mask, highways[k]) for k in range(len(highways))]
    return GradientLags(layers, counter.weights)


def lags_of_module(
    module: nn.Module,
    x: Tensor | PackedSequence,
    loss: Callable[[Any], Tensor],
    *,
    state: Any = None,
    highway: bool = True,
    weights: bool = False,
) -> GradientLags:
    """Norms by lag of a recurrent module.

    Dropout between the layers of a torch module is left out, as in evaluation.

    Args:
        module: torch.nn.RNN, LSTM or GRU, of any number of layers and both directions, or a `Cell`.
        x: its input, (T, B, E), or (B, T, E) with ``batch_first``, or packed.
        loss: from the module's outputs, of the shape that it gives them, to a scalar: the sum of
            E_t over steps and sentences. The error of step t is the one that enters by output t.
        state: to begin from, as the module takes it; zeros by default.
        highway, weights: as of `count_lags`.

    Raises:
        SettingError: another module, or a loss that does not depend on the outputs.
    """
    stack = stack_of(module)
    if isinstance(module, Cell) and state is None and isinstance(x, Tensor):
        state = stack.begin(x.shape[1])[0]
    arguments = (x,) if state is None else (x, state)
    call = call_of(module, arguments)
    with torch.no_grad():
        output = module(*arguments)[0]
    y, given = leaf_of(output)
    with torch.enable_grad():
        errors = gradient_of(loss(given), y)
    entering = call.entering(errors)
    return GradientLags.total(
        count_lags(
            stack, call.some(some).trace(stack), entering.some(some), highway=highway,
            weights=weights,
        )
        for some in chunks(stack, entering)
    )  # fmt: skip


@dataclass(frozen=True)
class NetTrace:
    """A net's derivatives along some words, and the errors that enter it from its loss.

    Attributes:
        stack: its layers. calls: of each, its cell, input, first state and outputs.
        entering: errors. loss: mean of -log p of the words to predict. after: the state.
    """

    stack: Stack
    calls: list[tuple[Cell, Tensor, State, Tensor]]
    entering: Entering
    loss: float
    after: State

    def tangents(self, some: slice = slice(None)) -> list[tuple[Tangent, ...]]:
        """The derivatives of every layer, of some sentences."""
        return [
            (tangent_of(cell, x[:, some], tuple(p[some] for p in start), states=y[:, some]),)
            for cell, x, start, y in self.calls
        ]

    def lags(self, *, highway: bool = True, weights: bool = False) -> GradientLags:
        """Norms by lag; see `count_lags`."""
        return GradientLags.total(
            count_lags(
                self.stack, self.tangents(some), self.entering.some(some), highway=highway,
                weights=weights,
            )
            for some in chunks(self.stack, self.entering)
        )  # fmt: skip


def trace_net(
    net: RecurrentNet, words: Tensor, targets: Tensor, state: State | None = None
) -> NetTrace:
    """Run a language model over words, and its own loss backwards into its last layer.

    E_t is -log p of the word to predict at step t, of one sentence. Dropout is off.

    Args:
        words: (T, B) int64. targets: (T, B), below 0 where there is nothing to predict.
        state: as ``net.begin`` gives it, which is the default.

    Raises:
        SettingError: a net without recurrent layers, or no word to predict.
    """
    stack = stack_of(net)
    real = targets.flatten() >= 0
    count = int(real.sum())
    if count == 0:
        raise SettingError("there is no word to predict in these steps")
    training = net.training
    calls: list[tuple[Cell, Tensor, State, Tensor]] = []
    net.eval()
    try:
        with recorded_cells(net, calls), torch.enable_grad():
            h, after = net(words, net.begin(words.shape[1]) if state is None else state)
            h, targets = h.flatten(0, 1), targets.flatten()
            if count < targets.numel():
                h, targets = h[real], targets[real]
            with _frozen(net.output):
                loss = net.output.loss(h, targets)
            errors = gradient_of(loss, calls[-1][3]) * count
    finally:
        net.train(training)
    rest = tuple(part.detach() for part in after)
    return NetTrace(stack, calls, Entering(errors), float(loss.detach()), rest)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Without gradients of its parameters: those of an output layer take the most time."""
    changed = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in changed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)
