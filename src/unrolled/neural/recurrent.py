"""All steps of a recurrent layer by Numba kernels, for tensors on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unrolled.neural import recurrent_kernels
from unrolled.neural.recurrent_kernels import BLOCK, pack, pack_transposed
from unrolled.neural.recurrent_steps import GRU, LINEAR, LSTM, RELU, SIGMOID, TANH
from unrolled.runtime.denormals import no_denormals
from unrolled.runtime.memory import aligned_empty
from unrolled.runtime.simd import WIDTH
from unrolled.runtime.threads import even_slices, run_short_slices
from unrolled.runtime.torch_threads import run_torch_slices, threads

Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]

KINDS = {"tanh": TANH, "sigmoid": SIGMOID, "relu": RELU, "linear": LINEAR, "lstm": LSTM, "gru": GRU}
# What is summed for the gradients is the same whatever the number of threads: each piece of so many
# texts has its own sums.
_PIECE = 32
_TEXTS = 4  # that the kernels take together
_GATES = {"lstm": 4, "gru": 3}
_TORCH_PIECE = 32  # of torch's kernels, which pack the weights anew for each piece
_LONG = 64  # steps
_CACHED = 1 << 17  # weights
_WORTH_A_SLICE = 10_000_000  # multiplications, a fraction of a millisecond
_MOST_SLICES = 8

# Gradients that vanish over hundreds of steps, and states that fade, reach the smallest numbers.
_run, _run_back = no_denormals()(recurrent_kernels.run), no_denormals()(recurrent_kernels.run_back)


@dataclass(frozen=True)
class Limits:
    """What becomes of errors on their way back through time.

    Args:
        size: no element of dE/dh_t is larger (Graves 2013 clips such errors); 0 for no limit.
        norm: nor is the norm of that of one text; 0 for no limit.
        truncation: errors go no further back than the end of every so many steps, counted from the
            last one; 0 for no limit.
    """

    size: float = 0.0
    norm: float = 0.0
    truncation: int = 0


def suits(kind: str, x: Tensor, start: Tensor) -> bool:
    """Whether the kernels can take inputs (T, B, E) of a layer (see `KINDS`), and gain by it."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    known = x.dtype == start.dtype == torch.float32 and x.shape[1] >= _TEXTS and len(x) > 0
    if kind not in _GATES:
        return known
    # Where steps are few or weights do not stay in the cache torch's own kernels are as fast.
    weights = _GATES[kind] * start.shape[1] * (x.shape[2] + start.shape[1])
    return known and len(x) >= _LONG and weights <= _CACHED


class RecurrentRun(torch.autograd.Function):
    """All states of a layer, and one backward pass that accumulates all errors.

    Args: the kind, `Limits`, the share of an LSTM's updates dropped, x (T, B, E), W (G H, E),
    U (G H, H), b (G H,), a GRU's second bias (H,), h_0 (B, H) and an LSTM's c_0; None for what a
    kind lacks.

    Returns: states (T, B, H), the last one, and the last cell state of an LSTM.
    """

    @staticmethod
    def forward(
        ctx: Any, kind: str, limits: Limits, dropout: float, *given: Any
    ) -> tuple[Tensor, ...]:
        x, input_weight, weight, bias, state_bias, start, cell_start = given
        layer = _Layer(KINDS[kind], input_weight, weight, bias, state_bias)
        ctx.set_materialize_grads(False)
        y, gates, cells = layer.run(x, start, cell_start, dropout)
        ctx.layer, ctx.limits, ctx.keep = layer, limits, 1 - dropout
        ctx.save_for_backward(x, y, gates, cells)
        batch = x.shape[1]
        states = y[batch:].view(len(x), batch, -1)[..., : layer.units]
        last = (states[-1].clone(),)
        return states, *last, *((cells[-batch:, : layer.units].clone(),) if len(cells) else ())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        found = ctx.layer.run_back(
            ctx.saved_tensors, gradients, ctx.limits, ctx.keep,
            with_inputs=ctx.needs_input_grad[3],
        )  # fmt: skip
        return None, None, None, *found


