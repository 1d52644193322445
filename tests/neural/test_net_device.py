"""Nets on another device than the CPU: all of it is there, and learns the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_nets import SMALL, write_text
from stand_in_device import DEVICE, stand_in
from unrolled.errors import SettingError
from unrolled.neural.training import train_net

# What may happen to numbers on the CPU: they are drawn and set there before they move, and looked
# at once they are back.
ON_CPU = {
    "aten::_local_scalar_dense", "aten::add_", "aten::detach", "aten::fill_", "aten::lift_fresh",
    "aten::mul_", "aten::select", "aten::slice", "aten::split", "aten::uniform_",
    "aten::zeros_like",
    "aten::eye", "aten::index_put_", "aten::clone", "aten::resolve_conj", "aten::resolve_neg",
    "aten::to",
}  # fmt: skip


@pytest.mark.parametrize("settings", [
    {"layers": 2, "dropout_layers": 0.2},
    {"cell": "gru", "output_layer": "full", "clip_value": 0.1, "accumulate": 2},
    {"cell": "elman", "optimiser": "sgd", "rate": 1.0, "momentum": 0.5, "bptt": 1},
    {"cell": "feed-forward", "output_layer": "adaptive"},
    {"output_layer": "sampled", "samples": 5, "reset_state_per_sentence": True},
])  # fmt: skip
def test_training_is_all_on_the_device_and_gives_the_same_net(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    text = write_text(tmp_path, 60)
    # The stand-in takes two references to one parameter apart, which GPUs do not.
    given = {**SMALL, "tied": False, "batch": 4, "bptt": 6, "epochs": 2, "warmup": 5, **settings}
    wanted = train_net(text, device="cpu", **given)
    with stand_in() as seen:
        model = train_net(text, device=DEVICE, **given)
        assert model.net.vectors.device == DEVICE
        model.net.to("cpu")
    assert seen.on_cpu <= ON_CPU, seen.on_cpu - ON_CPU
    curves = [each.provenance["training"]["curve"] for each in (model, wanted)]
    for one, other in zip(*curves, strict=True):
        assert one["train_perplexity"] == pytest.approx(other["train_perplexity"], rel=1e-3)
    for one, other in zip(model.net.parameters(), wanted.net.parameters(), strict=True):
        apart = np.abs((one - other).detach().numpy()) > 1e-4 + 1e-3 * np.abs(
            other.detach().numpy()
        )
        assert apart.mean() <= 0.02


def test_without_a_gpu_none_can_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = write_text(tmp_path, 5)
    with pytest.raises(SettingError, match="torch finds no GPU"):
        train_net(text, device="cuda")
    with pytest.raises(SettingError, match="the device is 'tpu'"):
        train_net(text, device="tpu")
