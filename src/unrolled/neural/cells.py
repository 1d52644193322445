"""Recurrent cells, each run two ways on the same parameters.

``run_fused`` takes all time steps at once, by kernels of its own or by torch's: that is for speed.
``step`` computes one time step: that is for gradients by lag, Jacobians, stepping
through text, and for training by plain backpropagation. A test holds the two equal.

Equations (x input, h state, ' of the step before; all gates have a bias each):

elman   h = f(W x + U h' + b), f one of tanh, sigmoid, ReLU, or linear: none (Elman 1990)
irnn    the same with ReLU, U starting as the identity and b as 0 (Le, Jaitly, Hinton 2015)
lstm    i, f, o = sigmoid(.), g = tanh(.), c = f c' + i g, h = o tanh(c) (Hochreiter, Schmidhuber
        1997; forget gate Gers et al. 2000)
gru     r, z = sigmoid(.), n = tanh(W x + b + r (U h' + a)), h = (1 - z) n + z h' (Cho et al. 2014)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.errors import SettingError
from unrolled.neural import recurrent
from unrolled.neural.config import CELLS, NONLINEARITIES
from unrolled.neural.recurrent import Limits, RecurrentRun, TorchRun, draw_dropout

GATES = {"elman": 1, "irnn": 1, "lstm": 4, "gru": 3}

# Weights are stored by role, not in one block; copying them together costs little.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")

NO_LIMITS = Limits()
State = tuple[Tensor, ...]  # (h,) or, of an LSTM, (h, c), each (B, H)


class Cell(nn.Module):
    """One recurrent layer.

    Args:
        kind: elman, irnn, lstm or gru.
        inputs: E, width of the input.
        hidden: H, width of the state.
        nonlinearity: of an Elman cell: tanh, sigmoid, relu or linear.
        forget_bias: what the bias of an LSTM's forget gate starts at; 1 keeps the state at first
            (Jozefowicz et al. 2015).

    Raises:
        SettingError: an unknown cell or nonlinearity.
    """

    def __init__(
        self,
        kind: str,
        inputs: int,
        hidden: int,
        *,
        nonlinearity: str = "tanh",
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__()
        if kind not in CELLS:
            raise SettingError(f"the cell '{kind}' is unknown, allowed are {', '.join(CELLS)}")
        if nonlinearity not in NONLINEARITIES:
            allowed = ", ".join(NONLINEARITIES)
            raise SettingError(f"nonlinearity '{nonlinearity}' is unknown, allowed are {allowed}")
        self.kind = kind
        self.hidden = hidden
        self.nonlinearity = "relu" if kind == "irnn" else nonlinearity
        gates = GATES[kind]
        self.input_weight = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.state_weight = nn.Parameter(torch.empty(gates * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(gates * hidden))
        # Only a GRU needs a second bias, inside its reset gate.
        self.state_bias = nn.Parameter(torch.zeros(hidden)) if kind == "gru" else None
        self._initialise(forget_bias)

    @torch.no_grad()
    def _initialise(self, forget_bias: float) -> None:
        """Uniform in +-1/sqrt(H), as torch's own cells start; the identity for an IRNN."""
        spread = 1 / math.sqrt(self.hidden)
        nn.init.uniform_(self.input_weight, -spread, spread)
        nn.init.uniform_(self.state_weight, -spread, spread)
        if self.kind == "irnn":
            nn.init.eye_(self.state_weight)
            nn.init.normal_(self.input_weight, std=min(0.1, spread))
        if self.kind == "lstm":
            self.bias[self.hidden : 2 * self.hidden] = forget_bias

    @property
    def states(self) -> int:
        """Tensors in a state: 2 for an LSTM, else 1."""
        return 2 if self.kind == "lstm" else 1

    def step(
        self,
        x: Tensor,
        state: State,
        *,
        state_weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> State:
        """The next state (B, H) from inputs (B, E) and the state before.

        Args:
            mask: what an LSTM's updates i g (B, H) are multiplied by; None for nothing.
        """
        weight = self.state_weight if state_weight is None else state_weight
        h = state[0]
        from_x = nn.functional.linear(x, self.input_weight, self.bias)
        if self.state_bias is not None:
            from_h = nn.functional.linear(h, weight)
            reset_x, update_x, new_x = from_x.chunk(3, -1)
            reset_h, update_h, new_h = from_h.chunk(3, -1)
            reset = torch.sigmoid(reset_x + reset_h)
            update = torch.sigmoid(update_x + update_h)
            new = torch.tanh(new_x + reset * (new_h + self.state_bias))
            return (new + update * (h - new),)
        total = from_x + nn.functional.linear(h, weight)
        if self.kind == "lstm":
            enter, forget, new, out = total.chunk(4, -1)
            update = torch.sigmoid(enter) * torch.tanh(new)
            update = update if mask is None else update * mask
            c = torch.sigmoid(forget) * state[1] + update
            return torch.sigmoid(out) * torch.tanh(c), c
        return (activate(total, self.nonlinearity),)

    def forward(
        self,
        x: Tensor,
        state: State,
        *,
        state_weight: Tensor | None = None,
        depth: int | None = None,
    ) -> tuple[Tensor, State]:
        """`run_local` where depth is 1, else `run_fused`; torch's hooks see this one."""
        run = self.run_local if depth == 1 else self.run_fused
        return run(x, state, state_weight=state_weight)

    def run_unrolled(
        self,
        x: Tensor,
        state: State,
        *,
        state_weight: Tensor | None = None,
        limits: Limits = NO_LIMITS,
        dropout_updates: float = 0.0,
    ) -> tuple[Tensor, State]:
        """States (T, B, H) of every step of inputs (T, B, E), and the last state.

        Args:
            limits: of errors on their way back through time.
            dropout_updates: share of an LSTM's updates dropped, others at each step, rounded to
                256ths: c = f c' + d(i g), recurrent dropout without loss of memory (Semeniuta,
                Severyn, Barth 2016). What is left is larger by as much, so that nothing is to be
                scaled where nothing is dropped.

        Raises:
            SettingError: such a share that is not allowed, or not of an LSTM.
        """
        share = self.dropout_share(dropout_updates)
        masks: Sequence[Tensor | None] = [None] * len(x)
        if share:
            drawn = torch.empty(len(x) * x.shape[1], self.hidden)
            draw_dropout(drawn, share)
            masks = drawn.to(x).split(x.shape[1])
        outputs = []
        for t, row in enumerate(x):
            if limits.truncation and (len(x) - t) % limits.truncation == 0:
                state = tuple(part.detach() for part in state)
            h, *cell = self.step(row, state, state_weight=state_weight, mask=masks[t])
            if limits.size or limits.norm:
                h = _Bound.apply(h, limits)
            state = (h, *cell)
            outputs.append(h)
        return torch.stack(outputs), state

    def run_fused(
        self,
        x: Tensor,
        state: State,
        *,
        state_weight: Tensor | None = None,
        limits: Limits = NO_LIMITS,
        dropout_updates: float = 0.0,
    ) -> tuple[Tensor, State]:
        """The same values and gradients as `run_unrolled`, faster.

        Args:
            limits, dropout_updates: as there; where they are set but no kernel takes this layer
                (not in single precision, not on a CPU, fewer than 4 texts, gates of few steps or
                many weights), a step is taken at a time.

        Raises:
            SettingError: as there.
        """
        share = self.dropout_share(dropout_updates)
        weight = self.state_weight if state_weight is None else state_weight
        kind = self.kind if self.kind in ("lstm", "gru") else self.nonlinearity
        if recurrent.suits(kind, x, state[0]):
            weights = (self.input_weight, weight, self.bias, self.state_bias)
            start = state if self.states == 2 else (*state, None)
            y, *last = RecurrentRun.apply(kind, limits, share, x, *weights, *start)
            return y, tuple(last)
        if limits != NO_LIMITS or share:
            return self.run_unrolled(
                x, state, state_weight=weight, limits=limits, dropout_updates=share
            )
        return self._run_by_torch(x, state, weight)

    def dropout_share(self, dropout_updates: float) -> float:
        """The share of updates that is dropped indeed, in 256ths; 0 for none.

        Raises:
            SettingError: it is not allowed, or not of an LSTM.
        """
        if not 0 <= dropout_updates < 1:
            raise SettingError(f"dropout_updates is {dropout_updates}, allowed is 0 to below 1")
        if dropout_updates and self.kind != "lstm":
            raise SettingError(f"only an LSTM's updates can be dropped, this cell is '{self.kind}'")
        return min(round(256 * dropout_updates), 255) / 256

    def _run_by_torch(self, x: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        """`run_fused` in any precision and on any device."""
        if self.kind in ("lstm", "gru"):
            return self._run_gates_by_torch(x, state, weight)
        from_x = nn.functional.linear(x, self.input_weight, self.bias)
        # The products' precision may be lower than the weights'.
        lower = (part.to(from_x.dtype) for part in (state[0], weight))
        y = _ElmanRun.apply(from_x, *lower, self.nonlinearity)
        return y, (y[-1],)

    def second_bias(self) -> Tensor:
        """What torch's kernels add to the products of the states, (G H,): of a GRU its second bias
        to the last gate's, else nothing."""
        second = torch.zeros_like(self.bias)
        if self.state_bias is None:
            return second
        return torch.cat([second[: 2 * self.hidden], self.state_bias])

    def _run_gates_by_torch(self, x: Tensor, state: State, weight: Tensor) -> tuple[Tensor, State]:
        on_cpu = x.device.type == "cpu"
        lower = on_cpu and torch.is_autocast_enabled("cpu")
        if self.kind == "lstm" and lower:  # few CPUs have a kernel
            return self.run_unrolled(x, state, state_weight=weight)
        function: Any = _lstm_by_torch if self.kind == "lstm" else _gru_by_torch
        given = (x, *state, self.input_weight, weight, self.bias, self.second_bias())
        if on_cpu and not lower:
            recorded = torch.is_grad_enabled()
            y, *last = TorchRun.apply(function, 1 + len(state), recorded, *given)
        else:
            y, *last = function(*given)
        return y, tuple(last)

    def run_local(
        self, x: Tensor, state: State, *, state_weight: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """The same values, but gradients flow to the inputs of their own step and no further back.

        This is plain backpropagation, BPTT of length 1: the states are computed first, without
        gradients, and then every step once more from its state before, all at once.
        """
        with torch.no_grad():
            before = [torch.stack(parts) for parts in zip(*self._states(x, state), strict=True)]
        flat = tuple(part.flatten(0, 1) for part in before)
        after = self.step(x.flatten(0, 1), flat, state_weight=state_weight)
        shaped = [part.view(*x.shape[:2], -1) for part in after]
        return shaped[0], tuple(part[-1] for part in shaped)

    def _states(self, x: Tensor, state: State) -> list[State]:
        """The state before each step."""
        if self.states == 1:
            y, _ = self.run_fused(x, state)
            return [state, *((row,) for row in y[:-1])]
        states = [state]
        for row in x[:-1]:
            states.append(self.step(row, states[-1]))
        return states


def _lstm_by_torch(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """States (T, B, H), and the last h and c (B, H)."""
    start = [h.unsqueeze(0), c.unsqueeze(0)]
    recorded = torch.is_grad_enabled()
    y, h, c = torch.lstm(x, start, list(weights), True, 1, 0.0, recorded, False, False)
    return y, h[0], c[0]


def _gru_by_torch(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """States (T, B, H), and the last one (B, H)."""
    recorded = torch.is_grad_enabled()
    y, h = torch.gru(x, h.unsqueeze(0), list(weights), True, 1, 0.0, recorded, False, False)
    return y, h[0]


class _ElmanRun(torch.autograd.Function):
    """h_t = f(x_t + U h_{t-1}) for all t, with one backward pass that accumulates all errors.

    Only the chain of errors dE/dh_t needs a step at a time; all steps' shares of dE/dU are one
    matrix product at the end. torch's own net makes a small product for each step instead, and
    takes twice as long.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From x (T, B, H), with W x + b in it already, h_0 (B, H), U (H, H) and the name of f."""
        x, start, weight, nonlinearity = given
        y = torch.empty_like(x)
        h, transposed = start, weight.t()
        for t in range(len(x)):
            torch.addmm(x[t], h, transposed, out=y[t])
            h = y[t] if nonlinearity == "linear" else getattr(y[t], nonlinearity + "_")()
        ctx.save_for_backward(y, start, weight)
        ctx.nonlinearity = nonlinearity
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Any) -> Any:
        y, start, weight = ctx.saved_tensors
        dy = given[0]
        slope = slope_at(y, ctx.nonlinearity)
        errors = torch.empty_like(y)
        total = dy[-1]
        for t in reversed(range(len(y))):
            torch.mul(total, slope[t], out=errors[t])
            before = dy[t - 1] if t > 0 else torch.zeros_like(dy[0])
            total = torch.addmm(before, errors[t], weight)
        states = torch.cat([start.unsqueeze(0), y[:-1]])
        dweight = errors.flatten(0, 1).t() @ states.flatten(0, 1)
        return errors, total, dweight, None


class _Bound(torch.autograd.Function):
    """A state as it is, whose errors are clipped on their way back."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From a state (B, H) and the limits."""
        h, ctx.limits = given
        return h.view_as(h)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Any) -> Any:
        errors, limits = given[0], ctx.limits
        if limits.size:
            errors = errors.clamp(-limits.size, limits.size)
        if limits.norm:
            norms = errors.norm(dim=1, keepdim=True)
            errors = torch.where(norms > limits.norm, errors * (limits.norm / norms), errors)
        return errors, None


def activate(x: Tensor, nonlinearity: str) -> Tensor:
    """f(x)."""
    if nonlinearity == "linear":
        return x
    result: Tensor = getattr(torch, nonlinearity)(x)
    return result


def slope_at(y: Tensor, nonlinearity: str) -> Tensor:
    """f' by f's value: 1 - y^2, y (1 - y), whether y > 0, or 1."""
    if nonlinearity == "tanh":
        return 1 - y * y
    if nonlinearity == "sigmoid":
        return y * (1 - y)
    if nonlinearity == "linear":
        return torch.ones_like(y)
    return (y > 0).to(y.dtype)
