"""One backward pass that keeps the errors of all time steps apart.

Ordinary backpropagation sums the errors of all steps. Here those of S steps, the sources, are
propagated as a batch, so that dE_t/dh_s is known at every step s for each t. That is S times the
work of an ordinary pass over the states, in matrix products S times as large.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.gradients.stacks import Stack, reversed_places
from unrolled.gradients.tangents import Tangent

# Most numbers in the errors that wait for the layer below.
_ROOM = 1 << 25


@dataclass(frozen=True)
class Entering:
    """The errors that enter a stack, by step.

    Attributes:
        outputs: (T, B, D H) at the outputs of the last layer, D directions concatenated.
        last: of each layer and direction dE/d(its last state), in as many parts as the state has,
            None for those unused; empty if all are.
        lengths: (B,) steps of each sentence, None where all have T.
        directions: D.
    """

    outputs: Tensor
    last: list[tuple[Tensor | None, ...]] = field(default_factory=list)
    lengths: Tensor | None = None
    directions: int = 1

    def some(self, sentences: slice) -> Entering:
        """Of some sentences only."""
        last = [
            tuple(None if part is None else part[sentences] for part in parts)
            for parts in self.last
        ]
        lengths = None if self.lengths is None else self.lengths[sentences]
        return Entering(self.outputs[:, sentences], last, lengths, self.directions)

    def mask(self) -> Tensor:
        """(T, B) whether an error enters at a step.

        That of a last state enters at the last step or, where the layer reads backwards, the first.
        """
        largest = torch.linalg.vector_norm(self.outputs, torch.inf, dim=-1)
        entered: Tensor = largest != 0  # also where it is NaN
        sentences = torch.arange(entered.shape[1], device=entered.device)
        for number, parts in enumerate(self.last):
            for part in parts:
                if part is not None:
                    entered[self.ends(number), sentences] |= (part != 0).any(-1)
        return entered

    def full_lengths(self) -> Tensor:
        """(B,) steps of each sentence."""
        if self.lengths is not None:
            return self.lengths.to(self.outputs.device)
        steps, batch = self.outputs.shape[:2]
        return torch.full((batch,), steps, device=self.outputs.device)

    def ends(self, number: int) -> Tensor:
        """(B,) the step at which a layer's direction reaches its last state."""
        lengths = self.full_lengths()
        return torch.zeros_like(lengths) if self.backwards(number) else lengths - 1

    def backwards(self, number: int) -> bool:
        """Whether a layer's direction of this number reads backwards."""
        return self.directions == 2 and number % 2 == 1


@dataclass(frozen=True)
class StepErrors:
    """The errors of all sources at one step of one layer and direction.

    Attributes:
        number: of the layer and direction, as in `Stack.names`. step: s, of the layer's own time.
        first: the errors are those of the sources from this one on; earlier ones have none here.
        errors: dE_t/d(state at s), each part (S - first, B, H).
        gates: errors of the gates (S - first, B, G H).
    """

    number: int
    step: int
    first: int
    errors: tuple[Tensor, ...]
    gates: Tensor
    tangent: Tangent


@torch.no_grad()
def carry_back(
    stack: Stack,
    traced: list[tuple[Tangent, ...]],
    entering: Entering,
    sources: Tensor,
    visit: Callable[[StepErrors], None],
    *,
    recurrent: bool = True,
) -> None:
    """Propagate the errors of the source steps back through all layers, and visit every step.

    Args:
        traced: from `Stack.trace`.
        sources: (S,) steps, ascending, whose errors are propagated.
        visit: called at each step of each layer, the last layer and the last step first.
        recurrent: False leaves out the paths through recurrent weights: the errors pass through the
            cell state of an LSTM or the update gate of a GRU only.
    """
    one_way = all(len(cells) == 1 for cells in stack.layers)
    number = sum(len(cells) for cells in stack.layers)
    above: Tensor | None = None  # (S, T, B, D H) errors from the layer above
    direct: Tensor | None = entering.outputs  # (T, B, D H), at sources only
    for layer in reversed(range(len(stack.layers))):
        number -= len(stack.layers[layer])
        below: Tensor | None = None
        for direction, tangent in enumerate(traced[layer]):
            run = _Direction(number + direction, tangent, entering, sources, one_way)
            run.take(above, direct, direction)
            found = run.back(visit, wanted=layer > 0, recurrent=recurrent)
            if found is not None:
                found = run.in_order(found)
                below = found if below is None else below.add_(found)
        if stack.residual and layer > 0 and below is not None:
            below = below if above is None else below.add_(above)
        else:
            direct = None
        above = below


