"""Experiments: they run to their results, and say what they lack."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from report.drawn import Drawn
from small_nets import write_text
from unrolled.errors import FormatError, SettingError
from unrolled.experiments import (
    EXPERIMENTS,
    SIZES,
    cells,
    draw_experiment,
    experiment_of,
    large_lstm,
    mikolov2011_table2,
    mikolov2011_table3,
    run_experiment,
)
from unrolled.experiments.results_page import results_page, write_page
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
    picture = tmp_path / "out" / "mikolov2011-table3-smoke.svg"
    text = picture.read_text()
    assert text.startswith("<svg")
    picture.unlink()
    assert draw_experiment("mikolov2011-table3", size="smoke", output=tmp_path / "out") == [picture]
    assert picture.read_text() == text
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
    with pytest.raises(SettingError, match="the experiment large-lstm has no pictures"):
        draw_experiment("large-lstm", output=tmp_path)
    with pytest.raises(
        SettingError, match=r"echo-state-laptop\.json: there are no results to draw"
    ):
        draw_experiment("echo-state", output=tmp_path)
    (tmp_path / "echo-state-laptop.json").write_text('{"experiment": "echo-state"}')
    with pytest.raises(FormatError, match=r"echo-state-laptop\.json: the results are damaged"):
        draw_experiment("echo-state", output=tmp_path)
    with pytest.raises(SettingError, match="no such folder"):
        run_experiment("cells", tmp_path / "nothing", output=tmp_path)
    with pytest.raises(SettingError, match="0 files have 'train' in their names"):
        texts_in(tmp_path)
    write_text(tmp_path, 1, "a.train")
    write_text(tmp_path, 1, "b.train")
    with pytest.raises(SettingError, match="2 files have 'train' in their names"):
        texts_in(tmp_path)


def test_the_page_sets_published_numbers_beside_ours() -> None:
    record = {
        "experiment": "x", "size": "laptop", "source": "A paper.", "seconds": 120,
        "published": {"net": {"alone": 123, "words": 1703}},
        "results": {"table": {"net": {"alone": 120.44, "words": 56789.1}, "other": {"alone": 99}}},
        "data": [{"name": "t.txt", "crc32": "0a"}],
        "machine": {"cores": 2, "processor": "x86_64", "gpu": "a GPU"},
    }  # fmt: skip
    page = results_page([record], {"x-laptop": {"x-laptop.svg": "What it shows"}})
    assert "| net | 120.4 / 123 | 56,789 / 1,703 |" in page
    assert "| other | 99 |  |" in page
    assert "2 minutes in all on 2 cores (x86_64) and one a GPU. Data: t.txt." in page
    assert "![What it shows](x-laptop.svg)" in page
    assert page.count("## ") == 1
    record["results"]["vectors"] = {"name": "v.txt", "crc32": "0b"}  # type: ignore[index]
    page = results_page([{**record, "resumed": True}], {})
    assert "Data: t.txt, v.txt." in page
    assert "2 minutes in the last of several sessions on 2 cores" in page
    record["data"] = [{"name": f"{number}.txt", "crc32": "0a"} for number in range(9)]
    assert "Data: 0.txt, 1.txt, 2.txt, 3.txt and 6 more files." in results_page([record], {})


def test_the_page_of_the_lecture_shows_tables_and_pictures_that_are_there() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "lecture.md").read_text(encoding="utf-8")
    included = re.findall(r'^--8<-- "(.*):(.*)"$', page, re.M)
    assert len(included) >= 9
    for file, section in included:
        text = (root / file).read_text(encoding="utf-8")
        assert text.count(f"--8<-- [start:{section}]") == text.count(f"--8<-- [end:{section}]") == 1
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (root / "docs" / picture).is_file()
    named = re.findall(r"unrolled experiment (\S+)", page)
    assert set(named) <= set(EXPERIMENTS)
    assert len(set(named)) >= 9


def test_the_page_and_its_pictures_are_those_of_the_results(tmp_path: Path) -> None:
    docs = Path(__file__).parents[2] / "docs"
    large = (docs / "scale.md").read_text(encoding="utf-8")
    (tmp_path / "scale.md").write_text(large, encoding="utf-8")
    write_page(docs.parent / "results", tmp_path / "results.md")
    page = (docs / "results.md").read_text(encoding="utf-8")
    assert page == (tmp_path / "results.md").read_text(encoding="utf-8")
    assert large == (tmp_path / "scale.md").read_text(encoding="utf-8")
    assert not re.search(r"crc|[0-9a-f]{8}", page, re.IGNORECASE)
    measured = (docs / "measured.md").read_text(encoding="utf-8")
    # Of pixels there is table 1 of Cooijmans et al., Recurrent batch normalization, ICLR 2017.
    assert "from memory" not in page + measured, "published numbers are cited or left out"
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert sorted(pictures) == sorted(path.name for path in tmp_path.glob("*.svg"))
    pictures += [f"pictures/{path.name}" for path in (tmp_path / "pictures").iterdir()]
    for picture in pictures:
        # Coordinates may differ by a hundredth where another processor rounds otherwise.
        ours, theirs = ((folder / picture).read_text() for folder in (docs, tmp_path))
        shown, again = Drawn(ours).texts, Drawn(theirs).texts
        assert [text.words for text in shown] == [text.words for text in again]
        assert [text.y for text in shown] == pytest.approx([text.y for text in again], abs=0.1)
        assert len(ours) == pytest.approx(len(theirs), rel=0.02)
