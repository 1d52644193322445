"""Speeds of training measured in turn: every net in every round, each going on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_nets import write_text
from unrolled.experiments.mikolov2011_table3 import PUBLISHED, models, settings_of
from unrolled.experiments.training_speed import medians, speeds_in_turn
from unrolled.text.corpus import read_corpus

_SMALL = {"cell": "elman", "hidden": 8, "batch": 4, "bptt": 5}


def test_each_net_is_measured_in_each_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unrolled.training.loop import TrainingLoop

    order: list[str] = []
    train = TrainingLoop.train_batch

    def train_batch(self: TrainingLoop, batch: object) -> object:
        order.append(self.task.net.config.output_layer)  # type: ignore[attr-defined]
        return train(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainingLoop, "train_batch", train_batch)
    corpus = read_corpus(write_text(tmp_path, 60))
    settings = {
        "two": {**_SMALL, "classes": 2, "classes_by": "frequency"},
        "full": {**_SMALL, "output_layer": "full"},
    }
    found = speeds_in_turn(corpus, settings, rounds=2, seconds=0.0)
    assert {name: len(own) for name, own in found.items()} == {"two": 2, "full": 2}
    assert all(speed > 0 for speed in medians(found).values())
    pairs = order[::2]  # two batches a measurement, the first of each net to warm up
    assert order[1::2] == pairs
    assert pairs == ["classes", "full", "classes", "full", "full", "classes"]


def test_the_table_has_the_rows_of_the_paper() -> None:
    assert " ".join(PUBLISHED) == "30 50 100 200 400 1000 2000 4000 6000 8000 full"
    assert list(settings_of("laptop")) == list(settings_of("paper")) == list(PUBLISHED)
    assert {spec.name for spec in models("laptop")} >= {
        f"{classes} classes + 5-gram" for classes in PUBLISHED
    }
