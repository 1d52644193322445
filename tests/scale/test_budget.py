"""Budgets of memory and of disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.scale.budgets import budget_with

import unrolled
from unrolled.errors import NotNormalisedError, SettingError, UnrolledError
from unrolled.runtime.memory import free_memory, resident_memory
from unrolled.scale.budget import Budget, check_disk, memory_bytes
from unrolled.scale.counts_training import counts_training
from unrolled.scale.training import ngram_training
from unrolled.text.options import TextOptions


@pytest.mark.parametrize(
    ("memory", "size"),
    [("500M", 500 << 20), ("4g", 4 << 30), ("1.5 GB", 3 << 29), ("2GiB", 2 << 30), (12345, 12345)],
)
def test_sizes(memory: str | int, size: int) -> None:
    assert memory_bytes(memory) == size


@pytest.mark.parametrize("memory", ["", "4X", "-1G", "G", 0, "0M", "four"])
def test_what_is_no_size_is_refused(memory: str | int) -> None:
    with pytest.raises(SettingError, match="must be a size above 0 such as '500M' or '4G'"):
        memory_bytes(memory)


def test_the_default_is_most_of_what_is_free() -> None:
    assert 0 < memory_bytes(None) <= free_memory()
    assert 10_000_000 < resident_memory() < 10**12


def test_too_small_a_budget_names_what_is_needed() -> None:
    with pytest.raises(SettingError, match=r"budget of 90M is too small: at least \d+M .* with x"):
        Budget("90M").room("x")
    with pytest.raises(SettingError, match=r"of 10M is too small: .* vocabulary\. Give --memory"):
        Budget("10M").check()
    assert Budget(None).room(least=1 << 50) >= 1 << 50  # who gave none is not refused


def test_a_full_disk_is_foreseen(tmp_path: Path) -> None:
    check_disk(tmp_path, 0)
    with pytest.raises(UnrolledError, match=r"is full: 1,000,\S+ bytes are needed and .* free"):
        check_disk(tmp_path, 10**18)


def test_a_large_text_is_quantized(tmp_path: Path) -> None:
    lines = [f"a{n % 97} b{n % 89} c{n % 83} d{n % 79}" for n in range(1000)]
    texts = [" ".join(lines[n : n + 5]) for n in range(995)] * 150
    settings: dict[str, Any] = {"order": 3, "smoothing": "witten-bell", "threads": 1}
    stages: list[str] = []
    found = unrolled.train_ngram_file(
        texts=texts, output=tmp_path / "m.safetensors", memory=budget_with(245), quantize=8,
        report=stages.append, **settings,
    )  # fmt: skip
    assert any(stage.startswith("rounding") for stage in stages), stages
    expected = unrolled.quantize(unrolled.train_ngram(texts=texts, **settings))
    for name, array in expected.arrays().items():
        assert found.arrays()[name].tobytes() == array.tobytes(), name
    expected.save(tmp_path / "expected")
    assert found.config == unrolled.load(tmp_path / "expected").config
    unrolled.train_ngram_file(
        texts=texts[:9], output=tmp_path / "small", memory="8G", quantize=8, **settings
    )
    small = unrolled.quantize(unrolled.train_ngram(texts=texts[:9], **settings))
    assert unrolled.load(tmp_path / "small").arrays().keys() == small.arrays().keys()
    with pytest.raises(SettingError, match="cannot be quantized to 4 bits"):
        unrolled.train_ngram_file(texts=texts, output=tmp_path / "m", quantize=4)


def test_a_large_text_becomes_an_arpa_file(tmp_path: Path) -> None:
    lines = [f"a{n % 97} b{n % 89} c{n % 83} d{n % 79}" for n in range(1000)]
    texts = [" ".join(lines[n : n + 5]) for n in range(995)] * 320
    settings: dict[str, Any] = {"order": 3, "smoothing": "witten-bell", "threads": 1}
    settings["options"] = TextOptions(lower=True)
    stages: list[str] = []
    with ngram_training(
        None, tmp_path / "m.arpa", memory=budget_with(240), texts=texts,
        report=stages.append, **settings,
    ) as trained:  # fmt: skip
        assert any(stage.startswith("counting n-grams, part 1") for stage in stages), stages
        trained.write_arpa(tmp_path / "m.arpa")
    unrolled.write_arpa(unrolled.train_ngram(texts=texts, **settings), tmp_path / "expected.arpa")
    assert (tmp_path / "m.arpa").read_bytes() == (tmp_path / "expected.arpa").read_bytes()
    stages.clear()
    refused = pytest.raises(SettingError, match="within a memory budget is not written as ARPA")
    with refused, ngram_training(
        None, tmp_path / "q.arpa", memory=budget_with(240), texts=texts, quantize=8,
        report=stages.append, **settings,
    ):  # fmt: skip
        pass
    assert not any(stage.startswith("counting") for stage in stages), stages
    assert not (tmp_path / "q.arpa").exists()  # the text that was read stays, for --resume


def test_an_arpa_file_of_no_probabilities_is_refused_before_the_work(tmp_path: Path) -> None:
    stupid: dict[str, Any] = {"smoothing": "stupid-backoff", "report": pytest.fail}
    for training in (ngram_training, counts_training):
        refused = pytest.raises(NotNormalisedError, match="an ARPA file needs probabilities")
        with refused, training([tmp_path / "none"], tmp_path / "m.arpa.gz", **stupid):
            pass


def test_large_weighted_texts_are_trained_in_files(tmp_path: Path) -> None:
    lines = [f"a{n % 97} b{n % 89} c{n % 83} d{n % 79}" for n in range(1000)]
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_text("\n".join(lines * 450))
    small.write_text("\n".join(f"a{n % 7} x{n % 11}" for n in range(200)))
    stages: list[str] = []
    settings: dict[str, Any] = {"order": 4, "smoothing": "witten-bell", "threads": 1}
    settings["weights"] = [3, 2]
    model = unrolled.train_ngram_file(
        [large, small], output=tmp_path / "m.safetensors", memory=budget_with(288),
        report=stages.append, **settings,
    )  # fmt: skip
    assert any(stage.startswith("counting n-grams, part 1") for stage in stages), stages
    expected = unrolled.train_ngram([large, small], **settings)
    for name, array in expected.arrays().items():
        assert model.arrays()[name].tobytes() == array.tobytes()
    assert model.provenance["text"] == expected.provenance["text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "m.safetensors", "small"]
