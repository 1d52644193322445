"""Lower precision: only where it is asked for or gains, and training works with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from small_nets import SMALL, write_text
from unrolled.errors import SettingError
from unrolled.neural.config import TrainingConfig, split_settings
from unrolled.neural.trainer import Trainer, lower_precision
from unrolled.text.corpus import read_corpus

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def _trainer(folder: Path, **settings: object) -> Trainer:
    given = {"batch": 4, "bptt": 6, "epochs": 1, "warmup": 5, "rate": 0.02, "layers": 2}
    net, training = split_settings({**SMALL, **given, **settings})
    return Trainer(read_corpus(write_text(folder, 200)), None, net, training)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm", "feed-forward"])
def test_bfloat16_trains_with_float32_weights(cell: str, tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, precision="bfloat16", cell=cell, rate=0.01)
    batch = next(trainer._batches())
    trainer.state = trainer.net.begin(batch.inputs.shape[1])
    assert trainer._loss(batch)[0].dtype == torch.float32
    trainer.run()
    assert trainer.curve[0].train_perplexity < 6  # the text has nine words
    assert all(p.dtype == torch.float32 for p in trainer.net.parameters())
    assert all(s.dtype in (torch.float32, torch.int64) for s in trainer.state)


def test_bfloat16_rounds_and_float32_does_not(tmp_path: Path) -> None:
    losses = {}
    for precision in ("auto", "float32", "bfloat16"):
        trainer = _trainer(tmp_path, precision=precision)
        batch = next(trainer._batches())
        trainer.state = trainer.net.begin(batch.inputs.shape[1])
        with torch.no_grad():
            for parameter in trainer.net.parameters():
                parameter.mul_(3)
            losses[precision] = float(trainer._loss(batch)[0])
    assert losses["auto"] == losses["float32"]
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_auto_is_bfloat16_on_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for able in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert lower_precision("auto", GPU) == able
    assert not lower_precision("auto", CPU)
    assert not lower_precision("float32", GPU)
    assert lower_precision("bfloat16", CPU)


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(SettingError, match="'half', allowed are auto, float32, bfloat"):
        TrainingConfig(precision="half")
