"""The derivatives of a recurrent layer in closed form, for all steps of a sequence at once.

Near the states of a sequence, a layer is a linear map at each step: from small changes of the state
before, and of the input, to the change of the state. `tangent_of` runs a cell and computes the
factors of these maps, all (B, H) a step; ``back`` multiplies errors by the transposed maps of one
step, and ``jacobians`` gives the maps as matrices.

With f' at its value, ' else the step before, and delta the error of what goes into a gate:

elman   delta = e f';                                 e' = U^T delta
lstm    e_c <- e_c + e_h o (1 - tanh^2 c)
        delta_i = e_c g i (1 - i), delta_f = e_c c' f (1 - f), delta_g = e_c i (1 - g^2),
        delta_o = e_h tanh(c) o (1 - o);              e_h' = U^T delta, e_c' = e_c f
gru     delta_n = e (1 - z) (1 - n^2), delta_z = e (h' - n) z (1 - z),
        delta_r = delta_n u r (1 - r), u = U_n h' + a; e' = e z + U^T (delta_r, delta_z, r delta_n)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from unrolled.neural.cells import Cell, State, slope_at

DEAD = 0.01  # units with slopes under this share of the largest pass almost no error
GATES = {"elman": ("state",), "irnn": ("state",), "lstm": ("input", "forget", "cell", "output"),
         "gru": ("reset", "update", "new")}  # fmt: skip


class Back(NamedTuple):
    """Errors of the gates (N, B, G H), as the recurrent weights see them, and of the input
    (N, B, E) if they were asked for."""

    gates: Tensor
    inputs: Tensor | None


class Tangent:
    """What the layers of every kind share.

    Attributes:
        cell: the layer. states: (T, B, H) outputs. before: (T, B, H) the output before each step.
        weight, input_weight: (G H, H) and (G H, E).
        parts: tensors in a state: 2 for an LSTM, else 1.
        slopes: (T, B, H) by what an error of the output is multiplied where it enters the layer.
        largest: possible slope.
        gates: values of the gates by name, (T, B, H).
        to_cell: dh/dc (T, B, H) of an LSTM: by what errors of c come from h.
    """

    parts = 1
    largest = 1.0
    slopes: Tensor
    gates: dict[str, Tensor]
    to_cell: Tensor

    def __init__(
        self, x: Tensor, states: Tensor, before: Tensor, start: State, cell: Cell, weight: Tensor
    ) -> None:
        self.cell, self.states, self.before = cell, states, before
        self.weight, self.input_weight = weight, cell.input_weight.detach()
        self.gates = {}
        self._prepare(x, start)

    def _prepare(self, x: Tensor, start: State) -> None:
        """Compute the factors of the maps of all steps."""
        raise NotImplementedError

    def back(
        self, step: int, errors: State, out: State, *, inputs: bool = False, recurrent: bool = True
    ) -> Back:
        """Propagate errors of the state at a step to the input and to the state before.

        Args:
            errors: of each part of the state, (N, B, H).
            out: where to put the errors of the state before, contiguous, apart from ``errors``.
            inputs: whether the errors of the input are wanted.
            recurrent: False leaves out the paths through recurrent weights.
        """
        raise NotImplementedError

    def jacobians(self) -> Tensor:
        """d state_t / d state_{t-1}, (T, B, S, S); S is H, or 2 H for an LSTM's (h, c).

        Row s is what `back` makes of an error of one at s.
        """
        steps, batch, hidden = self.states.shape
        size = self.parts * hidden
        eye = torch.eye(size, dtype=self.states.dtype, device=self.states.device)
        errors = tuple(
            part.unsqueeze(1).expand(size, batch, hidden).contiguous()
            for part in eye.split(hidden, 1)
        )
        found = [self.states.new_empty(steps, size, batch, hidden) for _ in range(self.parts)]
        for step in range(steps):
            self.back(step, errors, tuple(part[step] for part in found))
        return torch.cat(found, -1).transpose(1, 2)

    def gate_weights(self) -> dict[str, Tensor]:
        """The recurrent weights (H, H) of each gate, and of the new value."""
        blocks = self.weight.split(self.cell.hidden)
        return dict(zip(GATES[self.cell.kind], blocks, strict=True))

    def saturated(self) -> dict[str, float]:
        """Share of values, over units, steps, sentences, whose slope is under 1 % of the largest.

        ``state`` is the output's nonlinearity; of gates are counted those near 0 and near 1.
        """
        shares = {"state": _share(self.slopes < DEAD * self.largest)}
        for name, gate in self.gates.items():
            shares[name] = _share(gate * (1 - gate) < DEAD / 4)
        return shares

    def dead(self) -> float:
        """Share of units that are saturated, or at 0, at every step of every sentence."""
        return _share((self.slopes < DEAD * self.largest).flatten(0, 1).all(0))


class _ElmanTangent(Tangent):
    def _prepare(self, x: Tensor, start: State) -> None:
        nonlinearity = self.cell.nonlinearity
        self.slopes = slope_at(self.states, nonlinearity)
        self.largest = 0.25 if nonlinearity == "sigmoid" else 1.0

    def back(
        self, step: int, errors: State, out: State, *, inputs: bool = False, recurrent: bool = True
    ) -> Back:
        delta = errors[0] * self.slopes[step]
        found = delta @ self.input_weight if inputs else None
        _through(delta, self.weight, out[0], recurrent)
        return Back(delta, found)


class _LstmTangent(Tangent):
    parts = 2

    def _prepare(self, x: Tensor, start: State) -> None:
        total = nn.functional.linear(x, self.input_weight, self.cell.bias)
        total = total + nn.functional.linear(self.before, self.weight)
        enter, forget, new, out = total.chunk(4, -1)
        enter, forget, new, out = enter.sigmoid(), forget.sigmoid(), new.tanh(), out.sigmoid()
        cells = torch.empty_like(out)
        last = start[1]
        for t in range(len(cells)):
            last = torch.addcmul(enter[t] * new[t], forget[t], last, out=cells[t])
        cells_before = torch.cat([start[1].unsqueeze(0), cells[:-1]])
        squashed = cells.tanh()
        self.gates = {"input": enter, "forget": forget, "output": out}
        self.forget = forget
        self.slopes = 1 - squashed**2
        self.to_cell = out * self.slopes
        self.of_cell = torch.stack([
            new * enter * (1 - enter), cells_before * forget * (1 - forget), enter * (1 - new**2)
        ], -2)  # (T, B, 3, H)  # fmt: skip
        self.of_output = squashed * out * (1 - out)

    def back(
        self, step: int, errors: State, out: State, *, inputs: bool = False, recurrent: bool = True
    ) -> Back:
        of_h, of_c = errors
        of_c = torch.addcmul(of_c, of_h, self.to_cell[step])
        delta = of_h.new_empty(*of_h.shape[:-1], 4, of_h.shape[-1])
        torch.mul(of_c.unsqueeze(-2), self.of_cell[step], out=delta[..., :3, :])
        torch.mul(of_h, self.of_output[step], out=delta[..., 3, :])
        delta = delta.flatten(-2)
        found = delta @ self.input_weight if inputs else None
        _through(delta, self.weight, out[0], recurrent)
        torch.mul(of_c, self.forget[step], out=out[1])
        return Back(delta, found)


class _GruTangent(Tangent):
    def _prepare(self, x: Tensor, start: State) -> None:
        assert self.cell.state_bias is not None
        from_x = nn.functional.linear(x, self.input_weight, self.cell.bias).chunk(3, -1)
        from_h = nn.functional.linear(self.before, self.weight).chunk(3, -1)
        reset = (from_x[0] + from_h[0]).sigmoid()
        update = (from_x[1] + from_h[1]).sigmoid()
        inner = from_h[2] + self.cell.state_bias
        new = (from_x[2] + reset * inner).tanh()
        self.gates = {"reset": reset, "update": update}
        self.update = update
        self.slopes = 1 - new**2
        into_new = (1 - update) * self.slopes
        into_update = (self.before - new) * update * (1 - update)
        into_reset = into_new * inner * reset * (1 - reset)
        # The reset gate scales the state, not the input, in the new value.
        self.of_state = torch.stack([into_reset, into_update, into_new * reset], -2)
        self.of_input = torch.stack([into_reset, into_update, into_new], -2)  # (T, B, 3, H)

    def back(
        self, step: int, errors: State, out: State, *, inputs: bool = False, recurrent: bool = True
    ) -> Back:
        wide = errors[0].unsqueeze(-2)
        delta = (wide * self.of_state[step]).flatten(-2)
        found = None
        if inputs:
            found = (wide * self.of_input[step]).flatten(-2) @ self.input_weight
        _through(delta, self.weight, out[0], recurrent)
        out[0].addcmul_(errors[0], self.update[step])
        return Back(delta, found)


_KINDS: dict[str, type[Tangent]] = {
    "elman": _ElmanTangent, "irnn": _ElmanTangent, "lstm": _LstmTangent, "gru": _GruTangent,
}  # fmt: skip


@torch.no_grad()
def tangent_of(
    cell: Cell,
    x: Tensor,
    start: State | None = None,
    *,
    states: Tensor | None = None,
    state_weight: Tensor | None = None,
) -> Tangent:
    """The derivatives of a cell along inputs (T, B, E).

    Args:
        start: the state before; zeros by default.
        states: (T, B, H) the outputs, where they are known; else the cell is run.
        state_weight: recurrent weights other than the cell's own, as its ``run_fused`` takes them.
    """
    start = zero_state(cell, x.shape[1]) if start is None else start
    weight = cell.state_weight if state_weight is None else state_weight
    if states is None:
        states, _ = cell.run_fused(x, start, state_weight=weight)
    before = torch.cat([start[0].unsqueeze(0), states[:-1]])
    return _KINDS[cell.kind](x, states, before, start, cell, weight.detach())


def zero_state(cell: Cell, batch: int) -> State:
    """A state of zeros, each part (B, H)."""
    return tuple(cell.state_weight.new_zeros(batch, cell.hidden) for _ in range(cell.states))


def _through(delta: Tensor, weight: Tensor, out: Tensor, recurrent: bool) -> None:
    """Errors of the gates (N, B, G H) multiplied by the recurrent weights, or zeros."""
    if recurrent:
        torch.mm(delta.flatten(0, 1), weight, out=out.view(-1, out.shape[-1]))
    else:
        out.zero_()


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
