"""Features of the characters of a word: a convolution with a maximum, or a recurrent net.

Words lie end to end in one array, so that no padding is computed. The convolution is one matrix
product over all windows of that array. Convolution: Ma and Hovy
2016; recurrent net: Lample et al. 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unrolled.neural.recurrent import packed
from unrolled.neural.recurrent_kernels import BLOCK
from unrolled.runtime.simd import WIDTH
from unrolled.runtime.threads import even_slices
from unrolled.runtime.torch_threads import run_torch_slices
from unrolled.tagging.data.batches import Packing, ranges
from unrolled.tagging.data.features import Letters
from unrolled.tagging.net import character_kernels
from unrolled.tagging.net.stack import Layer, largest

Array = np.ndarray[Any, Any]

_MOST_SLICES = 4
_WORDS = 64  # of a slice, at least


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
        if self.vectors.device.type != "cpu" or self.vectors.dtype != torch.float32:
            return self.run_by_torch(letters)
        columns, filters = -self.vectors.shape[1] % WIDTH, -self.width % WIDTH
        found: Tensor = _Convolution.apply(
            nn.functional.pad(self.vectors, (0, columns)),
            nn.functional.pad(self.weight, (0, filters, 0, columns)),
            nn.functional.pad(self.bias, (0, filters)),
            letters,
        )
        return found[:, : self.width]

    def run_by_torch(self, letters: Letters) -> Tensor:
        """The same by torch's operations, of any precision and on any device."""
        device = self.vectors.device
        x = self.vectors.index_select(0, torch.from_numpy(letters.flat).to(device))
        places = len(x) - 2 * self.borders
        total = self.bias.expand(places, self.width)
        for number, weight in enumerate(self.weight):
            total = torch.addmm(total, x[number : number + places], weight)
        return segment_maximum(total, letters.starts - self.borders, letters.ends - self.borders)


class _Convolution(torch.autograd.Function):
    """The convolution and its maximum, for a few slices of the words, which threads share."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        """From vectors (C, W), filters (window, W, F), biases, and letters; W and F are multiples
        of `WIDTH`."""
        vectors, weight, bias, letters = given
        flat = packed(weight.flatten(0, 1))
        words = letters.starts.size
        most: Tensor = vectors.new_empty(words, weight.shape[2])
        places = np.empty(most.shape, np.int64)
        slices = even_slices(words, min(_MOST_SLICES, max(words // _WORDS, 1)))
        out = most.numpy(), places
        run_torch_slices(_convolve, [(vectors, flat, bias, letters, part, out) for part in slices])
        ctx.save_for_backward(vectors, weight)
        ctx.places, ctx.flat, ctx.slices = places, letters.flat, slices
        return most

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Any) -> Any:
        vectors, weight = ctx.saved_tensors
        errors = given[0].contiguous()
        rows = weight.permute(2, 0, 1).flatten(0, 1).contiguous()  # (F window, W)
        work, found = [], []
        for low, high in ctx.slices:
            found.append((torch.zeros_like(vectors), torch.zeros_like(rows)))
            own = errors[low:high], vectors, rows, *found[-1]
            arrays = [part.numpy() for part in own]
            work.append((arrays[0], ctx.places[low:high], ctx.flat, *arrays[1:]))
        run_torch_slices(character_kernels.send_back, work)
        dvectors, drows = (sum(parts) for parts in zip(*found, strict=True))
        dweight = drows.unflatten(0, (weight.shape[2], -1)).permute(1, 2, 0)
        return dvectors, dweight, errors.sum(0), None


def _convolve(
    vectors: Tensor, weight: Array, bias: Tensor, letters: Letters, part: tuple[int, int], out: Any
) -> None:
    """The largest values of some words, and where their windows begin."""
    (low, high), width = part, vectors.shape[1]
    window = len(weight) // (-(-len(bias) // BLOCK) * width)
    borders = window // 2
    begin, end = letters.starts[low] - borders, letters.ends[high - 1] + borders
    x = vectors.index_select(0, torch.from_numpy(letters.flat[begin:end]))
    windows = x.as_strided((end - begin - 2 * borders, window * width), (width, 1)).contiguous()
    values = bias.repeat(len(windows), 1)
    begins, ends = (where[low:high] - (begin + borders) for where in (letters.starts, letters.ends))
    most, places = (array[low:high] for array in out)
    character_kernels.convolve(windows.numpy(), weight, values.numpy(), begins, ends, most, places)
    places += begin


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


def segment_maximum(rows: Tensor, begins: Array, ends: Array) -> Tensor:
    """(U, F) the largest values within slices of rows (M, F), none of them empty.

    >>> rows = torch.tensor([[1.0], [5.0], [9.0], [2.0]])
    >>> segment_maximum(rows, np.array([0, 3]), np.array([2, 4])).tolist()
    [[5.0], [2.0]]
    """
    lengths = ends - begins
    owner = torch.from_numpy(np.repeat(np.arange(begins.size), lengths)).to(rows.device)
    inside = torch.from_numpy(ranges(begins, lengths)).to(rows.device)
    # torch.segment_reduce gives wrong gradients where a value is the largest twice.
    return largest(rows.index_select(0, inside), owner, begins.size)
