"""Models as folders of files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import unrolled
from unrolled.errors import FormatError, SettingError
from unrolled.runtime.memory import drained
from unrolled.storage.shards import read_shards, write_shards

TEXTS = ["the cat sat on the mat", "the dog sat", "a cat sat on a dog"] * 5


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@pytest.mark.parametrize("shard_bytes", [16, 300, 1 << 20])
def test_a_folder_opens_as_one_model(tmp_path: Path, shard_bytes: int) -> None:
    model = unrolled.train_ngram(texts=TEXTS, order=3)
    folder = tmp_path / "model"
    write_shards(folder, **model.contents(), shard_bytes=shard_bytes)
    opened = unrolled.load(folder, verify=True)
    assert {name: array.tobytes() for name, array in opened.arrays().items()} == {
        name: array.tobytes() for name, array in model.arrays().items()
    }
    assert opened.score("the cat sat") == model.score("the cat sat")
    assert opened.config["order"] == 3
    with pytest.raises(SettingError, match="is there already, and not an empty folder"):
        write_shards(folder, **model.contents())


@pytest.mark.parametrize("shard_bytes", [3_000_000, 1 << 30])
def test_arrays_that_are_freed_as_they_are_written(tmp_path: Path, shard_bytes: int) -> None:
    """Pieces of several chunks wait for a shard to fill; each chunk is gone when the next comes."""
    array = np.arange(6_000_000)
    pieces = {"one": drained(array.copy()), "two": drained(array[::-1].copy())}
    write_shards(
        tmp_path / "model", kind="ngram", config={}, arrays=pieces, shard_bytes=shard_bytes
    )
    opened = read_shards(tmp_path / "model", verify=True)
    assert np.array_equal(opened.arrays["one"], array)
    assert np.array_equal(opened.arrays["two"], array[::-1])


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a folder, not a model file"):
        unrolled.load(tmp_path)
    (tmp_path / "shards.json").write_text("{}")
    with pytest.raises(FormatError, match=r"shards\.json is not that of a model in shards"):
        unrolled.load(tmp_path)
    for name in "ab":
        model = unrolled.train_ngram(texts=TEXTS, order=2, smoothing="additive", delta=1.0)
        write_shards(tmp_path / name, **model.contents(), shard_bytes=200)
    shutil.copy(tmp_path / "a" / "shard-00001.safetensors", tmp_path / "b")
    with pytest.raises(FormatError, match="belongs to another folder of shards"):
        unrolled.load(tmp_path / "b")
    (tmp_path / "a" / "shard-00001.safetensors").unlink()
    with pytest.raises(FormatError, match="there is no such file"):
        unrolled.load(tmp_path / "a")
