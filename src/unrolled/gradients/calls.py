"""The input and output of a call of a recurrent module, in one shape: (T, B, E).

torch's modules take their input time first, batch first, unbatched, or packed, and return their
output likewise. A `Call` converts all of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from unrolled.errors import SettingError
from unrolled.gradients.adjoint import Entering
from unrolled.gradients.stacks import Stack
from unrolled.gradients.tangents import Tangent, tangent_of
from unrolled.neural.cells import Cell, State
from unrolled.neural.net import RecurrentNet


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        x: (T, B, E) the input; packed sequences in the order in which they were packed.
        states: of each layer and direction the state that it began from; None for zeros.
        lengths: (B,) of packed sequences, else None.
        batch_first, batched: how input and output are laid out.
        order: (B,) packed sequences as the caller numbers them, or None for as they are.
        state_weight: of a `Cell` that was called with recurrent weights other than its own.
        directions: 2 where the module is bidirectional.
    """

    x: Tensor
    states: list[State] | None
    lengths: Tensor | None = None
    batch_first: bool = False
    batched: bool = True
    order: Tensor | None = None
    state_weight: Tensor | None = None
    directions: int = 1

    def some(self, sentences: slice) -> Call:
        """Some sentences of it, for `trace`."""
        states = self.states
        if states is not None:
            states = [tuple(part[sentences] for part in parts) for parts in states]
        lengths = None if self.lengths is None else self.lengths[sentences]
        return Call(
            self.x[:, sentences], states, lengths, state_weight=self.state_weight,
            directions=self.directions,
        )  # fmt: skip

    def trace(self, stack: Stack) -> list[tuple[Tangent, ...]]:
        """The derivatives of every layer and direction of the module along this call."""
        if self.state_weight is None or self.states is None:
            return stack.trace(self.x, self.states, self.lengths)
        (cell,) = stack.layers[0]
        return [(tangent_of(cell, self.x, self.states[0], state_weight=self.state_weight),)]

    def entering(
        self, outputs: Tensor | None, last: list[tuple[Tensor | None, ...]] | None = None
    ) -> Entering:
        """Errors of the outputs, in the module's own layout, and of the last states.

        Args:
            outputs: of packed sequences their data. None for no errors; then ``last`` has some.
            last: of each layer and direction, each (B, H).
        """
        found = last or []
        if outputs is not None and self.lengths is not None:
            outputs = _unpacked(outputs, self.lengths)
        elif outputs is not None:
            outputs = self._time_first(outputs)
        else:
            known = next(part for parts in found for part in parts if part is not None)
            width = self.directions * known.shape[-1]
            outputs = known.new_zeros(*self.x.shape[:2], width)
        return Entering(outputs.to(self.x.dtype), found, self.lengths, self.directions)

    def _time_first(self, y: Tensor) -> Tensor:
        if not self.batched:
            return y.unsqueeze(1)
        return y.transpose(0, 1) if self.batch_first else y

    def last_parts(self, tensor: Tensor) -> Tensor:
        """Last states (L D, B, H) as a module returns them, in the order of ``x``."""
        found = tensor if self.batched else tensor.unsqueeze(1)
        return found if self.order is None else found.index_select(1, self.order)


def call_of(module: nn.Module, arguments: tuple[Any, ...], options: Any = None) -> Call:
    """The call of a module with these arguments.

    Args:
        module: torch.nn.RNN, LSTM or GRU, or a `Cell`.
        options: keyword arguments.
    """
    given = dict(options or {})
    dtype = next(module.parameters()).dtype  # inputs may have another one, under autocast
    x: Any = arguments[0] if arguments else given.get("input", given.get("x"))
    state: Any = arguments[1] if len(arguments) > 1 else given.get("hx", given.get("state"))
    if isinstance(module, Cell):
        own: State = tuple(part.detach().to(dtype) for part in state)
        weight = given.get("state_weight")
        weight = None if weight is None else weight.detach()
        return Call(x.detach().to(dtype), [own], state_weight=weight)
    assert isinstance(module, nn.RNNBase)
    directions = 2 if module.bidirectional else 1
    if isinstance(x, PackedSequence):
        data = x.data.detach().to(dtype)
        padded, lengths = pad_packed_sequence(PackedSequence(data, x.batch_sizes))
        states = _states(state, batched=True, order=x.sorted_indices)
        return Call(padded, states, lengths, order=x.sorted_indices, directions=directions)
    x = x.detach().to(dtype)
    batched = x.dim() == 3
    states = _states(state, batched=batched, order=None)
    turned = x.unsqueeze(1) if not batched else x.transpose(0, 1) if module.batch_first else x
    return Call(turned, states, None, module.batch_first, batched, directions=directions)


def _states(state: Any, *, batched: bool, order: Tensor | None) -> list[State] | None:
    """States (L D, B, H) given to a torch module, by layer and direction."""
    if state is None:
        return None
    parts = [part.detach() for part in (state if isinstance(state, tuple) else (state,))]
    if not batched:
        parts = [part.unsqueeze(1) for part in parts]
    if order is not None:
        parts = [part.index_select(1, order) for part in parts]
    return list(zip(*parts, strict=True))


def _unpacked(data: Tensor, lengths: Tensor) -> Tensor:
    """(T, B, H) from the data of packed sequences, longest first; zeros beyond their ends."""
    steps = torch.arange(int(lengths.max())).unsqueeze(1)
    filled = (steps < lengths).to(data.device)
    found = data.new_zeros(*filled.shape, data.shape[-1])
    found[filled] = data
    return found


def leaf_of(output: Any) -> tuple[Tensor, Any]:
    """A leaf with the values of an output, and the output made of it, for a loss's gradient."""
    if isinstance(output, PackedSequence):
        leaf = output.data.detach().requires_grad_()
        packed = PackedSequence(
            leaf, output.batch_sizes, output.sorted_indices, output.unsorted_indices
        )
        return leaf, packed
    leaf = output.detach().requires_grad_()
    return leaf, leaf


def gradient_of(loss: Tensor, y: Tensor) -> Tensor:
    """dE/dy.

    Raises:
        SettingError: the loss is no scalar, or does not depend on y.
    """
    if loss.numel() != 1:
        raise SettingError(f"the loss has {loss.numel()} numbers, one is needed")
    if not loss.requires_grad:
        raise SettingError("the loss does not depend on the outputs")
    (found,) = torch.autograd.grad(loss, y, allow_unused=True)
    if found is None:
        raise SettingError("the loss does not depend on the outputs")
    return found


@contextmanager
def recorded_cells(
    net: RecurrentNet, calls: list[tuple[Cell, Tensor, State, Tensor]]
) -> Iterator[None]:
    """Record every cell's input, first state and output (T, B, H); the last output is a leaf."""
    last = len(net.layers) - 1
    handles = []

    def record(number: int) -> Any:
        def hook(cell: Cell, arguments: Any, output: Any) -> Any:
            x, start = arguments[:2]
            y = output[0].detach()
            if number == last:
                y.requires_grad_()
            calls.append((cell, x.detach(), tuple(part.detach() for part in start), y))
            return y, output[1]

        return hook

    for number, cell in enumerate(net.layers):
        handles.append(cell.register_forward_hook(record(number)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
