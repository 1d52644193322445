"""Deep bidirectional recurrent stacks over packed sentences (Irsoy and Cardie 2014, section 3).

h_f(l, t) = f(W_ff h_f(l-1, t) + W_bf h_b(l-1, t) + V_f h_f(l, t-1) + b_f) and h_b likewise from
t + 1: every layer reads both directions of the layer below it, and the output reads the last layer,
or all of them. Cells are those of `unrolled.neural.cells`, with the same parameters.

On CPUs in float32 a kernel takes all steps of a direction, and each direction has a thread; torch's
own threads would meet after each product of a step. On other devices, and in other precisions,
torch's packed runs compute the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.neural.cells import Cell
from unrolled.neural.recurrent import packed
from unrolled.runtime.simd import WIDTH
from unrolled.runtime.torch_threads import run_torch_slices
from unrolled.tagging.data.batches import Packing, Walk
from unrolled.tagging.net import stack_kernels

Array = np.ndarray[Any, Any]

_NUMBERS = {"tanh": 0, "sigmoid": 1, "relu": 2, "linear": 3}
_WORTH_A_THREAD = 10_000_000  # multiplications, a fraction of a millisecond
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
                run((self.left, self.right), x, (packing.forward, packing.backward)), 1
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
    return [cell.input_weight, cell.state_weight, cell.bias, cell.second_bias()]


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


def run(cells: Sequence[Cell], x: Tensor, walks: Sequence[Walk]) -> list[Tensor]:
    """States (N, H) of each cell along its walk through rows (N, E), float32 on a CPU."""
    weights = [weight for cell in cells for weight in _weights(cell)]
    states = _Runs.apply(x, walks, [_arithmetic(cell) for cell in cells], *weights)
    return [part[:, : cell.hidden] for part, cell in zip(states, cells, strict=True)]


def _weights(cell: Cell) -> list[Tensor]:
    """W, b, U and a GRU's a (or b again), padded by units whose weights are 0."""
    inner = cell.bias if cell.state_bias is None else cell.state_bias
    weights: list[Tensor] = [cell.input_weight, cell.bias, cell.state_weight, inner]
    missing = -cell.hidden % WIDTH
    if not missing:
        return weights
    rows = [weight.unflatten(0, (-1, cell.hidden)) for weight in weights]
    rows[2] = nn.functional.pad(rows[2], (0, missing))
    padded = [nn.functional.pad(rows[k], (0, 0) * (k % 2 == 0) + (0, missing)) for k in range(4)]
    return [part.flatten(0, 1) for part in padded]


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


class _Runs(torch.autograd.Function):
    """Directions of a layer, each by one thread, which meet once on the way forwards and once on
    the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, walks: Any, kinds: Any, *weights: Tensor) -> Any:
        """From x (N, E), walks, the cells' arithmetic, and W, b, U, a of each."""
        ctx.runs = [
            _Direction(kind, walk, weights[4 * k : 4 * k + 4])
            for k, (kind, walk) in enumerate(zip(kinds, walks, strict=True))
        ]
        # A few words take less time than a thread takes to begin.
        ctx.most = (weights[0].numel() + weights[2].numel()) * len(x) // _WORTH_A_THREAD
        found = run_torch_slices(_Direction.forward, [(own, x) for own in ctx.runs], ctx.most)
        ctx.counts = [len(saved) for _, saved in found]
        ctx.save_for_backward(x, *(part for h, saved in found for part in (h, *saved)))
        return tuple(h for h, _ in found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor) -> Any:
        x, *rest = ctx.saved_tensors
        work = []
        for own, count, dh in zip(ctx.runs, ctx.counts, given, strict=True):
            work.append((own, x, dh, rest[: count + 1], ctx.needs_input_grad[0]))
            rest = rest[count + 1 :]
        found = run_torch_slices(_Direction.backward, work, ctx.most)
        dx = sum(parts[0] for parts in found) if ctx.needs_input_grad[0] else None
        return (dx, None, None, *(part for parts in found for part in parts[1:]))


