"""Layers trained on samples: on average the right gradients, and exact when evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from small_nets import SMALL, write_text
from unrolled.errors import SettingError
from unrolled.language_models.evaluation import evaluate
from unrolled.neural.net import output_layer
from unrolled.neural.output_layers import FullSoftmax
from unrolled.neural.sampled import NoiseContrastive, SampledSoftmax
from unrolled.neural.training import train_net
from unrolled.text.vocabulary import BOS

V, E, N = 23, 4, 6
COUNTS = np.random.default_rng(2).integers(0, 50, V)
KINDS = ["sampled", "nce"]


def _layer(kind: str, samples: int) -> SampledSoftmax:
    torch.manual_seed(1)
    layer = output_layer(kind, nn.Parameter(torch.randn(V, E)), None, samples).double()
    assert isinstance(layer, SampledSoftmax)
    layer.init_unigram_bias(COUNTS)
    return layer


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(N, E, dtype=torch.float64), torch.tensor([0, 2, 3, 7, 7, 22])


def _weight_gradient(layer: FullSoftmax, h: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(layer.loss(h, targets), layer.weight)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_exact(kind: str) -> None:
    layer = _layer(kind, 3)
    full = FullSoftmax(layer.weight)
    full.bias = layer.bias
    h, targets = _batch()
    whole = layer.distribution(h)
    torch.testing.assert_close(whole.exp().sum(1), torch.ones(N).double())
    assert torch.all(whole[:, BOS] == -torch.inf)
    assert torch.equal(layer.log_probs(h, targets), full.log_probs(h, targets))


def test_the_gradient_of_samples_approaches_the_full_one() -> None:
    exact = _layer("sampled", 1)
    full = FullSoftmax(exact.weight)
    full.bias = exact.bias
    wanted = _weight_gradient(full, *_batch_after_seed())
    errors = []
    for samples in (8, 128, 2048):
        layer = _layer("sampled", samples)
        torch.manual_seed(3)
        h, targets = _batch()
        found = [_weight_gradient(layer, h, targets) for _ in range(100)]
        errors.append(float((torch.stack(found).mean(0) - wanted).norm() / wanted.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05
    # Once all words are drawn, the loss is the full softmax's itself.
    layer = _layer("sampled", 100_000)
    h, targets = _batch()
    torch.testing.assert_close(layer.loss(h, targets), full.loss(h, targets))
    torch.testing.assert_close(
        _weight_gradient(layer, h, targets), _weight_gradient(full, h, targets)
    )


def _batch_after_seed() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return _batch()


def test_the_denominator_is_estimated_without_bias() -> None:
    layer = _layer("sampled", 5)
    h, targets = _batch_after_seed()
    scores = (h @ layer.weight.T + layer.bias).detach()
    own = scores[range(N), targets]
    with torch.no_grad():
        losses = torch.stack([
            layer._estimate(h[:1], own[:1], targets[:1], layer._draw().unique())
            for _ in range(4000)
        ])  # fmt: skip
    scores[:, BOS] = -torch.inf
    wanted = float(scores[0].exp().sum())
    estimates = (losses + own[0]).exp()
    assert float(estimates.mean()) == pytest.approx(
        wanted, rel=4 * float(estimates.std() / wanted) / 4000**0.5
    )


def test_noise_contrast_has_the_gradient_of_its_definition() -> None:
    samples = 3
    layer = _layer("nce", samples)
    h, targets = _batch_after_seed()
    shares = np.where(np.arange(V) == BOS, 0, COUNTS + 0.5)
    shares = shares / shares.sum()
    wanted = np.zeros((V, E))
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for row, target in zip(h.numpy(), targets.tolist(), strict=True):
        odds = np.exp(weight @ row + bias) / np.maximum(samples * shares, 1e-300)
        from_data = odds / (1 + odds)
        wanted[target] -= (1 - from_data[target]) * row
        wanted += samples * (shares * from_data)[:, None] * row
    found = torch.stack([_weight_gradient(layer, h, targets) for _ in range(4000)]).numpy()
    error = found.std(0) / 4000**0.5
    assert np.all(np.abs(found.mean(0) - wanted / N) < 5 * error + 1e-12)


def test_with_much_noise_a_normalised_layer_has_the_full_gradient() -> None:
    layer = _layer("nce", 50_000)
    h, targets = _batch_after_seed()
    with torch.no_grad():
        layer.weight.zero_()
        scores = (layer.bias + layer.forbidden).log_softmax(0)
        layer.bias.copy_(torch.where(scores > -torch.inf, scores, 0))
    full = FullSoftmax(layer.weight)
    full.bias = layer.bias
    wanted = _weight_gradient(full, h, targets)
    found = _weight_gradient(layer, h, targets)
    assert float((found - wanted).norm() / wanted.norm()) < 0.03


def test_noise_contrast_tells_an_estimate_of_the_log_probability() -> None:
    layer = _layer("nce", 100_000)
    assert isinstance(layer, NoiseContrastive)
    h, targets = _batch_after_seed()
    mean = -layer.log_probs(h, targets).mean()
    assert float(layer.loss(h, targets).detach()) == pytest.approx(float(mean), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_nets_learn_from_samples(kind: str, tmp_path: Path) -> None:
    text, valid = write_text(tmp_path, 200), write_text(tmp_path, 60, "valid.txt", seed=2)
    model = train_net(
        text, valid=valid, output_layer=kind, samples=4, rate=0.02, batch=4, bptt=6, epochs=3,
        warmup=5, **SMALL,
    )  # fmt: skip
    curve = model.provenance["training"]["curve"]
    best = min(record["valid_perplexity"] for record in curve)
    assert best < 4  # the text has nine words
    assert evaluate(model, valid).perplexity == pytest.approx(best, rel=1e-4)


def test_words_are_drawn_by_their_counts_and_never_the_start() -> None:
    layer = _layer("sampled", 200_000)
    drawn = np.bincount(layer._draw().numpy(), minlength=V) / 200_000
    shares = np.where(np.arange(V) == BOS, 0, COUNTS + 0.5)
    assert np.abs(drawn - shares / shares.sum()).max() < 0.005
    assert drawn[BOS] == 0


def test_samples_must_be_some() -> None:
    with pytest.raises(SettingError, match="samples is 0, allowed are 1 and more"):
        SampledSoftmax(nn.Parameter(torch.zeros(5, 2)), 0)
