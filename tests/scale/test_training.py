"""The model from files has the bytes of the model from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.ngram.estimation.config import SMOOTHING_NAMES
from unrolled.ngram.training import ngram_config, train_on_corpus
from unrolled.scale.clock import Clock
from unrolled.scale.estimator import count_levels, estimated_arrays
from unrolled.storage.work_folder import WorkFolder
from unrolled.text.corpus import read_corpus

WORDS = [f"w{number}" for number in range(30)]
SHARES = 1 / np.arange(1, 31)


def some_texts(seed: int, lines: int = 150) -> list[str]:
    rng = np.random.default_rng(seed)
    shares = SHARES / SHARES.sum()
    return [" ".join(rng.choice(WORDS, rng.integers(0, 12), p=shares)) for _ in range(lines)]


def whole(source: Any) -> Any:
    return source if isinstance(source, np.ndarray) else np.concatenate(list(source))


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("smoothing", SMOOTHING_NAMES)
@pytest.mark.parametrize(("order", "room"), [(1, 100), (2, 100), (3, 5000), (5, 100), (7, 20_000)])
def test_model_from_files_has_the_bytes_of_memory(
    tmp_path: Path, order: int, smoothing: str, room: int
) -> None:
    """A room of 100 bytes makes a part of each word."""
    for number, prune in enumerate([(), (0, 0, 1)[:order], (0, 1)[:order]]):
        config = ngram_config({"order": order, "smoothing": smoothing, "prune": prune})
        texts = some_texts(order + number)
        expected = train_on_corpus(read_corpus(texts=texts), config)
        corpus = read_corpus(texts=texts)
        pieces = np.array_split(corpus.ids, 7)
        with WorkFolder(tmp_path, {}) as folder:
            shared = {
                "room": room,
                "threads": 2,
                "clock": Clock(lambda stage: None, folder, 0, order),
                "folder": folder,
            }
            files = count_levels(pieces.__iter__, corpus.word_counts, order, **shared)
            arrays, rules = estimated_arrays(files, config, corpus.word_counts, **shared)
            made = {name: whole(source) for name, source in arrays.items()}
        assert rules.discounts == expected.provenance["discounts"]
        for name, array in expected.trie.arrays().items():
            assert made[name].dtype == array.dtype
            assert made[name].tobytes() == array.tobytes(), name
