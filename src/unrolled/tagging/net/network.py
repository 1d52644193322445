"""The net of a tagger: features of each word, a deep stack, and an output layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.tagging.config import TaggerConfig
from unrolled.tagging.data.batches import Packing
from unrolled.tagging.data.features import SHAPES, Letters
from unrolled.tagging.net.characters import CharacterCNN, CharacterRNN
from unrolled.tagging.net.crf import LinearChainCRF
from unrolled.tagging.net.stack import DeepStack, drop, largest

Array = np.ndarray[Any, Any]


class TaggerNet(nn.Module):
    """From word vectors and other features of words to the scores of tags.

    Word vectors are no part of it: they are a table beside it, of which a batch needs few rows.

    Args:
        config: what it is made of, with E the width of the vectors.
        characters: how many characters there are. columns: values of each further column.
        tags: K. allowed: which tag may follow which, see `LinearChainCRF`.
    """

    def __init__(
        self,
        config: TaggerConfig,
        *,
        characters: int,
        columns: list[int],
        tags: int,
        allowed: Array | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.embedding
        self.characters: CharacterCNN | CharacterRNN | None = None
        if config.characters == "cnn":
            self.characters = CharacterCNN(
                characters, config.character_dim, config.character_units, config.character_window
            )
        elif config.characters == "rnn":
            self.characters = CharacterRNN(characters, config.character_dim, config.character_units)
        if self.characters is not None:
            width += self.characters.width
        self.shapes = _table(SHAPES, config.casing_dim) if config.casing_dim else None
        self.token_width = width + config.casing_dim
        read = [] if config.column_window else columns
        self.columns = nn.ParameterList(_table(size, config.column_dim) for size in read)
        width = self.token_width + config.column_dim * len(read) + config.language_model_dim
        places = 2 * config.column_window + 1
        self.windows = nn.ParameterList(
            nn.Parameter(torch.zeros(places, size + 1, tags))  # the last: outside the sentence
            for size in (columns if config.column_window else [])
        )
        self.stack = DeepStack(
            config.cell, width, config.hidden, config.layers,
            nonlinearity=config.nonlinearity, read=config.output_from,
        )  # fmt: skip
        self.output = nn.Linear(self.stack.width, tags)
        self.summary = (
            nn.Linear(self.stack.width, tags, bias=False) if config.pooling == "max" else None
        )
        self.crf = LinearChainCRF(tags, allowed) if config.output_layer == "crf" else None

    @property
    def borders(self) -> int:
        """Border marks that characters of words need between them."""
        return self.characters.borders if self.characters is not None else 0

    def tokens(self, vectors: Tensor, shapes: Array, letters: Letters | None) -> Tensor:
        """Features of U words apart from their sentences: (U, D) from vectors (U, E)."""
        parts = [vectors]
        if self.characters is not None and letters is not None:
            parts.append(self.characters(letters))
        if self.shapes is not None:
            parts.append(self.shapes.index_select(0, torch.from_numpy(shapes).to(vectors.device)))
        return torch.cat(parts, 1) if len(parts) > 1 else vectors

    def forward(
        self, tokens: Tensor, columns: list[Array], packing: Packing, states: Array | None = None
    ) -> Tensor:
        """Scores (N, K) of the tags of sentences end to end, from rows (N, D) of their words.

        Args:
            columns: ids (N,) of the values of each further column.
            states: (N, W) of a language model, if the tagger has one.
        """
        device = tokens.device
        place = torch.from_numpy(packing.place).to(device)
        parts = [tokens]
        for table, values in zip(self.columns, [] if self.windows else columns, strict=True):
            parts.append(table.index_select(0, torch.from_numpy(values).to(device)))
        if states is not None:
            parts.append(torch.from_numpy(states).to(device))
        x = torch.cat(parts, 1) if len(parts) > 1 else tokens
        rows = torch.empty_like(place)
        rows[place] = torch.arange(len(place), device=device)
        x = x.index_select(0, rows)
        config = self.config
        if self.training:
            x = drop(x, packing, config.dropout_input)
        h = self.stack(x, packing, config.dropout_layers if self.training else 0.0)
        if self.training and config.layers:
            h = drop(h, packing, config.dropout_output)
        scores: Tensor = self.output(h)
        if self.summary is not None:
            sentence = torch.from_numpy(packing.sentence).to(device)
            of_sentence = self.summary(largest(h, sentence, packing.lengths.size))
            scores = scores + of_sentence.index_select(0, sentence)
        scores = scores.index_select(0, place)
        return scores + self._from_windows(columns, packing) if self.windows else scores

    def _from_windows(self, columns: list[Array], packing: Packing) -> Tensor:
        """Scores (N, K) of tags by the columns' values near each word."""
        sentence = np.repeat(np.arange(packing.lengths.size), packing.lengths)
        every = np.arange(sentence.size)
        total = self.output.weight.new_zeros(sentence.size, self.output.out_features)
        for shift in range(-self.config.column_window, self.config.column_window + 1):
            other = np.clip(every + shift, 0, every.size - 1)
            inside = (sentence[other] == sentence) & (other == every + shift)
            for table, values in zip(self.windows, columns, strict=True):
                of_shift = table[shift + self.config.column_window]
                ids = np.where(inside, values[other], len(of_shift) - 1)
                total = total + of_shift.index_select(0, torch.from_numpy(ids).to(total.device))
        return total


def _table(size: int, width: int) -> nn.Parameter:
    spread = (3 / width) ** 0.5
    return nn.Parameter(torch.empty(size, width).uniform_(-spread, spread))
