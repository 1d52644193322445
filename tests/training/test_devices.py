"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from unrolled.errors import SettingError
from unrolled.training.devices import device_of


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpu_is_taken_where_there_is_one(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert device_of("auto").type == ("cuda" if gpu else "cpu")
    assert device_of("cpu").type == "cpu"
    assert device_of(torch.device("meta")).type == "meta"
    if gpu:
        assert device_of("cuda").type == "cuda"


def test_what_is_no_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match="the device is 'gpu', allowed are auto, cpu, cuda"):
        device_of("gpu")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(SettingError, match=r"torch finds no GPU\. Take auto or cpu"):
        device_of("cuda")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(SettingError, match="finds no GPU and is built for CPUs only"):
        device_of("cuda")
