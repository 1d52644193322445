"""States of a trained language model as inputs of a tagger.

The model reads a sentence from its start; its state after a word, from which it would predict
the next one, is an input of the tagger at that word. The model is frozen (Peters et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unrolled.errors import SettingError
from unrolled.neural.model import NeuralModel
from unrolled.storage.loading import load_as
from unrolled.text.vocabulary import BOS

Array = np.ndarray[Any, Any]


class LanguageStates:
    """A frozen language model.

    Raises:
        SettingError: its outputs are no plain states: it has n-gram features beside the net, or
            reads characters or subwords.
    """

    def __init__(self, model: NeuralModel) -> None:
        if model.net.output.max_ent is not None:
            raise SettingError(
                "a language model with n-gram features (maxent_size) gives a tagger no states",
                where=model.path,
            )
        if model.text_options.tokens != "word":
            raise SettingError(
                f"the language model's tokens are '{model.text_options.tokens}', and a tagger "
                "needs one of words",
                where=model.path,
            )
        self.model = model
        self._lower = model.text_options.lower

    @property
    def width(self) -> int:
        """Numbers for each word."""
        return self.model.net.config.width

    @torch.no_grad()
    def rows(self, sentences: Sequence[Sequence[str]]) -> Array:
        """(N, W) float32 for the words of sentences, none of them empty, end to end."""
        net, lengths = self.model.net, [len(words) for words in sentences]
        inputs = np.zeros((max(lengths) + 1, len(sentences)), np.int64)
        inputs[0] = BOS
        for column, words in enumerate(sentences):
            read = [word.lower() for word in words] if self._lower else list(words)
            inputs[1 : len(words) + 1, column] = self.model.vocabulary.ids(read)
        h, _ = net(torch.from_numpy(inputs).to(net.vectors.device), net.begin(len(sentences)))
        states = h[1:].float().cpu().numpy()
        # The states after the end of a shorter sentence are padding.
        parts = [states[:length, column] for column, length in enumerate(lengths)]
        return np.concatenate(parts)


def read_language_states(path: str) -> LanguageStates:
    """The states of the model of a file.

    Raises:
        FormatError: the file is no model. SettingError: it is no net, or one without plain states.
    """
    return LanguageStates(load_as(path, NeuralModel, "a tagger's language model"))
