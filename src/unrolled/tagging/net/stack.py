"""Deep bidirectional recurrent stacks over packed sentences (Irsoy and Cardie 2014, section 3).

h_f(l, t) = f(W_ff h_f(l-1, t) + W_bf h_b(l-1, t) + V_f h_f(l, t-1) + b_f) and h_b likewise from
t + 1: every layer reads both directions of the layer below it, and the output reads the last layer,
or all of them. Cells are those of `unrolled.neural.cells`, with the same parameters.

On CPUs in float32 a run has one backward pass: the matrix product of a step, then one
kernel for all that is not a product; torch's own takes a dozen small operations for each step of an
LSTM. On other devices, and in other precisions, torch's packed runs compute the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.neural.cells import Cell
from unrolled.tagging.data.batches import Packing, Walk
from unrolled.tagging.net import stack_kernels

Array = np.ndarray[Any, Any]

_NUMBERS = {"tanh": 0, "sigmoid": 1, "relu": 2, "linear": 3}
_TORCH_RUNS = {"lstm": "lstm", "gru": "gru", "tanh": "rnn_tanh", "relu": "rnn_relu"}


class Layer(nn.Module):
    """Two cells that read the same rows, one from the left and one from the right."""

    def __init__(self, kind: str, inputs: int, hidden: int, nonlinearity: str) -> None:
        super().__init__()
        self.left = Cell(kind, inputs, hidden, nonlinearity=nonlinearity)
        self.right = Cell(kind, inputs, hidden, nonlinearity=nonlinearity)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """States (N, 2 H) of both directions from rows (N, E)."""
        if x.device.type == "cpu" and x.dtype == torch.float32:
            return torch.cat(
                [run(self.left, x, packing.forward), run(self.right, x, packing.backward)], 1
            )
        return self.run_by_torch(x, packing)

    def run_by_torch(self, x: Tensor, packing: Packing) -> Tensor:
        """The same by torch's kernels, of any precision and on any device."""
        left = self.left
        name = left.nonlinearity if left.kind in ("elman", "irnn") else left.kind
        if name not in _TORCH_RUNS:
            return self._run_unrolled(x, packing)
        states = 2 if left.kind == "lstm" else 1
        zeros = x.new_zeros(2, packing.lengths.size, left.hidden)
        weights = [*_torch_weights(left), *_torch_weights(self.right)]
        begin = [zeros, zeros] if states == 2 else zeros
        sizes = torch.from_numpy(packing.sizes)
        kernel = getattr(torch, _TORCH_RUNS[name])
        y: Tensor = kernel(x, sizes, begin, weights, True, 1, 0.0, self.training, True)[0]
        return y

    def _run_unrolled(self, x: Tensor, packing: Packing) -> Tensor:
        """The same, a `Cell.step` at a time."""
        return torch.cat(
            [
                run_unrolled(self.left, x, packing.forward),
                run_unrolled(self.right, x, packing.backward),
            ],
            1,
        )


def _torch_weights(cell: Cell) -> list[Tensor]:
    second = torch.zeros_like(cell.bias)
    if cell.state_bias is not None:
        second = torch.cat([second[: 2 * cell.hidden], cell.state_bias])
    return [cell.input_weight, cell.state_weight, cell.bias, second]


class DeepStack(nn.Module):
    """L layers.

    Args:
        kind, nonlinearity: of the cells. inputs: E. hidden: H, of each direction.
        layers: L. read: ``last`` or ``all``, the layers whose states are the output.
    """

    def __init__(
        self, kind: str, inputs: int, hidden: int, layers: int, *, nonlinearity: str, read: str
    ) -> None:
        super().__init__()
        widths = [inputs, *[2 * hidden] * layers][:layers]
        self.layers = nn.ModuleList(Layer(kind, width, hidden, nonlinearity) for width in widths)
        self.read = read
        if not layers:
            self.width = inputs
        else:
            self.width = 2 * hidden * (layers if read == "all" else 1)

    def forward(self, x: Tensor, packing: Packing, dropout: float = 0.0) -> Tensor:
        """Rows (N, D) from rows (N, E); between layers units are dropped, see `drop`."""
        outputs: list[Tensor] = []
        for layer in self.layers:
            if outputs:
                x = drop(x, packing, dropout)
            x = layer(x, packing)
            outputs.append(x)
        return torch.cat(outputs, 1) if self.read == "all" and len(outputs) > 1 else x


def drop(x: Tensor, packing: Packing, share: float) -> Tensor:
    """Rows with units of each sentence set to 0, the same ones at all its words."""
    if share == 0:
        return x
    mask = x.new_empty(packing.lengths.size, x.shape[1]).bernoulli_(1 - share).div_(1 - share)
    sentence = torch.from_numpy(packing.sentence).to(x.device)
    return x * mask.index_select(0, sentence)


def largest(rows: Tensor, owner: Tensor, owners: int) -> Tensor:
    """(S, W) the largest value of each column among the rows (N, W) of each owner (N,)."""
    lowest = rows.new_full((owners, rows.shape[1]), -torch.inf)
    return lowest.scatter_reduce(0, owner[:, None].expand_as(rows), rows, "amax")


def run(cell: Cell, x: Tensor, walk: Walk) -> Tensor:
    """States (N, H) of one direction, float32 on a CPU."""
    bias = cell.bias if cell.state_bias is None else cell.state_bias
    result: Tensor = _Run.apply(
        x, cell.input_weight, cell.bias, cell.state_weight, bias, walk, _arithmetic(cell)
    )
    return result


