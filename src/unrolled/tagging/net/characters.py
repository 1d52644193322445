"""Features of the characters of a word: a convolution with a maximum, or a recurrent net.

Words lie end to end in one array, so that no padding is computed. The convolution is one matrix
product for each character of its window over shifted slices of that array. Convolution: Ma and Hovy
2016; recurrent net: Lample et al. 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.tagging.data.batches import Packing
from unrolled.tagging.data.features import Letters
from unrolled.tagging.net.stack import Layer

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
        return segment_maximum(total, letters.starts - self.borders, letters.ends - self.borders)


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
    # Slices of words and the gaps between them take turns.
    borders = np.append(np.stack([begins, ends], 1), len(rows))
    offsets = torch.from_numpy(borders).to(rows.device)
    result: Tensor = torch.segment_reduce(rows, "max", offsets=offsets, unsafe=True)
    return result[::2]
