"""Packed runs of recurrent layers: our kernels, torch's, and a step at a time agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.tagging.data.batches import Packing, by_length, shuffled
from unrolled.tagging.net.stack import DeepStack, Layer, drop, run, run_unrolled

E, H = 5, 6
LENGTHS = np.array([3, 1, 7, 3, 2])
KINDS = [
    ("elman", "tanh"), ("elman", "relu"), ("elman", "sigmoid"), ("elman", "linear"),
    ("irnn", "relu"), ("lstm", "tanh"), ("gru", "tanh"),
]  # fmt: skip


def _layer(kind: str, nonlinearity: str) -> Layer:
    torch.manual_seed(1)
    layer = Layer(kind, E, H, nonlinearity)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    return layer


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_kernels_and_open_steps_agree_in_values_and_gradients(kind: str, nonlinearity: str) -> None:
    layer, packing = _layer(kind, nonlinearity), Packing(LENGTHS)
    x = torch.randn(int(LENGTHS.sum()), E, requires_grad=True)
    weights = torch.randn(len(x), H)
    for cell, walk in ((layer.left, packing.forward), (layer.right, packing.backward)):
        results = []
        for y in (run([cell], x, [walk])[0], run_unrolled(cell, x, walk)):
            wanted = [x, *cell.parameters()]
            results.append((y, *torch.autograd.grad((y * weights).sum(), wanted)))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_torch_runs_the_same(kind: str, nonlinearity: str) -> None:
    layer, packing = _layer(kind, nonlinearity), Packing(LENGTHS)
    x = torch.randn(int(LENGTHS.sum()), E)
    torch.testing.assert_close(
        layer(x, packing), layer.run_by_torch(x, packing), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_a_sentence_alone_and_in_a_batch_gets_the_same_states(kind: str) -> None:
    torch.manual_seed(2)
    stack = DeepStack(kind, E, H, 3, nonlinearity="tanh", read="all")
    packing = Packing(LENGTHS)
    words = [torch.randn(length, E) for length in LENGTHS]
    rows = torch.empty(int(LENGTHS.sum()), E)
    rows[torch.from_numpy(packing.place)] = torch.cat(words)
    together = stack(rows, packing)[torch.from_numpy(packing.place)]
    for number, own in enumerate(words):
        alone = stack(own, Packing(LENGTHS[number : number + 1]))
        low, high = packing.offsets[number : number + 2]
        torch.testing.assert_close(together[low:high], alone, rtol=1e-4, atol=1e-6)
    assert together.shape[1] == stack.width == 3 * 2 * H


def test_each_layer_reads_both_directions_of_the_one_below() -> None:
    stack = DeepStack("elman", E, H, 2, nonlinearity="tanh", read="last")
    x = torch.randn(4, E, requires_grad=True)
    y = stack(x, Packing(np.array([4])))
    assert stack.width == y.shape[1] == 2 * H
    for direction in (slice(0, H), slice(H, 2 * H)):
        (gradient,) = torch.autograd.grad(y[1, direction].sum(), x, retain_graph=True)
        assert (gradient.abs().sum(1) > 0).all()  # the first layer brings in both sides


def test_no_layers_give_the_rows_back() -> None:
    stack = DeepStack("lstm", E, H, 0, nonlinearity="tanh", read="last")
    x = torch.randn(4, E)
    assert stack.width == E
    assert torch.equal(stack(x, Packing(np.array([4]))), x)


def test_large_sums_saturate_and_do_not_overflow() -> None:
    layer, packing = _layer("lstm", "tanh"), Packing(np.array([3]))
    y = layer(1e6 * torch.ones(3, E), packing)
    assert torch.isfinite(y).all()
    assert y.abs().max() <= 1


def test_packing_puts_every_word_in_a_row_of_its_own() -> None:
    packing = Packing(LENGTHS)
    assert sorted(packing.place.tolist()) == list(range(16))
    number = np.repeat(np.arange(5), LENGTHS)
    assert np.array_equal(packing.sentence[packing.place], number)
    for walk, shift in ((packing.forward, 1), (packing.backward, -1)):
        pairs = dict(zip(walk.later.tolist(), walk.earlier.tolist(), strict=True))
        for word, row in enumerate(packing.place.tolist()):
            neighbour = word - shift
            inside = 0 <= neighbour < 16 and number[neighbour] == number[word]
            assert pairs.get(row) == (packing.place[neighbour] if inside else None)


def test_dropout_takes_the_same_units_of_all_words_of_a_sentence() -> None:
    torch.manual_seed(1)
    packing = Packing(LENGTHS)
    rows = drop(torch.ones(16, 40), packing, 0.5)
    assert set(rows.unique().tolist()) == {0.0, 2.0}
    for number in range(5):
        own = rows[torch.from_numpy(packing.sentence == number)]
        assert (own == own[0]).all()
    assert len({tuple(row) for row in rows.tolist()}) == 5


def test_every_sentence_is_in_one_batch() -> None:
    lengths = np.random.default_rng(1).integers(0, 9, 200)
    wanted = sorted(np.flatnonzero(lengths).tolist())
    batches = list(by_length(lengths, 30))
    assert sorted(np.concatenate(batches).tolist()) == wanted
    assert max(int(lengths[batch].sum()) for batch in batches) <= 30
    passed = list(shuffled(lengths, 7, np.random.default_rng(2)))
    assert sorted(np.concatenate(passed).tolist()) == wanted
    assert max(map(len, passed)) == 7
