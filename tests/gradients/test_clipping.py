"""Clipping by norm and by value."""

from __future__ import annotations

import math

import pytest
import torch

from unrolled.errors import SettingError
from unrolled.gradients.clipping import clip_by_norm


def test_the_norm_is_of_all_together_and_the_direction_stays() -> None:
    gradients = [torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])]
    assert clip_by_norm(gradients, 10.0) == pytest.approx(5)
    assert gradients[0][0] == 3
    assert clip_by_norm(gradients, 1.0) == pytest.approx(5)
    assert gradients[0].tolist() == pytest.approx([0.6, 0])
    assert gradients[1].item() == pytest.approx(0.8)


def test_it_agrees_with_torchs_own() -> None:
    parameter = torch.nn.Parameter(torch.zeros(50))
    parameter.grad = torch.randn(50) * 10
    ours = parameter.grad.clone()
    norm = torch.nn.utils.clip_grad_norm_([parameter], 0.7)
    assert clip_by_norm([ours], 0.7) == pytest.approx(float(norm), rel=1e-5)
    torch.testing.assert_close(ours, parameter.grad)


def test_a_gradient_that_is_no_number_is_reported_and_left() -> None:
    gradient = torch.tensor([math.inf, 1.0])
    assert clip_by_norm([gradient], 1.0) == math.inf
    assert gradient[1] == 1


def test_thresholds_are_positive() -> None:
    with pytest.raises(SettingError, match="the threshold is 0, allowed are numbers above 0"):
        clip_by_norm([], 0)
