"""Experiments on taggers, on data of the same layout that the tests write themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.small_data import (
    outside_its_spread,
    write_conll2003,
    write_mpqa,
    write_sentiment,
    write_vectors,
)
from report.drawn import Drawn
from unrolled.errors import SettingError
from unrolled.experiments import run_experiment, taggers
from unrolled.experiments.entity_sentiment import _with_source
from unrolled.experiments.irsoy2014_depth import _best_learning_dev, row_of, width_of
from unrolled.experiments.taggers import TaggerRun, how_to_run, vectors_file
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.folds import Split


@pytest.fixture
def mpqa(tmp_path: Path) -> Path:
    return write_mpqa(tmp_path / "data")


def test_depth_on_mpqa(mpqa: Path, tmp_path: Path) -> None:
    said: list[str] = []
    record = run_experiment(
        "irsoy2014-depth", mpqa, size="smoke", output=tmp_path / "out", report=said.append
    )
    results = record["results"]
    assert outside_its_spread("irsoy2014-depth", results) == []
    assert list(results["table"]) == [
        "DSE, 3 k, 1 layer", "DSE, 3 k, 2 layers", "ESE, 3 k, 1 layer", "ESE, 3 k, 2 layers",
        "DSE, 3 k, best depth, learns dev", "DSE, 3 k, best depth, POS, learns dev",
        "ESE, 3 k, best depth, learns dev", "ESE, 3 k, best depth, POS, learns dev",
    ]  # fmt: skip
    for row in results["table"].values():
        assert 0 <= row["proportional"] <= row["binary"] + 1e-9
        assert row["binary"] <= 100 + 1e-9
    comparison = results["deep_against_shallow"]["DSE, 3 k, proportional"]
    shallow = results["table"]["DSE, 3 k, 1 layer"]["proportional"]
    assert comparison["shallow"] == pytest.approx(shallow)
    assert 0 < comparison["p"] <= 1
    assert comparison["layers"] == 2
    for row, cells in results["table"].items():
        for measure, value in cells.items():
            low, high = results["intervals"][row][measure]
            assert low - 1e-9 <= value <= high + 1e-9
    drawn = Drawn((tmp_path / "out" / "irsoy2014-depth-smoke.svg").read_text())
    ticks = [text.words for text in drawn.texts if text.anchor == "middle" and text.size == 11]
    assert ticks == ["1", "2"] * 4  # whole layers, two kinds and two measures
    assert {file["name"] for file in record["data"]} >= {"dse.txt", "ese.txt"}
    assert any(line.startswith("DSE, 3 k, 1 layer, fold 0: proportional") for line in said)
    assert (results["jobs"], results["device"]) == (1, "cpu")
    assert results["vectors"]["name"] == "v.txt"
    together = run_experiment(
        "irsoy2014-depth", mpqa, size="smoke", output=tmp_path / "two", jobs=2, device="cpu"
    )["results"]
    assert together["jobs"] == 2
    for part in ("table", "by_fold", "deep_against_shallow"):
        assert together[part] == results[part]


def test_crf_baseline_on_mpqa(mpqa: Path, tmp_path: Path) -> None:
    record = run_experiment("irsoy2014-crf-baseline", mpqa, size="smoke", output=tmp_path / "out")
    assert outside_its_spread("irsoy2014-crf-baseline", record["results"]) == []
    table = record["results"]["table"]
    assert set(table) == {"DSE", "ESE"}
    assert all(row["binary"] > 50 for row in table.values())


def test_nets_of_a_table_have_about_equal_size() -> None:
    from unrolled.tagging.config import TaggerConfig
    from unrolled.tagging.net.network import TaggerNet

    for wanted in (24_000, 200_000):
        for layers in (1, 2, 3, 4, 5):
            config = TaggerConfig(
                cell="elman", hidden=width_of(wanted, layers, 100), layers=layers, casing_dim=0,
                characters="none", output_layer="softmax",
            )  # fmt: skip
            net = TaggerNet(config, characters=2, columns=[], tags=3)
            size = sum(parameter.numel() for parameter in net.parameters())
            assert size == pytest.approx(wanted, rel=0.04)


def test_names(tmp_path: Path) -> None:
    above = tmp_path / "data"
    above.mkdir()
    folder = write_conll2003(above / "conll2003")
    (above / "README").write_text("what lies beside the folder that is read")
    record = run_experiment("conll2003-ner", above, size="smoke", output=tmp_path / "out")
    results = record["results"]
    read = {path.name for path in folder.iterdir() if path.is_file()}
    assert {file["name"] for file in record["data"]} == read
    assert outside_its_spread("conll2003-ner", results) == []
    assert set(results["table"]) == {"characters, CRF, vectors", "characters, CRF"}
    assert (tmp_path / "out" / "conll2003-characters-CRF.safetensors").is_file()
    assert results["vectors"]["name"] == "v.txt"
    written = (tmp_path / "out" / "conll2003-ner-smoke.json").read_text()
    assert str(tmp_path) not in written  # a result tells nothing of the machine's folders


def test_sentiment(tmp_path: Path) -> None:
    folder = write_sentiment(tmp_path / "data")
    results = run_experiment(
        "entity-sentiment", folder, size="smoke", output=tmp_path / "out"
    )["results"]  # fmt: skip
    assert outside_its_spread("entity-sentiment", results) == []
    both = ["laptop14, both sets and dev, mixed", "twitter, both sets and dev, mixed"]
    assert list(results["table"]) == ["laptop14", "twitter", *both]
    for row in results["table"].values():
        assert row["spans alone"] >= row["F1"]
    assert list(results["runs"]["twitter1, seed 1, both sets and dev, mixed"]) == both


def test_sentiment_of_laptops_is_the_mean_of_three_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vectors(tmp_path)
    (tmp_path / "laptop14_train.txt").touch()
    jobs: list[TaggerRun] = []

    def run_in_parallel(
        run: object, given: list[TaggerRun], **_: object
    ) -> list[dict[str, dict[str, float]]]:
        jobs.extend(given)
        return [
            {"twitter" if run.name.startswith("twitter") else run.name: {"F1": float(number)}}
            for number, run in enumerate(given)
        ]

    monkeypatch.setattr(taggers, "run_in_parallel", run_in_parallel)
    table = run_experiment("entity-sentiment", tmp_path, output=tmp_path)["results"]["table"]
    names = ["laptop14"] * 3 + [f"twitter{fold}" for fold in range(1, 11)]
    assert [job.name for job in jobs] == names
    assert [job.settings["seed"] for job in jobs] == [1, 2, 3] + [1] * 10
    assert table["laptop14"] == {"F1": 1.0, "deviation": pytest.approx((2 / 3) ** 0.5)}
    assert table["twitter"]["F1"] == 7.5


def test_the_best_deep_net_of_each_kind_learns_dev() -> None:
    runs = [
        TaggerRun(row_of(kind, 200_000, layers), {"layers": layers, "hidden": 9}, fold)
        for kind in ("dse", "ese")
        for layers in (1, 3, 4)
        for fold in (0, 1)
    ]
    best = {
        "DSE, 200 k, proportional": {"layers": 3.0},
        "ESE, 200 k, proportional": {"layers": 4.0},
    }
    found = _best_learning_dev(runs, best, 200_000, inputs=100)
    plain, pos = ", 200 k, best depth, learns dev", ", 200 k, best depth, POS, learns dev"
    assert [(run.name, run.settings["layers"], run.fold) for run in found] == [
        (kind + row, layers, fold)
        for kind, layers in (("DSE", 3), ("ESE", 4))
        for row in (plain, pos)
        for fold in (0, 1)
    ]
    assert all(run.learns_dev for run in found)
    assert {run.settings["hidden"] for run in found if run.name.endswith(plain)} == {9}
    for run in found:
        if run.name.endswith(pos):
            read = run.settings["column_dim"] + run.settings["casing_dim"]
            wanted = width_of(200_000, run.settings["layers"], 100 + read)
            assert (run.settings["columns"], run.settings["hidden"]) == ((0,), wanted)


def test_mixtures_learn_both_sets_with_seeds_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_sentiment(tmp_path / "data")
    jobs: list[TaggerRun] = []

    def run_in_parallel(run: object, given: list[TaggerRun], **_: object) -> list[dict[str, Any]]:
        jobs.extend(given)
        return [{"row": {"F1": 0.0}} for _ in given]

    monkeypatch.setattr(taggers, "run_in_parallel", run_in_parallel)
    run_experiment("entity-sentiment", folder, size="paper", output=tmp_path / "out")
    assert [job.name for job in jobs] == [f"twitter{fold}" for fold in range(1, 11)]
    assert all(job.learns_dev and job.settings["columns"] == (0,) for job in jobs)
    seeds = [job.settings["seed"] + net for job in jobs for net in range(job.nets)]
    assert len(set(seeds)) == len(seeds) == 40
    tagged = _with_source(jobs[0], "laptop14").train + _with_source(jobs[0], "twitter1").dev
    assert {column for sentence in tagged for column in sentence.columns[0]} == {
        "laptop14", "twitter"
    }  # fmt: skip
    assert all(len(sentence.columns) == 1 for sentence in tagged)


def test_a_mixture_is_of_several_seeds_and_may_learn_the_tuning_part() -> None:
    words = ("ann", "bob", "eve")
    split = Split(*([TaggedSentence((word, "ran"), ("S-PER", "O"))] for word in words))
    run = TaggerRun("row", {"hidden": 4, "epochs": 2, "seed": 3}, nets=2)
    for learns_dev, known in ((False, ["ann"]), (True, ["ann", "bob"])):
        mixture = replace(run, learns_dev=learns_dev).train_mixture(split)
        assert [model.settings["training"]["seed"] for model in mixture.models] == [3, 4]
        assert [word for word in words if word in mixture.vocabulary] == known
        curve = mixture.models[0].settings["curve"]
        assert (curve[-1]["score"] is None) == learns_dev


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"needs data of its own: a folder with eng\.train"):
        run_experiment("conll2003-ner", None, size="smoke", output=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingError, match=r"there is no dse\.txt, nor a folder 'mpqa'"):
        run_experiment("irsoy2014-depth", tmp_path / "empty", size="smoke", output=tmp_path)
    with pytest.raises(SettingError, match="0 files of word vectors"):
        vectors_file(tmp_path / "empty")


def test_as_many_runs_at_a_time_as_there_are_cores_but_few_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unrolled.experiments.taggers.usable_cores", lambda: 128)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert how_to_run("paper", None, "auto") == (16, "cuda")
    assert how_to_run("paper", 40, "cuda") == (40, "cuda")
    assert how_to_run("laptop", None, "cpu") == (128, "cpu")
    assert how_to_run("smoke", None, "cpu") == (1, "cpu")


def test_how_to_run_an_experiment_is_for_those_of_many_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="not made of parallel runs, so it takes no jobs"):
        run_experiment("large-lstm", None, size="smoke", output=tmp_path, jobs=2)
    with pytest.raises(SettingError, match="it takes no device"):
        run_experiment("large-lstm", None, size="smoke", output=tmp_path, device="cpu")
    with pytest.raises(SettingError, match="jobs is 0, allowed are 1 and more"):
        run_experiment("conll2003-ner", None, size="smoke", output=tmp_path, jobs=0)
    (tmp_path / "dse.txt").touch()
    with pytest.raises(SettingError, match="the device is 'tpu'"):
        run_experiment("irsoy2014-depth", tmp_path, size="smoke", output=tmp_path, device="tpu")
