"""The recurrent layers of this project's cells and nets and of torch's modules, as one `Stack`.

A stack is a list of layers, each of one cell or, if bidirectional, of two. The parameters are the
module's own, not copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.gradients.tangents import Tangent, tangent_of, zero_state
from unrolled.neural.cells import Cell, State
from unrolled.neural.net import RecurrentNet

_TORCH_KINDS: list[tuple[type[nn.RNNBase], str]] = [
    (nn.RNN, "elman"),
    (nn.LSTM, "lstm"),
    (nn.GRU, "gru"),
]


@dataclass(frozen=True)
class Stack:
    """Layers, lowest first.

    Attributes:
        layers: of each, its cell, or two: one that reads forwards and one that reads backwards.
        residual: from the second layer on, a layer's input is added to its output.
    """

    layers: tuple[tuple[Cell, ...], ...]
    residual: bool = False

    @property
    def hidden(self) -> int:
        """H."""
        return self.layers[0][0].hidden

    @property
    def names(self) -> list[str]:
        """Of each layer and direction: ``layer 1``, or ``layer 1 backwards``."""
        return [
            f"layer {number}" + (" backwards" if back else "")
            for number, cells in enumerate(self.layers, 1)
            for back in range(len(cells))
        ]

    def begin(self, batch: int) -> list[State]:
        """States of zeros, one for each layer and direction."""
        return [zero_state(cell, batch) for cells in self.layers for cell in cells]

    @torch.no_grad()
    def trace(
        self, x: Tensor, states: list[State] | None = None, lengths: Tensor | None = None
    ) -> list[tuple[Tangent, ...]]:
        """The derivatives of every layer and direction along inputs (T, B, E).

        Args:
            states: to begin from, one for each layer and direction.
            lengths: (B,) steps of each sentence; the rest is padding.
        """
        given = iter(states or self.begin(x.shape[1]))
        traced = []
        for number, cells in enumerate(self.layers):
            tangents = []
            for backwards, cell in enumerate(cells):
                seen = reversed_in_time(x, lengths) if backwards else x
                tangents.append(tangent_of(cell, seen, next(given)))
            traced.append(tuple(tangents))
            outputs = [tangents[0].states]
            outputs += [reversed_in_time(tangent.states, lengths) for tangent in tangents[1:]]
            y = torch.cat(outputs, -1)
            x = x + y if self.residual and number > 0 else y
        return traced


def reversed_in_time(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sentence of x (T, B, ...) reversed in time; padding stays at the end."""
    if lengths is None:
        return x.flip(0)
    return x.gather(0, reversed_places(x, lengths))


def reversed_places(x: Tensor, lengths: Tensor) -> Tensor:
    """Places along time that turn x (T, B, ...) around, of x's shape."""
    steps = torch.arange(len(x), device=x.device).unsqueeze(1)
    ends = lengths.to(x.device).unsqueeze(0)
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    return places.reshape(*places.shape, *[1] * (x.dim() - 2)).expand_as(x)


def stack_of(module: nn.Module) -> Stack:
    """The recurrent layers of a module.

    Args:
        module: a `Cell`, a `RecurrentNet`, or a torch.nn.RNN, LSTM or GRU.

    Raises:
        SettingError: another module, or an LSTM with projections.
    """
    if isinstance(module, Cell):
        return Stack(((module,),))
    if isinstance(module, RecurrentNet):
        cells = [cell for cell in module.layers if isinstance(cell, Cell)]
        return Stack(tuple((cell,) for cell in cells), module.config.residual)
    for kind, name in _TORCH_KINDS:
        if isinstance(module, kind):
            return _of_torch(module, name)
    raise SettingError(
        f"a {type(module).__name__} has no recurrent layers, allowed are Cell, "
        "RecurrentNet, and torch.nn.RNN, LSTM and GRU"
    )


def _of_torch(module: nn.RNNBase, kind: str) -> Stack:
    if getattr(module, "proj_size", 0):
        raise SettingError(
            f"the LSTM has projections (proj_size is {module.proj_size}), which are not supported"
        )
    nonlinearity = str(getattr(module, "nonlinearity", "tanh"))
    directions = ["", "_reverse"] if module.bidirectional else [""]
    return Stack(
        tuple(
            tuple(_cell(module, kind, nonlinearity, f"_l{number}{end}") for end in directions)
            for number in range(module.num_layers)
        )
    )


def _cell(module: nn.RNNBase, kind: str, nonlinearity: str, end: str) -> Cell:
    """A cell with the parameters of one layer and direction of a torch module."""
    weight = getattr(module, "weight_ih" + end).detach()
    state_weight = getattr(module, "weight_hh" + end).detach()
    with torch.device("meta"):  # no memory, and no random numbers are drawn
        cell = Cell(kind, weight.shape[1], state_weight.shape[1], nonlinearity=nonlinearity)
    zeros = weight.new_zeros(len(weight))
    bias = getattr(module, "bias_ih" + end).detach() if module.bias else zeros
    other = getattr(module, "bias_hh" + end).detach() if module.bias else zeros
    if kind == "gru":  # torch's second bias stays inside the reset gate for the new value only
        border = 2 * cell.hidden
        cell.state_bias = _frozen(other[border:])
        other = torch.cat([other[:border], zeros[border:]])
    cell.input_weight, cell.state_weight = _frozen(weight), _frozen(state_weight)
    cell.bias = _frozen(bias + other)
    return cell


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
