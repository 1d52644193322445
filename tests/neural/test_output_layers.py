"""Output layers: distributions sum to one, losses and gradients are those of the distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.errors import SettingError
from unrolled.neural import output_layers
from unrolled.neural.net import output_layer
from unrolled.neural.output_layers import ClassFactoredSoftmax, OutputLayer
from unrolled.text.vocabulary import BOS
from unrolled.text.word_classes import word_classes

V, E, N = 41, 14, 50  # a vector of eight and six more
RANDOM = np.random.default_rng(5)
COUNTS = RANDOM.integers(0, 90, V)


def _layer(kind: str, by: str = "frequency", classes: int = 7) -> OutputLayer:
    torch.manual_seed(1)
    class_of = word_classes(COUNTS, classes, by=by, ids=RANDOM.integers(0, V, 500))
    layer = output_layer(kind, nn.Parameter(torch.randn(V, E)), class_of).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    targets = torch.randint(2, V, (N,))
    targets[::7] = 0
    return torch.randn(N, E, dtype=torch.float64, requires_grad=True), targets


LAYERS = [(kind, "frequency", 7) for kind in ("classes", "full", "adaptive")] + [
    ("classes", "sqrt-frequency", 5), ("classes", "bigrams", 6), ("classes", "frequency", 1),
    ("classes", "sqrt-frequency", 39),
]  # fmt: skip


@pytest.mark.parametrize("given", LAYERS)
def test_distributions_sum_to_one_and_losses_follow_them(given: tuple[str, str, int]) -> None:
    layer = _layer(*given)
    h, targets = _batch()
    whole = layer.distribution(h)
    assert whole.shape == (N, V)
    assert torch.all(whole[:, BOS] == -torch.inf)
    torch.testing.assert_close(whole.exp().sum(1), torch.ones(N).double(), rtol=0, atol=1e-9)
    chosen = whole[range(N), targets]
    torch.testing.assert_close(layer.log_probs(h, targets), chosen.detach())
    torch.testing.assert_close(layer.loss(h, targets), -chosen.mean())
    with torch.no_grad():
        expected = torch.special.entr(whole.exp()).sum(1)
        torch.testing.assert_close(layer.entropies(h), expected, rtol=1e-5, atol=1e-5)
        assert layer.entropies(h[:0]).shape == (0,)


@pytest.mark.parametrize("given", LAYERS)
def test_gradients_are_those_of_the_distribution(given: tuple[str, str, int]) -> None:
    layer = _layer(*given)
    h, targets = _batch()
    wanted = [h, *layer.parameters()]
    mine = torch.autograd.grad(3 * layer.loss(h, targets), wanted)
    plain = torch.autograd.grad(-3 * layer.distribution(h)[range(N), targets].mean(), wanted)
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("classes", [1, 7, 39])
def test_single_precision_gives_the_same_gradients(classes: int) -> None:
    layer = _layer("classes", classes=classes)
    h, targets = _batch()
    wanted = torch.autograd.grad(layer.loss(h, targets), [h, *layer.parameters()])
    layer.float()
    single = h.detach().float().requires_grad_()
    found = torch.autograd.grad(layer.loss(single, targets), [single, *layer.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [5, 16, 40, 47, 48, 55])
def test_vectors_of_any_width_have_the_same_gradients(width: int, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    class_of = word_classes(COUNTS, 4, by="frequency")
    layer = output_layer("classes", nn.Parameter(torch.randn(V, width)), class_of).to(dtype)
    h, targets = torch.randn(N, width, dtype=dtype, requires_grad=True), _batch()[1]
    wanted = [h, *layer.parameters()]
    found = torch.autograd.grad(layer.loss(h, targets), wanted)
    plain = torch.autograd.grad(-layer.distribution(h)[range(N), targets].mean(), wanted)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("small", [0, output_layers._SMALL])
@pytest.mark.parametrize("tokens", [0, 1, 3, N])
def test_tokens_of_a_few_classes_are_shared_out(
    monkeypatch: pytest.MonkeyPatch, small: int, tokens: int
) -> None:
    monkeypatch.setattr(output_layers, "_SMALL", small)
    monkeypatch.setattr(output_layers, "_WORTH_A_SHARE", 1)
    layer = _layer("classes")
    h, targets = (part[:tokens] for part in _batch())
    wanted = [h, *layer.parameters()]
    assert torch.isfinite(layer.log_probs(h, targets)).all()
    if tokens:
        found = torch.autograd.grad(layer.loss(h, targets), wanted)
        mean = -layer.distribution(h)[range(tokens), targets].mean()
        for one, other in zip(found, torch.autograd.grad(mean, wanted), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("which", ["outputs", "weights"])
def test_gradients_may_be_wanted_of_a_part_alone(which: str) -> None:
    layer = _layer("classes")
    h, targets = _batch()
    parameters = [*layer.parameters()]
    whole = torch.autograd.grad(layer.loss(h, targets), [h, *parameters])
    if which == "outputs":
        found = torch.autograd.grad(layer.requires_grad_(False).loss(h, targets), h)
        assert torch.equal(found[0], whole[0])
        return
    found = torch.autograd.grad(layer.loss(h.detach(), targets), parameters)
    for one, other in zip(found, whole[1:], strict=True):
        assert torch.equal(one, other)


def test_what_a_second_backward_would_get_wrong_is_refused() -> None:
    layer = _layer("classes")
    h, targets = _batch()
    (gradient,) = torch.autograd.grad(layer.loss(h, targets) ** 2, h, create_graph=True)
    with pytest.raises(RuntimeError, match="marked with @once_diff"):
        gradient.square().sum().backward()
    loss = layer.loss(h, targets)
    loss.backward(retain_graph=True)
    with torch.no_grad():
        layer.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward(retain_graph=True)
    loss = layer.loss(h, targets)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def test_words_of_classes_without_a_token_have_no_gradient() -> None:
    layer = _layer("classes")
    assert isinstance(layer, ClassFactoredSoftmax)
    h, targets = _batch()
    layer.loss(h, torch.full_like(targets, 4)).backward()
    others = layer.class_of != layer.class_of[4]
    assert torch.count_nonzero(layer.weight.grad[others]) == 0
    assert torch.count_nonzero(layer.weight.grad[~others]) > 0


def test_gradients_of_the_class_kernel_agree_with_finite_differences() -> None:
    layer = _layer("classes")
    h, targets = _batch()

    def loss(outputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        layer.weight.data = weight.data
        return layer.loss(outputs, targets)

    (gradient,) = torch.autograd.grad(layer.loss(h, targets), layer.weight)
    step = 1e-6
    for word, unit in [(0, 0), (5, 3), (int(targets[3]), 2)]:
        changed = layer.weight.detach().clone()
        values = []
        for sign in (1, -1):
            moved = changed.clone()
            moved[word, unit] += sign * step
            values.append(float(loss(h, moved).detach()))
        layer.weight.data = changed
        numeric = (values[0] - values[1]) / (2 * step)
        assert float(gradient[word, unit]) == pytest.approx(numeric, rel=1e-4, abs=1e-6)
    assert torch.autograd.gradcheck(lambda x: layer.loss(x, targets), (h,))


def test_masking_as_on_a_gpu_gives_what_the_kernel_gives() -> None:
    layer = _layer("classes")
    assert isinstance(layer, ClassFactoredSoftmax)
    h, targets = _batch()
    classes = layer.class_of[targets]
    scores = layer.distribution(h)[range(N), targets]
    of_class = torch.log_softmax(layer._class_scores(h), -1)[range(N), classes]
    masked = layer._masked(h, targets, classes, "none")
    torch.testing.assert_close(of_class - masked, scores)


def test_threads_share_the_classes_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = _layer("classes")
    assert isinstance(layer, ClassFactoredSoftmax)
    h, targets = _batch()
    found = []
    monkeypatch.setattr(output_layers, "_WORTH_A_SHARE", 1)
    for threads in (1, 2, 5):
        monkeypatch.setattr(output_layers, "_MOST_SHARES", threads)
        monkeypatch.setattr(output_layers, "threads", lambda threads=threads: threads)
        found.append(torch.autograd.grad(layer.loss(h, targets), [h, layer.weight]))
    for one, other in zip(found[0], found[1], strict=True):
        assert torch.equal(one, other)
    for one, other in zip(found[0], found[2], strict=True):
        assert torch.equal(one, other)


def test_unknown_outputs_are_refused() -> None:
    with pytest.raises(SettingError, match="'softmax' is unknown, allowed are classes, full"):
        output_layer("softmax", nn.Parameter(torch.zeros(5, 2)), None)


@pytest.mark.parametrize("kind", ["classes", "full"])
def test_training_begins_at_the_unigram_probabilities(kind: str) -> None:
    layer = _layer(kind)
    counts = np.arange(V)
    counts[BOS] = 0
    layer.init_unigram_bias(counts)
    with torch.no_grad():
        found = layer.distribution(torch.zeros(1, E).double())[0].exp().numpy()
    wanted = (counts + 0.5) / (counts + 0.5).sum()
    assert np.abs(found - wanted).max() < 0.003  # <s> has half a count and no probability
