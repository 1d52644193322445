"""Experiments: they run to their results, and say what they lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_nets import write_text
from unrolled.errors import SettingError
from unrolled.experiments import (
    EXPERIMENTS,
    SIZES,
    cells,
    experiment_of,
    large_lstm,
    mikolov2011_table2,
    mikolov2011_table3,
    run_experiment,
)
from unrolled.experiments.results_page import results_page
from unrolled.experiments.setup import Setup
from unrolled.experiments.texts import texts_in

COMPARISONS = [mikolov2011_table2, mikolov2011_table3, cells, large_lstm]


def _folder(tmp_path: Path) -> Path:
    tmp_path.mkdir()
    for seed, part in enumerate(("train", "valid", "test")):
        write_text(tmp_path, 150, f"x.{part}.txt", seed=seed)
    return tmp_path


def test_an_experiment_runs_and_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mikolov2011_table3._CLASSES, "smoke", ("30",))
    folder = _folder(tmp_path / "data")
    said: list[str] = []
    record = run_experiment(
        "mikolov2011-table3", folder, size="smoke", output=tmp_path / "out", report=said.append
    )
    written = json.loads((tmp_path / "out" / "mikolov2011-table3-smoke.json").read_text())
    assert written["results"]["table"] == record["results"]["table"]
    assert [file["name"] for file in written["data"]] == [
        "x.test.txt",
        "x.train.txt",
        "x.valid.txt",
    ]
    row = record["results"]["table"]["30"]
    assert 1 < row["mixed"] <= row["alone"] < 20
    assert row["words_per_second"] > 0
    picture = (tmp_path / "out" / record["results"]["pictures"][0]).read_text()
    assert picture.startswith("<svg")
    assert any("30 classes + 5-gram" in line for line in said)
    assert any("  epoch   1" in line for line in said)


@pytest.mark.slow
@pytest.mark.parametrize("module", COMPARISONS, ids=lambda module: module.__name__)
def test_every_comparison_runs(module: Any, tmp_path: Path) -> None:
    results = module.run(Setup("x", "smoke", tmp_path, _folder(tmp_path / "data")))
    assert all(row for row in results["table"].values())


@pytest.mark.parametrize("module", COMPARISONS, ids=lambda module: module.__name__)
@pytest.mark.parametrize("size", SIZES)
def test_models_are_named_once_and_mix_what_comes_before(module: Any, size: str) -> None:
    known: set[str] = set()
    for spec in module.models(size):
        assert set(spec.needs) <= known
        assert spec.name not in known
        known.add(spec.name)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_names_its_source_and_numbers(name: str) -> None:
    experiment = experiment_of(name)
    assert experiment.SOURCE.rstrip(")").endswith(".")
    assert all(isinstance(row, dict) and row for row in experiment.PUBLISHED.values())


def test_what_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no experiment 'table9'. Known: mikolov2011-table2"):
        run_experiment("table9", output=tmp_path)
    with pytest.raises(SettingError, match="size 'huge' is unknown, allowed are smoke, laptop"):
        run_experiment("cells", size="huge", output=tmp_path)
    with pytest.raises(SettingError, match="no such folder"):
        run_experiment("cells", tmp_path / "nothing", output=tmp_path)
    with pytest.raises(SettingError, match="0 files have 'train' in their names"):
        texts_in(tmp_path)
    write_text(tmp_path, 1, "a.train")
    write_text(tmp_path, 1, "b.train")
    with pytest.raises(SettingError, match="2 files have 'train' in their names"):
        texts_in(tmp_path)


def test_the_page_sets_published_numbers_beside_ours(tmp_path: Path) -> None:
    record = {
        "experiment": "x", "size": "laptop", "source": "A paper.", "seconds": 120,
        "published": {"net": {"alone": 123, "words": 1703}}, "remembered": True,
        "results": {"table": {"net": {"alone": 120.44, "words": 56789.1}, "other": {"alone": 99}}},
        "data": [{"name": "t.txt", "crc32": "0a"}],
        "machine": {"cores": 2, "processor": "x86_64", "gpu": "a GPU"},
    }  # fmt: skip
    (tmp_path / "x-laptop.json").write_text(json.dumps(record))
    (tmp_path / "benchmark.json").write_text("{}")
    page = results_page(tmp_path)
    assert "| net | 120.4 / 123 | 56,789 / 1,703 |" in page
    assert "| other | 99.0 |  |" in page
    assert "2 minutes in all on 2 cores (x86_64) and one a GPU." in page
    record["results"]["vectors"] = {"name": "v.txt", "crc32": "0b"}  # type: ignore[index]
    (tmp_path / "x-laptop.json").write_text(json.dumps({**record, "resumed": True}))
    assert "t.txt (CRC-32 0a), v.txt (CRC-32 0b)." in results_page(tmp_path)
    assert "2 minutes in the last of several sessions on 2 cores" in results_page(tmp_path)
    assert "t.txt (CRC-32 0a)" in page
    assert "quoted from memory" in page
    assert page.count("## ") == 1