class _Direction(NamedTuple):
    """One direction of one layer: its arithmetic, its walk, and W, b, U and a."""

    arithmetic: _Elman | _Lstm | _Gru
    walk: Walk
    weights: Sequence[Tensor]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """States (N, H), and what else the way back needs."""
        input_weight, bias, weight, inner_bias = self.weights
        sums = torch.addmm(bias, x, input_weight.t())
        return self.arithmetic.forward(sums, packed(weight.t()), inner_bias, self.walk)

    def backward(self, x: Tensor, dh: Tensor, saved: Sequence[Tensor], with_x: bool) -> list[Any]:
        """Gradients by x, W, b, U and a."""
        input_weight, _, weight, _ = self.weights
        h, *rest = saved
        dh = dh.contiguous().clone()
        errors, of_state, inner = self.arithmetic.backward(dh, packed(weight), h, rest, self.walk)
        later, earlier = (torch.from_numpy(rows) for rows in self.walk[1:])
        before = torch.zeros_like(h).index_copy_(0, later, h.index_select(0, earlier))
        dx = errors @ input_weight if with_x else None
        return [dx, errors.t() @ x, errors.sum(0), of_state.t() @ before, inner]


class _Elman:
    """W x + b + U h', then f."""

    def __init__(self, nonlinearity: str) -> None:
        self._number = np.int64(_NUMBERS[nonlinearity])

    def forward(
        self, sums: Tensor, weight: Array, _bias: Tensor, walk: Walk
    ) -> tuple[Tensor, list[Tensor]]:
        """h (N, H) in place of the sums."""
        stack_kernels.run_elman(sums.numpy(), weight, walk.table, self._number)
        return sums, []

    def backward(
        self, dh: Tensor, weight: Array, h: Tensor, _saved: list[Tensor], walk: Walk
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Errors of the sums, twice: they are those of W x + b and of U h'."""
        stack_kernels.run_elman_back(h.numpy(), dh.numpy(), weight, walk.table, self._number)
        return dh, dh, None


class _Lstm:
    """Gates in the order i, f, g, o."""

    def forward(
        self, sums: Tensor, weight: Array, _bias: Tensor, walk: Walk
    ) -> tuple[Tensor, list[Tensor]]:
        """h (N, H); saves the gates and c."""
        h = sums.new_empty(len(sums), sums.shape[1] // 4)
        c = torch.empty_like(h)
        stack_kernels.run_lstm(sums.numpy(), c.numpy(), h.numpy(), weight, walk.table)
        return h, [sums, c]

    def backward(
        self, dh: Tensor, weight: Array, h: Tensor, saved: list[Tensor], walk: Walk
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Errors of the gates' sums, twice."""
        gates, c = saved[0].clone(), saved[1]
        arrays = gates.numpy(), c.numpy(), dh.numpy(), torch.zeros_like(c).numpy()
        stack_kernels.run_lstm_back(*arrays, weight, walk.table)
        return gates, gates, None


class _Gru:
    """Gates in the order r, z, n."""

    def forward(
        self, sums: Tensor, weight: Array, bias: Tensor, walk: Walk
    ) -> tuple[Tensor, list[Tensor]]:
        """h (N, H); saves the gates and U h'."""
        h = sums.new_empty(len(sums), sums.shape[1] // 3)
        from_h = torch.empty_like(sums)
        arrays = sums.numpy(), from_h.numpy(), bias.numpy(), h.numpy()
        stack_kernels.run_gru(*arrays, weight, walk.table)
        return h, [sums, from_h]

    def backward(
        self, dh: Tensor, weight: Array, h: Tensor, saved: list[Tensor], walk: Walk
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Errors of W x + b, of U h', and of a."""
        gates, from_h = saved[0].clone(), saved[1].clone()
        arrays = gates.numpy(), from_h.numpy(), h.numpy(), dh.numpy()
        stack_kernels.run_gru_back(*arrays, weight, walk.table)
        return gates, from_h, from_h[:, 2 * h.shape[1] :].sum(0)


def _arithmetic(cell: Cell) -> _Elman | _Lstm | _Gru:
    if cell.kind == "lstm":
        return _Lstm()
    if cell.kind == "gru":
        return _Gru()
    return _Elman(cell.nonlinearity)
