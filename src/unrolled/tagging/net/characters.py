"""Features of the characters of a word: a convolution with a maximum, or a recurrent net.

Words lie end to end in one array, so that no padding is computed. The convolution is one matrix
product for each character of its window over shifted slices of that array; the maximum over each
word is a kernel on the CPU. Convolution: Ma and Hovy 2016; recurrent net: Lample et al. 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.runtime.kernels import kernel
from unrolled.tagging.data.batches import Packing, ranges
from unrolled.tagging.data.features import Letters
from unrolled.tagging.net.stack import Layer, largest

Array = np.ndarray[Any, Any]


class CharacterCNN(nn.Module):
    """The largest value of each filter over a word.

    Args:
        characters: how many there are. width: of their vectors. filters: F. window: characters
            that a filter sees, odd.
    """

    def __init__(self, characters: int, width: int, filters: int, window: int) -> None:
        super().__init__()
        spread = (3 / width) ** 0.5
        self.vectors = nn.Parameter(torch.empty(characters, width).uniform_(-spread, spread))
        self.weight = nn.Parameter(torch.empty(window, width, filters))
        self.bias = nn.Parameter(torch.zeros(filters))
        spread = (1 / (window * width)) ** 0.5
        nn.init.uniform_(self.weight, -spread, spread)
        self.borders = window // 2
        self.width = filters

    def forward(self, letters: Letters) -> Tensor:
        """(U, F) from the characters of U words."""
        device = self.vectors.device
        x = self.vectors.index_select(0, torch.from_numpy(letters.flat).to(device))
        places = len(x) - 2 * self.borders
        total = self.bias.expand(places, self.width)
        for number, weight in enumerate(self.weight):
            total = torch.addmm(total, x[number : number + places], weight)
        begins, ends = letters.starts - self.borders, letters.ends - self.borders
        if device.type != "cpu":
            return segment_maximum_by_torch(total, begins, ends)
        best: Tensor = _SegmentMaximum.apply(total, begins, ends)
        return best


class CharacterRNN(nn.Module):
    """The last states of an LSTM that reads a word from both sides."""

    def __init__(self, characters: int, width: int, units: int) -> None:
        super().__init__()
        spread = (3 / width) ** 0.5
        self.vectors = nn.Parameter(torch.empty(characters, width).uniform_(-spread, spread))
        self.layer = Layer("lstm", width, units, "tanh")
        self.borders = 0
        self.width = 2 * units

    def forward(self, letters: Letters) -> Tensor:
        """(U, 2 units) from the characters of U words."""
        device = self.vectors.device
        packing = Packing(letters.ends - letters.starts)
        rows = np.empty_like(letters.flat)
        rows[packing.place] = letters.flat
        x = self.vectors.index_select(0, torch.from_numpy(rows).to(device))
        y = self.layer(x, packing)
        first = torch.from_numpy(packing.place[packing.offsets[:-1]]).to(device)
        last = torch.from_numpy(packing.place[packing.offsets[1:] - 1]).to(device)
        half = self.width // 2
        return torch.cat([y[:, :half].index_select(0, last), y[:, half:].index_select(0, first)], 1)


def segment_maximum_by_torch(values: Tensor, begins: Array, ends: Array) -> Tensor:
    """The largest row values (U, F) within slices of rows (M, F), on any device."""
    lengths = ends - begins
    rows = torch.from_numpy(ranges(begins, lengths)).to(values.device)
    word = torch.from_numpy(np.repeat(np.arange(lengths.size), lengths)).to(values.device)
    return largest(values.index_select(0, rows), word, lengths.size)


class _SegmentMaximum(torch.autograd.Function):
    """The same on the CPU."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From values, begins (U,) and ends (U,)."""
        values, begins, ends = given
        rows = values.detach().cpu().float().contiguous().numpy()
        best = np.empty((begins.size, rows.shape[1]), np.float32)
        places = np.empty(best.shape, np.int64)
        segment_maximum(rows, begins, ends, best, places)
        ctx.shape = values.shape
        ctx.save_for_backward(torch.from_numpy(places).to(values.device))
        return torch.from_numpy(best).to(values)

    @staticmethod
    def backward(ctx: Any, *errors: Any) -> Any:
        (places,) = ctx.saved_tensors
        return errors[0].new_zeros(ctx.shape).scatter_(0, places, errors[0]), None, None


@kernel
def segment_maximum(rows: Array, begins: Array, ends: Array, best: Array, places: Array) -> None:
    """best[u, f] is the largest of rows[begins[u]:ends[u], f], and places where; none is empty."""
    for u in range(begins.size):
        begin = begins[u]
        for f in range(rows.shape[1]):
            best[u, f] = rows[begin, f]
            places[u, f] = begin
        for r in range(begin + 1, ends[u]):
            for f in range(rows.shape[1]):
                if rows[r, f] > best[u, f]:
                    best[u, f] = rows[r, f]
                    places[u, f] = r
