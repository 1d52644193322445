"""The loop by itself, with the smallest task: one number that is to become 3."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unrolled.errors import FormatError, UnrolledError
from unrolled.training.loop import TrainingLoop
from unrolled.training.records import EpochRecord, Progress
from unrolled.training.settings import TrainingSettings
from unrolled.training.task import BatchLoss, Task


class Three(Task):
    """Loss (x - 3)^2 of two batches an epoch; scores and losses can be made up."""

    kind, metric = "number", "accuracy"
    batches_per_epoch, tokens_per_epoch = 2, 2

    def __init__(self, scores: list[float] | None = None, scale: float = 1.0, **settings: Any):
        given = {"epochs": 4, "optimiser": "sgd", "rate": 0.1, "schedule": "constant"}
        plain = {"warmup": 0, "clip_norm": 0.0}
        self.config = TrainingSettings(**{**given, **plain, **settings})
        self.module = nn.Linear(1, 1, bias=False)
        self.module.weight.data.fill_(0.0)
        self.scores, self.scale, self.epochs_seen = scores, scale, list[int]()

    @property
    def x(self) -> float:
        return float(self.module.weight.detach())

    def batches(self, epoch: int) -> Iterator[int]:
        self.epochs_seen.append(epoch)
        yield from range(2)

    def backward(self, batch: int) -> BatchLoss:
        loss = self.scale * (self.module.weight - 3).square().sum()
        loss.backward()
        return BatchLoss(float(loss.detach()), 1, 1)

    def score(self) -> float | None:
        return None if self.scores is None else self.scores[len(self.epochs_seen) - 1]

    def identity(self) -> dict[str, dict[str, Any]]:
        return {"number": {"scale": self.scale, "pair": (1, 2)}}


def test_it_learns_and_reports() -> None:
    lines: list[str] = []
    loop = TrainingLoop(Three(epochs=20))
    loop.run(report=lines.append)
    assert isinstance(loop.task, Three)
    assert loop.task.x == pytest.approx(3, abs=1e-3)
    assert [record.epoch for record in loop.curve] == list(range(1, 21))
    assert loop.curve[0].loss == pytest.approx((9 + 2.4**2) / 2)
    assert lines[0].startswith("epoch   1  loss   7.3800  rate 0.1  clipped 0 %")


@pytest.mark.parametrize("lower", [False, True])
def test_the_best_epoch_is_what_stays(lower: bool) -> None:
    scores = [0.3, 0.5, 0.4, 0.5]
    task = Three([1 - score for score in scores] if lower else scores)
    task.lower_is_better = lower
    TrainingLoop(task).run()
    after_two_epochs = 3 * (1 - 0.8**4)
    assert task.x == pytest.approx(after_two_epochs)


def test_patience_counts_epochs_without_a_better_score() -> None:
    lines: list[str] = []
    loop = TrainingLoop(Three([0.3, 0.5, 0.5, 0.4, 0.9], epochs=5, patience=2))
    loop.run(report=lines.append)
    assert len(loop.curve) == 4
    assert lines[-1] == "no better score for 2 epochs: stopping"


def test_gradients_are_clipped() -> None:
    task = Three(clip_norm=0.5, epochs=1)
    loop = TrainingLoop(task)
    loop.run()
    assert task.x == pytest.approx(2 * 0.1 * 0.5)
    assert loop.curve[0].clipped == 1


@pytest.mark.parametrize(("task", "what"), [
    (Three(scale=math.nan), "the loss is nan at step 1 of epoch 1"),
    (Three(scale=1e5), "the loss is 900000 at step 1 of epoch 1"),
    (Three(rate=80.0), r"the loss is \d+\S+ at step 2 of epoch 1|is \d+ at step 2 of epoch 1"),
    (Three(rate=1e38, epochs=1, scale=1e3), "the loss is inf at step 2 of epoch 1"),
])  # fmt: skip
def test_divergence_is_found_even_where_numbers_stay_finite(task: Three, what: str) -> None:
    with pytest.raises(UnrolledError, match=f"training has diverged: {what}. Try a lower rate"):
        TrainingLoop(task).run()


def test_divergence_in_the_last_step_is_found() -> None:
    class Last(Three):
        def step_rows(self, factor: float) -> None:
            self.module.weight.data.fill_(math.inf)

        def batches(self, epoch: int) -> Iterator[int]:
            yield 0

    with pytest.raises(UnrolledError, match="a weight is no longer a finite number at step 2"):
        TrainingLoop(Last(epochs=1)).run()


def test_a_score_that_is_no_number_is_divergence() -> None:
    with pytest.raises(UnrolledError, match="the validation score is nan at step 5 of epoch 2"):
        TrainingLoop(Three([0.5, math.nan])).run()


def test_an_infinite_gradient_is_divergence() -> None:
    class Steep(Three):
        def backward(self, batch: int) -> BatchLoss:
            self.module.weight.grad = torch.full((1, 1), math.inf)
            return BatchLoss(1.0, 1, 1)

    with pytest.raises(UnrolledError, match="the norm of the gradient is inf at step 1 of epoch 1"):
        TrainingLoop(Steep(clip_norm=1.0)).run()


def test_the_monitor_sees_every_update_and_is_closed_whatever_happens() -> None:
    class Watching:
        def __init__(self) -> None:
            self.norms: list[float | None] = []
            self.closed = False

        def step(self, norm: float | None = None) -> None:
            self.norms.append(norm)

        def close(self) -> None:
            self.closed = True

    for task in (Three(clip_norm=9.0, epochs=1), Three(scale=math.nan)):
        loop = TrainingLoop(task)
        loop.monitor = monitor = Watching()
        try:
            loop.run()
            assert monitor.norms == pytest.approx([6.0, 4.8])
        except UnrolledError:
            assert monitor.norms == []
        assert monitor.closed


def test_a_finished_training_resumes_to_its_result(tmp_path: Path) -> None:
    kept = tmp_path / "training.checkpoint"
    scores = [0.3, 0.5, 0.4, 0.2, 0.9]
    task = Three(scores, epochs=5, patience=2)
    loop = TrainingLoop(task)
    loop.enable_checkpoints(kept)
    loop.run()
    again = Three(scores, epochs=5, patience=2)
    resumed = TrainingLoop(again)
    resumed.enable_checkpoints(kept, resume=True)
    assert resumed.finished
    resumed.run()
    assert again.epochs_seen == []
    assert again.x == task.x
    assert resumed.curve == loop.curve


def test_a_checkpoint_with_parts_missing_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "training.checkpoint"
    loop = TrainingLoop(Three())
    loop.enable_checkpoints(kept)
    loop._place = lambda: {"epoch": 1}  # type: ignore[method-assign]
    loop.save()
    with pytest.raises(FormatError, match="the checkpoint cannot be used: 'averaged'"):
        TrainingLoop(Three()).enable_checkpoints(kept, resume=True)


def test_halving_and_asgd_go_by_scores_too() -> None:
    halving = TrainingLoop(Three([0.5, 0.8, 0.8, 0.9, 0.9], epochs=5, schedule="halving"))
    halving.run()
    assert [record.rate for record in halving.curve] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.025])
    asgd = TrainingLoop(Three([0.9, *[0.5] * 7], epochs=8, optimiser="asgd"))
    asgd.run()
    assert asgd.averager.count == 1 + 2 * 1  # begun after the seventh epoch


def test_lines_of_progress() -> None:
    progress = Progress(2, 4, 0.375, 12_000.0, 90.0, 1.5, None, "f1")
    assert progress.line() == "epoch 2 of 4, 38 %, 12,000 tokens/s, 1.5 min left, loss 1.500"
    progress = Progress(2, 4, 0.375, 12_000.0, 90.0, math.log(80), 95.5, "perplexity")
    assert progress.line().endswith("1.5 min left, ppl 80.0, valid ppl 95.5")
    record = EpochRecord(1, 500, 2.0, math.log(80), 95.5, "perplexity", 0.1, 0.5)
    assert "train ppl    80.00  valid ppl    95.50" in record.line()
    assert record.json()["train_perplexity"] == pytest.approx(80)
    assert record.json()["tokens_per_second"] == 250
    assert "train_perplexity" not in EpochRecord(1, 5, 2.0, 1.0, 0.5, "f1", 0.1, 0.5).json()
