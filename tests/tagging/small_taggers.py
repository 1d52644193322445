"""A small language with something to learn, and taggers of it that take a second to train."""

from __future__ import annotations

import random
from typing import Any

from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.model import Tagger
from unrolled.tagging.training import train_tagger

FIRST = ["Ann", "Bob", "Cleo", "Dan"]
LAST = ["Smith", "Jones", "Miller"]
PLACES = ["Rome", "Paris", "Oslo"]
SMALL: dict[str, Any] = {
    "hidden": 12, "embedding": 12, "character_units": 6, "character_dim": 6, "epochs": 12,
    "batch": 8, "rate": 0.02, "warmup": 0, "dropout_input": 0.0, "dropout_output": 0.0,
    "dropout_layers": 0.0, "threads": 1,
}  # fmt: skip


def sentences(count: int, seed: int = 1, scheme: str = "BIO") -> list[TaggedSentence]:
    """Who met whom and went where; some names are of two words."""
    from unrolled.tagging.data.schemes import convert

    draw = random.Random(seed)
    found = []
    for number in range(count):
        words, tags = [], []
        for part in ("who", "met", "who", "in", "where", "."):
            if part == "who":
                words.append(draw.choice(FIRST))
                tags.append("B-PER")
                if draw.random() < 0.5:
                    words.append(draw.choice(LAST))
                    tags.append("I-PER")
            elif part == "where":
                words.append(draw.choice(PLACES))
                tags.append("B-LOC")
            else:
                words.append(part)
                tags.append("O")
        if draw.random() < 0.3:  # sentences of different lengths
            words, tags = words[:2], ["B-PER", "O"] if tags[1] == "O" else ["B-PER", "I-PER"]
        turned = convert(tags, "BIO", scheme)
        looks = tuple("capital" if word[0].isupper() else "small" for word in words)
        found.append(
            TaggedSentence(
                tuple(words), tuple(turned), (looks, tuple(words)), f"d{number % 7}", f"f:{number}"
            )
        )
    return found


def small_tagger(count: int = 60, scheme: str = "BIO", **settings: Any) -> Tagger:
    """A tagger that has learned the language, or begun to."""
    return train_tagger(sentences(count, scheme=scheme), **{**SMALL, **settings})