class TorchRun(torch.autograd.Function):
    """States of a layer by torch's kernels, for a few texts at a time: torch's own threads would
    meet after each step. What is computed is the same whatever the number of threads.

    Args: a function of x (T, B, E), states (B, H), and weights; how many of its arguments are not
    weights; whether gradients are recorded; then the arguments.

    Returns: states (T, B, H), and the last ones (B, H).
    """

    @staticmethod
    def forward(ctx: Any, function: Any, count: int, recorded: bool, *given: Tensor) -> Any:
        size = _size(given[0].shape[1], _TORCH_PIECE)
        texts = list(zip(*(part.split(size, -2) for part in given[:count]), strict=True))
        needed = [recorded and need for need in ctx.needs_input_grad[3:]]
        work = [(function, (*part, *given[count:]), needed) for part in texts]
        products = len(given[0]) * given[0].shape[1] * sum(part.numel() for part in given[count:])
        ctx.most = products // _WORTH_A_SLICE
        ctx.pieces, ctx.count = run_torch_slices(_recorded, work, ctx.most), count
        ctx.sizes = [part[0].shape[1] for part in texts]
        ctx.set_materialize_grads(False)
        parts = zip(*(outputs for _, outputs in ctx.pieces), strict=True)
        return tuple(torch.cat([part.detach() for part in same], -2) for same in parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        parts = [
            [None] * len(ctx.sizes) if part is None else part.split(ctx.sizes, -2)
            for part in gradients
        ]
        work = zip(*zip(*ctx.pieces, strict=True), zip(*parts, strict=True), strict=True)
        found = list(zip(*run_torch_slices(_back, work, ctx.most), strict=True))
        of_texts = [None if same[0] is None else torch.cat(same, -2) for same in found[: ctx.count]]
        of_weights = [None if same[0] is None else sum(same) for same in found[ctx.count :]]
        return None, None, None, *of_texts, *of_weights


@no_denormals()
def _recorded(
    function: Any, given: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Inputs of their own, and the outputs, with what autograd needs to go back."""
    inputs = [part.detach() for part in given]
    for part, need in zip(inputs, needed, strict=True):
        if need:
            part.requires_grad_()
    with torch.set_grad_enabled(any(needed)):
        return inputs, function(*inputs)


@no_denormals()
def _back(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], gradients: Sequence[Any]
) -> list[Tensor | None]:
    """Gradients by the inputs that need one."""
    wanted = [part for part in inputs if part.requires_grad]
    reached = [k for k, dy in enumerate(gradients) if dy is not None]
    errors = [gradients[k] for k in reached]
    reached_outputs = [outputs[k] for k in reached]
    found = iter(torch.autograd.grad(reached_outputs, wanted, errors, retain_graph=True))
    return [next(found) if part.requires_grad else None for part in inputs]


class _Layer:
    """The weights of a layer as the kernels take them."""

    def __init__(
        self, kind: int, input_weight: Tensor, weight: Tensor, bias: Tensor, state_bias: Any
    ) -> None:
        self.kind = kind
        self.units, self.inputs = weight.shape[1], input_weight.shape[1]
        self.hidden = -(-self.units // WIDTH) * WIDTH
        self.sections = len(weight) // self.units + (kind == GRU)
        self.width = self.sections * self.hidden
        # (N, E), (N, H) and (N, 1), in the kernels' order of gates.
        self.from_x, self.from_h = self._gates(input_weight, True), self._gates(weight, False)
        self.bias = self._gates(bias[:, None], True)
        if kind == GRU:
            self.bias[3 * self.hidden : 3 * self.hidden + self.units, 0] = state_bias

    def _gates(self, weight: Tensor, of_inputs: bool) -> Tensor:
        """Weights (G H, K) to (N, K): padded, and in the order of the kernels."""
        weight = weight.detach()
        if self.kind != GRU and self.units == self.hidden:
            return weight
        gates = weight.new_zeros(self.sections, self.hidden, weight.shape[1])
        gates[self._order(of_inputs), : self.units] = weight.unflatten(0, (-1, self.units))
        flat: Tensor = gates.flatten(0, 1)
        return flat

    def _weights(self, gates: Tensor, of_inputs: bool) -> Tensor:
        """From (K, N) back to weights (G H, K)."""
        if self.kind != GRU and self.units == self.hidden:
            return gates.t()
        sections = gates.t().unflatten(0, (self.sections, self.hidden))
        weights: Tensor = sections[self._order(of_inputs), : self.units].flatten(0, 1)
        return weights

    def _order(self, of_inputs: bool) -> Any:
        """Where the sections of weights (r, z, n of a GRU) are among the kernels' gates."""
        if self.kind != GRU:
            return slice(None)
        return [1, 2, 0] if of_inputs else [1, 2, 3]

    def _back(self, gates: Tensor, width: int, of_inputs: bool) -> Rows:
        """Those of all gates (N, K) that inputs or states meet, in blocks, K padded to a width."""
        if self.kind == GRU:
            gates = gates[: 3 * self.hidden] if of_inputs else gates[self.hidden :]
        if self.sections == 1:
            gates = gates[: self.units]
        return packed(torch.nn.functional.pad(gates, (0, width - gates.shape[1])))

    def run(
        self, x: Tensor, start: Tensor, cell_start: Tensor | None, dropout: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States, gates and cell states, as the kernels have them."""
        steps, batch, inputs = x.shape
        y = _empty(batch + steps * batch, self.hidden)
        gates = y[batch:] if self.sections == 1 else _empty(steps * batch, self.width)
        cells = _empty(0 if cell_start is None else len(y), self.hidden)
        _fill(y, start)
        if cell_start is not None:
            _fill(cells, cell_start)
        from_x, from_h, skipped = packed(self.from_x.t()), packed(self.from_h.t()), 0
        if self.kind == GRU:
            skipped = self.hidden // BLOCK
            from_x = from_x[: -(-3 * self.hidden // BLOCK) * inputs]
            from_h = from_h[skipped * self.units :]
        given = (np.int64(self.kind), _rows(x), from_x, from_h, _rows(self.bias.t()))
        mask = _empty(steps * batch if dropout else 0, self.hidden)
        if dropout:
            mask[:, self.units :] = 0
            draw_dropout(mask[:, : self.units], dropout)
        out = (np.int64(self.units), *(_rows(part) for part in (mask, y, gates, cells)))
        pieces = self._pieces(steps, batch)
        work = [(*given, np.int64(skipped), piece, *out) for piece in pieces]
        run_short_slices(_run, work, threads())
        return y, gates, cells

    def run_back(
        self, saved: tuple[Tensor, ...], gradients: Any, limits: Limits, keep: float, *,
        with_inputs: bool,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Gradients by x, W, U, b, the second bias, h_0 and c_0."""
        x, y, _, cells = saved
        steps, batch, inputs = x.shape
        dy, *dlast = gradients
        # Of the last state; in the end, of the first one.
        state, cell = y.new_zeros(batch, self.hidden), y.new_zeros(batch, self.hidden)
        for errors, given in zip((state, cell), dlast, strict=False):
            if given is not None:
                errors[:, : self.units] = given
        dy = y.new_empty(0, self.units) if dy is None else dy
        padded = -(-inputs // WIDTH) * WIDTH
        back_to_x = self._back(self.from_x, padded, True) if with_inputs else _rows(y[:0, :WIDTH])
        dx = y.new_zeros(steps * batch if with_inputs else 0, padded)
        back_to_h = self._back(self.from_h, self.hidden, False)
        count = -(-batch // _size(batch, _PIECE))
        sums = [y.new_zeros(count * rows, self.width) for rows in (inputs + 1, self.units)]
        bounds = (float(limits.size), float(limits.norm), int(limits.truncation))
        arrays = [_rows(part) for part in (*saved, dy)]
        sizes = (np.int64(self.units), float(keep))
        out = (*sizes, *(_rows(part) for part in (state, cell, dx, *sums)))
        work = [
            (np.int64(self.kind), *arrays, back_to_h, back_to_x, bounds, piece, *out)
            for piece in self._pieces(steps, batch)
        ]
        run_short_slices(_run_back, work, threads())
        dfrom_x, dfrom_h = (part.view(count, -1, self.width).sum(0) for part in sums)
        dfrom_x, dbias = dfrom_x[:-1], dfrom_x[-1:]
        second = dbias[0, 3 * self.hidden :][: self.units] if self.kind == GRU else None
        return (
            dx.view(steps, batch, -1)[..., :inputs] if with_inputs else None,
            self._weights(dfrom_x, True), self._weights(dfrom_h, False),
            self._weights(dbias, True).flatten(), second,
            state[:, : self.units], cell[:, : self.units] if len(cells) else None,
        )  # fmt: skip

    def _pieces(self, steps: int, batch: int) -> list[tuple[int, int, int]]:
        """Texts of a piece, and which pieces are done together: they are more than the threads, of
        which one may have to wait for a core."""
        size = _size(batch, _PIECE)
        work = steps * batch * self.width * (self.hidden + self.inputs)
        count = min(_MOST_SLICES, work // _WORTH_A_SLICE) if threads() > 1 else 1
        return [(size, *part) for part in even_slices(-(-batch // size), max(count, 1))]


def draw_dropout(mask: Tensor, share: float) -> None:
    """Fill a mask of two axes: 0 with the probability `share`, in 256ths, else 1 / (1 - share)."""
    rows, units = mask.shape
    # torch's own generator, from which the seed is, takes ten times as long.
    seed = int(torch.randint(1 << 62, ()))
    random = np.random.Generator(np.random.SFC64(seed))
    drawn = random.integers(1 << 64, size=-(-rows * units // 8), dtype=np.uint64).view(np.uint8)
    kept = drawn[: rows * units].reshape(rows, units) >= round(256 * share)
    np.multiply(kept, np.float32(1 / (1 - share)), out=mask.numpy())


def _size(batch: int, most: int) -> int:
    """Texts of a piece: few, where otherwise there would be no two pieces."""
    half = -(-batch // (2 * _TEXTS)) * _TEXTS
    return min(half, most)


def _empty(rows: int, columns: int) -> Tensor:
    return torch.from_numpy(aligned_empty(rows, columns))


def _fill(rows: Tensor, start: Tensor) -> None:
    """The state before as the first rows."""
    first = rows[: len(start)]
    if rows.shape[1] > start.shape[1]:
        first.zero_()
    first[:, : start.shape[1]] = start


def packed(weight: Tensor) -> Rows:
    """Weights (K, N) in blocks."""
    rows, width = weight.shape
    packed = aligned_empty(-(-width // BLOCK) * rows, BLOCK)
    if weight.t().is_contiguous():
        pack_transposed(_rows(weight.t()), packed)
    else:
        pack(_rows(weight), packed)
    return packed


def _rows(tensor: Tensor) -> Rows:
    return tensor.detach().contiguous().view(-1, tensor.shape[-1]).numpy()
