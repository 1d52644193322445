"""Initial recurrent weights have the spectra that they are named for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.errors import SettingError
from unrolled.neural.initialisation import initialise, set_memory, set_timescales, spectral_radius


@pytest.mark.parametrize("kind", ["identity", "orthogonal"])
def test_all_singular_values_are_the_scale_in_each_gates_block(kind: str) -> None:
    weight = torch.empty(30, 10)
    initialise(weight, kind, scale=1.5)
    for block in weight.split(10):
        assert np.linalg.svd(block.numpy())[1] == pytest.approx([1.5] * 10, rel=1e-5)
    if kind == "identity":
        assert torch.equal(weight[:10], 1.5 * torch.eye(10))
    else:
        assert not torch.allclose(weight[:10], weight[10:20])


@pytest.mark.parametrize("kind", ["radius", "sparse"])
def test_the_largest_eigenvalue_is_the_scale(kind: str) -> None:
    weight = torch.empty(20, 20)
    initialise(weight, kind, scale=0.95, connections=4, generator=torch.Generator().manual_seed(1))
    assert np.abs(np.linalg.eigvals(weight.numpy())).max() == pytest.approx(0.95, rel=1e-4)
    assert spectral_radius(weight) == pytest.approx(0.95, rel=1e-4)
    connections = (weight != 0).sum(1)
    assert torch.equal(connections, torch.full_like(connections, 4 if kind == "sparse" else 20))


def test_the_same_seed_draws_the_same_weights() -> None:
    drawn = [torch.empty(6, 6) for _ in range(3)]
    for weight, seed in zip(drawn, (1, 1, 2), strict=True):
        initialise(weight, "sparse", generator=torch.Generator().manual_seed(seed))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_memory_is_of_all_lengths_up_to_the_longest() -> None:
    bias = torch.full((4000,), 7.0)
    set_memory(bias, 200, torch.Generator().manual_seed(1))
    enter, forget, new, out = bias.chunk(4)
    assert torch.equal(enter, -forget) and (torch.cat([new, out]) == 7).all()
    steps = forget.exp().numpy()
    assert steps.min() >= 1 and steps.max() <= 199
    assert steps.mean() == pytest.approx(100, rel=0.1)


def test_states_fade_at_many_rates_and_units_do_not_meet() -> None:
    weight = torch.full((5, 5), 7.0)
    set_timescales(weight, 1, 10_000)
    kept = weight.diagonal()
    torch.testing.assert_close(
        1 / (1 - kept), torch.tensor([1.0, 10, 100, 1000, 10_000]), rtol=1e-2, atol=0
    )
    assert torch.equal(weight, torch.diag(kept))


def test_what_cannot_be_initialised() -> None:
    with pytest.raises(SettingError, match=r"weights of shape \(8, 2\) are not one square"):
        set_timescales(torch.empty(8, 2), 1, 2)
    with pytest.raises(SettingError, match="states fade in 0.5 to 2 steps, allowed are 1 and m"):
        set_timescales(torch.empty(2, 2), 0.5, 2)
    with pytest.raises(SettingError, match=r"a bias of shape \(6,\) is not that of four gates"):
        set_memory(torch.empty(6), 9)
    with pytest.raises(SettingError, match="the memory is 2 steps, allowed are 3 and more"):
        set_memory(torch.empty(8), 2)
    with pytest.raises(SettingError, match="'xavier' is unknown, allowed are identity, orthog"):
        initialise(torch.empty(2, 2), "xavier")
    with pytest.raises(SettingError, match="weights of 3 x 2 are no recurrent weights"):
        initialise(torch.empty(3, 2), "identity")
    with pytest.raises(SettingError, match="scale is 0 and connections 15, both must be above 0"):
        initialise(torch.empty(2, 2), "identity", scale=0)
