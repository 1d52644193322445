"""Random tag sequences of every scheme, broken ones included, for several tests."""

from __future__ import annotations

import random

PREFIXES = {
    "IO": "IO", "IOB1": "BIO", "BIO": "BIO", "IOE1": "EIO", "IOE2": "EIO", "IOBES": "BEIOS",
}  # fmt: skip


def noise(random_: random.Random, scheme: str, labels: list[str], size: int) -> list[str]:
    """Tags of a scheme in any order at all."""
    tags = []
    for _ in range(size):
        prefix = random_.choice(PREFIXES[scheme])
        label = random_.choice(labels)
        tags.append("O" if prefix == "O" else f"{prefix}-{label}" if label else prefix)
    return tags


def pairs(
    count: int, scheme: str, seed: int = 1, labels: tuple[str, ...] = ("PER", "LOC", "geo-x")
) -> tuple[list[list[str]], list[list[str]]]:
    """Gold and predicted tags: half of the predictions are the gold tags with a few changed."""
    random_ = random.Random(seed)
    gold, predicted = [], []
    for _ in range(count):
        some = random_.sample(labels, random_.randint(1, len(labels)))
        size = random_.randint(1, 12)
        gold.append(noise(random_, scheme, some, size))
        guess = noise(random_, scheme, some, size)
        if random_.random() < 0.5:
            guess = [
                other if random_.random() < 0.2 else tag
                for tag, other in zip(gold[-1], guess, strict=True)
            ]
        predicted.append(guess)
    return gold, predicted