def run_unrolled(cell: Cell, x: Tensor, walk: Walk) -> Tensor:
    """The same by `Cell.step`, slow and for all precisions."""
    states: list[Tensor] = [x.new_zeros(len(x), cell.hidden) for _ in range(cell.states)]
    for begin, end, before, count in walk.steps:
        old = tuple(
            torch.cat(
                [part[before : before + count], part.new_zeros(end - begin - count, cell.hidden)]
            )
            for part in states
        )
        new = cell.step(x[begin:end], old)
        states = [
            torch.cat([part[:begin], rows, part[end:]])
            for part, rows in zip(states, new, strict=True)
        ]
    return states[0]


class _Run(torch.autograd.Function):
    """One direction of one layer; only the chain of states goes step by step."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From x (N, E), W, b, U, a, the walk and the cell's arithmetic."""
        x, input_weight, bias, weight, inner_bias, walk, arithmetic = given
        sums = torch.addmm(bias, x, input_weight.t())
        h: Tensor
        h, saved = arithmetic.forward(sums, weight, inner_bias, walk)
        ctx.save_for_backward(x, input_weight, weight, h, *saved)
        ctx.walk, ctx.arithmetic = walk, arithmetic
        return h

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        x, input_weight, weight, h, *saved = ctx.saved_tensors
        dh = given[0].contiguous().clone()
        errors, of_state, inner = ctx.arithmetic.backward(dh, weight, h, saved, ctx.walk)
        later, earlier = (torch.from_numpy(rows) for rows in ctx.walk[1:])
        dweight = of_state.index_select(0, later).t() @ h.index_select(0, earlier)
        dx = errors @ input_weight if ctx.needs_input_grad[0] else None
        return dx, errors.t() @ x, errors.sum(0), dweight, inner, None, None


class _Elman:
    """W x + b + U h', then f."""

    def __init__(self, nonlinearity: str) -> None:
        self._number = np.int64(_NUMBERS[nonlinearity])

    def forward(
        self, sums: Tensor, weight: Tensor, _bias: Tensor, walk: Walk
    ) -> tuple[Tensor, list[Tensor]]:
        """h (N, H) in place of the sums."""
        transposed, rows = weight.t(), sums.numpy()
        for begin, end, before, count in walk.steps:
            if count:
                sums[begin : begin + count].addmm_(sums[before : before + count], transposed)
            stack_kernels.elman_step(rows, begin, end, self._number)
        return sums, []

    def backward(
        self, dh: Tensor, weight: Tensor, h: Tensor, _saved: list[Tensor], walk: Walk
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Errors of the sums, twice: they are those of W x + b and of U h'."""
        values, rows = h.numpy(), dh.numpy()
        for begin, end, before, count in reversed(walk.steps):
            stack_kernels.elman_back(values, rows, begin, end, self._number)
            if count:
                dh[before : before + count].addmm_(dh[begin : begin + count], weight)
        return dh, dh, None


class _Lstm:
    """Gates in the order i, f, g, o."""

    def forward(
        self, sums: Tensor, weight: Tensor, _bias: Tensor, walk: Walk
    ) -> tuple[Tensor, list[Tensor]]:
        """h (N, H); saves the gates and c."""
        transposed = weight.t()
        h = sums.new_empty(len(sums), weight.shape[1])
        c = torch.empty_like(h)
        arrays = sums.numpy(), c.numpy(), h.numpy()
        for begin, end, before, count in walk.steps:
            if count:
                sums[begin : begin + count].addmm_(h[before : before + count], transposed)
            stack_kernels.lstm_step(*arrays, begin, end, before, count)
        return h, [sums, c]

    def backward(
        self, dh: Tensor, weight: Tensor, h: Tensor, saved: list[Tensor], walk: Walk
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Errors of the gates' sums, twice."""
        gates, c = saved[0].clone(), saved[1]
        dc = torch.zeros_like(c)
        arrays = gates.numpy(), c.numpy(), dh.numpy(), dc.numpy()
        for begin, end, before, count in reversed(walk.steps):
            stack_kernels.lstm_back(*arrays, begin, end, before, count)
            if count:
                dh[before : before + count].addmm_(gates[begin : begin + count], weight)
        return gates, gates, None


class _Gru:
    """Gates in the order r, z, n."""

    def forward(
        self, sums: Tensor, weight: Tensor, bias: Tensor, walk: Walk
    ) -> tuple[Tensor, list[Tensor]]:
        """h (N, H); saves the gates and U h'."""
        transposed = weight.t()
        h = sums.new_empty(len(sums), weight.shape[1])
        from_h = torch.empty_like(sums)
        arrays = sums.numpy(), from_h.numpy(), bias.detach().numpy(), h.numpy()
        for begin, end, before, count in walk.steps:
            if count:
                torch.mm(h[before : before + count], transposed, out=from_h[begin : begin + count])
            stack_kernels.gru_step(*arrays, begin, end, before, count)
        return h, [sums, from_h]

    def backward(
        self, dh: Tensor, weight: Tensor, h: Tensor, saved: list[Tensor], walk: Walk
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Errors of W x + b, of U h', and of a."""
        gates, from_h = saved[0].clone(), saved[1].clone()
        arrays = gates.numpy(), from_h.numpy(), h.numpy(), dh.numpy()
        for begin, end, before, count in reversed(walk.steps):
            stack_kernels.gru_back(*arrays, begin, end, before, count)
            if count:
                dh[before : before + count].addmm_(from_h[begin : begin + count], weight)
        return gates, from_h, from_h[:, 2 * h.shape[1] :].sum(0)


def _arithmetic(cell: Cell) -> _Elman | _Lstm | _Gru:
    if cell.kind == "lstm":
        return _Lstm()
    if cell.kind == "gru":
        return _Gru()
    return _Elman(cell.nonlinearity)
