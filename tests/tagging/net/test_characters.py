"""Features of characters: our kernels and torch's operations agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from unrolled.runtime import torch_threads
from unrolled.tagging.data.features import Letters
from unrolled.tagging.net.characters import CharacterCNN


def _letters(words: int, borders: int) -> Letters:
    random = np.random.default_rng(words)
    lengths = random.integers(1, 9, words)
    ends = np.cumsum(lengths + borders)
    starts = ends - lengths
    flat = np.zeros(int(ends[-1]) + borders, np.int64)
    for start, end in zip(starts, ends, strict=True):
        flat[start:end] = random.integers(1, 40, end - start)
    return Letters(flat, starts, ends)


@pytest.mark.parametrize(("width", "filters", "window"), [(8, 8, 3), (5, 3, 1), (30, 12, 5)])
@pytest.mark.parametrize("words", [1, 70, 300])
def test_kernels_and_torch_agree_in_values_and_gradients(
    width: int, filters: int, window: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    net, letters = CharacterCNN(40, width, filters, window), _letters(words, window // 2)
    net.bias.data.normal_()
    weights, results = torch.randn(words, filters), []
    expected = net.run_by_torch(letters)
    for threads in (1, 2):
        monkeypatch.setattr(torch_threads, "threads", lambda threads=threads: threads)
        y = net(letters)
        results.append((y, *torch.autograd.grad((y * weights).sum(), list(net.parameters()))))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    exact = (expected, *torch.autograd.grad((expected * weights).sum(), list(net.parameters())))
    for one, other in zip(results[0], exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_word_has_the_same_bits_alone_and_among_others() -> None:
    net, letters = CharacterCNN(40, 30, 100, 3), _letters(300, 1)
    together = net(letters)
    for word in (0, 150, 299):
        low, high = letters.starts[word] - 1, letters.ends[word] + 1
        own = letters.flat[low:high]
        alone = net(Letters(own, np.array([1]), np.array([len(own) - 1])))
        assert torch.equal(alone[0], together[word])


@pytest.mark.parametrize("run", [CharacterCNN.forward, CharacterCNN.run_by_torch])
def test_the_largest_value_has_one_gradient_however_often_it_comes(run: Any) -> None:
    net = CharacterCNN(40, 5, 3, 1)
    y = run(net, Letters(np.array([3, 3, 3, 4]), np.array([0]), np.array([4])))
    (gradient,) = torch.autograd.grad(y.sum(), net.bias)
    assert gradient.tolist() == pytest.approx([1, 1, 1])


def test_what_is_no_number_is_the_largest() -> None:
    net = CharacterCNN(40, 5, 3, 3)
    net.vectors.data[7] = torch.nan
    flat = np.array([0, 3, 7, 4, 0, 5, 6, 0])
    y = net(Letters(flat, np.array([1, 5]), np.array([4, 7])))
    assert y.isnan().all(1).tolist() == [True, False]