class _Direction:
    """One direction of one layer, in its own time order."""

    def __init__(
        self, number: int, tangent: Tangent, entering: Entering, sources: Tensor, one_way: bool
    ) -> None:
        self.number, self.tangent, self.entering = number, tangent, entering
        self.sources, self.one_way = sources, one_way
        self.turn = entering.backwards(number)
        self.above: Tensor | None = None
        self.direct: Tensor | None = None
        self.last = entering.last[number] if entering.last else ()
        # Step of this direction's time -> the sentences that end there.
        self.ending: dict[int, list[int]] = {}
        if any(part is not None for part in self.last):
            for sentence, length in enumerate(entering.full_lengths().tolist()):
                self.ending.setdefault(length - 1, []).append(sentence)

    def take(self, above: Tensor | None, direct: Tensor | None, direction: int) -> None:
        """The errors from above, (S, T, B, D H) and (T, B, D H), of which this direction has H."""
        hidden = self.tangent.states.shape[-1]
        some = slice(direction * hidden, (direction + 1) * hidden)
        self.above = None if above is None else above[..., some]
        self.direct = None if direct is None else direct[..., some]
        if self.turn:
            self.above = None if self.above is None else self.in_order(self.above)
            if self.direct is not None:  # a source's place differs from sentence to sentence
                wide = self._spread(self.direct)
                self.above = wide if self.above is None else self.above + wide
                self.direct = None

    def _spread(self, direct: Tensor) -> Tensor:
        """Errors at sources as (S, T, B, H), each at its own step, reversed in time."""
        wide = direct.new_zeros(len(self.sources), *direct.shape)
        wide[torch.arange(len(self.sources)), self.sources] = direct[self.sources]
        return self.in_order(wide)

    def in_order(self, x: Tensor) -> Tensor:
        """(S, T, B, H) from the text's time order to this direction's, or back."""
        if not self.turn:
            return x
        lengths = self.entering.lengths
        if lengths is None:
            return x.flip(1)
        places = reversed_places(x[0], lengths)
        return x.gather(1, places.unsqueeze(0).expand_as(x))

    def back(
        self, visit: Callable[[StepErrors], None], *, wanted: bool, recurrent: bool
    ) -> Tensor | None:
        """All steps from the last to the first; the errors of the input if wanted."""
        tangent, count = self.tangent, len(self.sources)
        steps, batch, hidden = tangent.states.shape
        # Errors at a step and of the state before it; sources at later steps are zeros in both.
        errors, others = (
            tuple(tangent.states.new_zeros(count, batch, hidden) for _ in range(tangent.parts))
            for _ in range(2)
        )
        inputs = None
        if wanted:
            inputs = errors[0].new_zeros(count, steps, batch, tangent.input_weight.shape[1])
        places = self.sources.tolist()
        for step in reversed(range(steps)):
            first = 0
            if self.one_way:  # earlier sources have no errors yet
                first = bisect_left(places, step)
                if first == count:
                    continue
            here = tuple(part[first:] for part in errors)
            self._enter(step, first, here, places)
            there = tuple(part[first:] for part in others)
            # Before the first step there is no state.
            onward = recurrent and step > 0
            found = tangent.back(step, here, there, inputs=wanted, recurrent=onward)
            visit(StepErrors(self.number, step, first, here, found.gates, tangent))
            if inputs is not None and found.inputs is not None:
                inputs[first:, step] = found.inputs
            errors, others = others, errors
        return inputs

    def _enter(self, step: int, first: int, here: tuple[Tensor, ...], places: list[int]) -> None:
        """Add the errors that enter at a step."""
        if self.above is not None:
            here[0].add_(self.above[first:, step])
        if self.direct is not None and step in places:
            here[0][places.index(step) - first].add_(self.direct[step])
        for sentence in self.ending.get(step, ()):
            place = 0 if self.turn else step
            if place in places:
                row = places.index(place) - first
                for part, given in zip(here, self.last, strict=True):
                    if given is not None:
                        part[row, sentence] += given[sentence]


def chunks(stack: Stack, entering: Entering) -> Iterator[slice]:
    """Slices of sentences, small enough that the errors between layers fit in memory."""
    steps, batch, width = entering.outputs.shape
    deep = len(stack.layers) > 1 or len(stack.layers[0]) > 1
    size = steps * steps * width if deep else steps * width
    count = max(_ROOM // max(size, 1), 1)
    for start in range(0, batch, count):
        yield slice(start, min(start + count, batch))
