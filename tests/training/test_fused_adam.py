"""Adam by torch's fused operation, beside torch's own class."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from unrolled.training.fused_adam import FusedAdamW


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_is_torchs_to_the_bit(decay: float) -> None:
    torch.manual_seed(1)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((40, 7), (5,), (3, 3))]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    pair = (
        FusedAdamW(iter(ours), lr=0.1, weight_decay=decay),
        torch.optim.AdamW(theirs, lr=0.1, weight_decay=decay, fused=True),
    )
    for step in range(6):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if (step + number) % 3:  # not all have a gradient each time
                one.grad = torch.randn(one.shape)
                other.grad = one.grad.clone()
        for optimiser in pair:
            optimiser.param_groups[0]["lr"] = 0.1 / (1 + step)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
            assert one.grad is None
    pair[0].step()  # nothing has a gradient


def test_training_does_not_load_torchs_compiler() -> None:
    script = """
import sys
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.training import train_tagger
data = [TaggedSentence(("Ann", "ran"), ("B-PER", "O"))]
train_tagger(data, valid=data, hidden=2, embedding=2, epochs=1, threads=1)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
