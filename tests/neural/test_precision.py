"""Lower precision: only where it is asked for or gains, and training works with it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from small_nets import SMALL, write_text
from unrolled.errors import SettingError
from unrolled.neural.config import TrainingConfig, split_settings
from unrolled.neural.task import LanguageModelTask
from unrolled.text.corpus import read_corpus
from unrolled.training.devices import uses_bfloat16
from unrolled.training.loop import TrainingLoop

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def _task(folder: Path, **settings: object) -> LanguageModelTask:
    given = {"batch": 4, "bptt": 6, "epochs": 1, "warmup": 5, "rate": 0.02, "layers": 2}
    configs = split_settings({**SMALL, **given, **settings})
    return LanguageModelTask(read_corpus(write_text(folder, 200)), None, *configs)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm", "feed-forward"])
def test_bfloat16_trains_with_float32_weights(cell: str, tmp_path: Path) -> None:
    task = _task(tmp_path, precision="bfloat16", cell=cell, rate=0.01)
    batch = next(task.batches(0))
    task.state = task.net.begin(batch.inputs.shape[1])
    assert task.loss(batch)[0].dtype == torch.float32
    loop = TrainingLoop(task)
    loop.run()
    assert loop.curve[0].loss < math.log(6)  # the text has nine words
    assert all(p.dtype == torch.float32 for p in task.net.parameters())
    assert all(s.dtype in (torch.float32, torch.int64) for s in task.state)


def test_bfloat16_rounds_and_float32_does_not(tmp_path: Path) -> None:
    losses = {}
    for precision in ("auto", "float32", "bfloat16"):
        task = _task(tmp_path, precision=precision)
        batch = next(task.batches(0))
        task.state = task.net.begin(batch.inputs.shape[1])
        with torch.no_grad():
            for parameter in task.net.parameters():
                parameter.mul_(3)
            losses[precision] = float(task.loss(batch)[0])
    assert losses["auto"] == losses["float32"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_auto_is_bfloat16_on_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for able in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert uses_bfloat16("auto", GPU) == able
    assert not uses_bfloat16("auto", CPU)
    assert not uses_bfloat16("float32", GPU)
    assert uses_bfloat16("bfloat16", CPU)


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(SettingError, match="'half', allowed are auto, float32, bfloat"):
        TrainingConfig(precision="half")
