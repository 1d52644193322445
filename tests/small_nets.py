"""Small nets and texts that several test files share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unrolled.neural.config import NetConfig
from unrolled.neural.model import NeuralModel
from unrolled.neural.net import build_net
from unrolled.text.vocabulary import Vocabulary
from unrolled.text.word_classes import word_classes

WORDS = ["the", "cat", "dog", "sat", "ran", "on", "mat", "."]
NO_DROPOUT = {"dropout_input": 0.0, "dropout_layers": 0.0, "dropout_output": 0.0}
SMALL: dict[str, Any] = {"hidden": 12, "classes": 4, **NO_DROPOUT}


def small_model(**settings: Any) -> NeuralModel:
    """An untrained net over `WORDS` whose parameters are large enough to matter."""
    config = NetConfig(**{**SMALL, **settings})
    vocabulary = Vocabulary.from_words(WORDS)
    counts = torch.arange(len(vocabulary), 0, -1).numpy()
    torch.manual_seed(4)
    net = build_net(config, len(vocabulary), word_classes(counts, config.classes))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.4)
    return NeuralModel(net, vocabulary)


def write_text(folder: Path, sentences: int, name: str = "text.txt", seed: int = 1) -> str:
    """Sentences with something to learn: what sits or runs depends on who it is."""
    random = torch.Generator().manual_seed(seed)
    lines = []
    for number in torch.randint(0, 8, (sentences,), generator=random).tolist():
        who, place = (("cat", "mat"), ("dog", "the mat"))[number % 2]
        lines.append(f"the {who} {'sat' if number % 2 else 'ran'} on {place} ." * (number // 4 + 1))
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)
