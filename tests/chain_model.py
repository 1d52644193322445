"""A language model made by hand, whose probabilities can be read off."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.language_models.protocol import LanguageModel
from unrolled.text.vocabulary import BOS, Vocabulary

TEXTS = ["the cat is small", "the dog is small", "the cat sat", "a cat sat on the dog"] * 3


class Chain(LanguageModel):
    """The protocol by hand: after each word the probabilities of a row, <s> never."""

    name = "chain"

    def __init__(self, rows: dict[str, dict[str, float]]) -> None:
        super().__init__(Vocabulary.from_words(["a", "b"]))
        self.rows = np.full((5, 5), -np.inf, np.float32)
        for before, row in rows.items():
            for word, probability in row.items():
                self.rows[self.vocabulary.id(before), self.vocabulary.id(word)] = np.log(
                    probability
                )

    def log_probs(self, ids: Any) -> Any:
        scores = self.rows[np.roll(ids, 1), ids]
        scores[ids == BOS] = 0
        return scores

    def start(self) -> int:
        return BOS

    def advance(self, state: int, word: int) -> int:
        return word

    def next_log_probs(self, state: int) -> Any:
        return self.rows[state]


CHAIN = {
    "<s>": {"a": 0.5, "b": 0.25, "</s>": 0.125, "<unk>": 0.125},
    "a": {"b": 0.5, "</s>": 0.5},
    "b": {"</s>": 0.75, "<unk>": 0.25},
    "<unk>": {"</s>": 1.0},
}
