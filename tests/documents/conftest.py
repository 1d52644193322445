"""What tests of documents share: models in files, and documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import unrolled

TEXTS = ["the cat sat on the mat", "the dog sat on the cat", "a dog and a cat", "the mat"] * 3


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, unrolled.NgramModel]:
    """Models of words, of lower-cased words and of characters, each in a file of its name."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for name, options in {
        "words": {},
        "lower": {"lower": True},
        "letters": {"tokens": "char"},
    }.items():
        model = unrolled.train_ngram(
            texts=TEXTS,
            order=3,
            smoothing="witten-bell",
            options=unrolled.TextOptions(**options),
        )
        model.save(folder / f"{name}.safetensors")
        made[name] = model
    return made


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[Iterable[dict[str, Any]]], Path]:
    """Write rows as JSONL."""

    def write(rows: Iterable[dict[str, Any]]) -> Path:
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
