"""The model of a cluster has the bytes of the model from memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled

pytestmark = [
    # pyspark warns of pandas 3, which is not used here.
    pytest.mark.filterwarnings("ignore:PySpark does not yet:FutureWarning"),
    pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning"),
]

WORDS = [f"w{number}" for number in range(30)]
SHARES = 1 / np.arange(1, 31)


def texts(lines: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    shares = SHARES / SHARES.sum()
    return [" ".join(rng.choice(WORDS, rng.integers(0, 12), p=shares)) for _ in range(lines)]


def assert_same(model: Any, expected: Any) -> None:
    arrays = expected.arrays()
    assert list(model.arrays()) == list(arrays)
    for name, array in arrays.items():
        other = model.arrays()[name]
        assert other.dtype == array.dtype, name
        assert other.tobytes() == array.tobytes(), name


@pytest.mark.parametrize("partitions", [2, 5])
def test_a_dataframe(spark: Any, tmp_path: Path, partitions: int) -> None:
    lines = [*texts(200), "ünï cöde", "a <unk> b"]
    frame = spark.createDataFrame([(line,) for line in lines], "line string").coalesce(partitions)
    settings: dict[str, Any] = {"order": 4, "prune": [0, 0, 1], "min_count": 2}
    model = unrolled.spark.train_ngram(
        frame, tmp_path / "m.safetensors", column="line", partitions=partitions, **settings
    )
    expected = unrolled.train_ngram(texts=lines, **settings)
    assert_same(model, expected)
    assert model.provenance["discounts"] == expected.provenance["discounts"]
    assert not [path for path in tmp_path.iterdir() if path.name != "m.safetensors"]
