"""Taggers on another device than the CPU: all of it is there, and learns the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stand_in_device import DEVICE, Seen, stand_in
from tagging.small_taggers import SMALL, sentences
from unrolled.errors import SettingError
from unrolled.tagging.data.batches import Packing
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.model import Tagger
from unrolled.tagging.net.stack import DeepStack
from unrolled.tagging.training import train_tagger

TRAIN, VALID = sentences(16), sentences(8, seed=3)
# What may happen to numbers on the CPU: they are drawn there before they move, put there from
# arrays, looked at once they are back; and torch's optimisers count their steps there.
ON_CPU = {
    "aten::_local_scalar_dense", "aten::add_", "aten::detach", "aten::fill_", "aten::lift_fresh",
    "aten::select", "aten::slice", "aten::uniform_",
}  # fmt: skip


def _trained(device: torch.device | str, settings: dict[str, Any]) -> Tagger:
    return train_tagger(
        TRAIN,
        valid=VALID,
        device=device,
        **{**SMALL, "epochs": 2, "dropout_input": 0.2, **settings},
    )


def _same(one: Tagger, other: Tagger) -> None:
    """All but a few parameters are: Adam makes much of a gradient that is nothing but rounding."""
    pairs = zip(one.net.named_parameters(), other.net.named_parameters(), strict=True)
    tables = [(name, p.detach().numpy(), q.detach().numpy()) for (name, p), (_, q) in pairs]
    for name, first, second in (*tables, ("words", one.vectors.trained, other.vectors.trained)):
        apart = np.abs(first - second) > 1e-5 + 1e-4 * np.abs(second)
        assert apart.mean() <= 0.02, f"{name}: {apart.sum()} of {apart.size}"


@pytest.mark.parametrize("settings", [
    {"layers": 2, "dropout_layers": 0.2, "dropout_output": 0.2},
    {"cell": "elman", "nonlinearity": "relu", "output_layer": "softmax",
     "label_weights": {"O": 0.6}},
    {"cell": "elman", "nonlinearity": "sigmoid", "output_from": "all", "layers": 2},
    {"cell": "gru", "characters": "rnn", "columns": (0, 1), "averaging": 1},
    {"layers": 0, "columns": (0,), "column_window": 1, "optimiser": "sgd", "momentum": 0.9,
     "rate": 0.1},
    {"pooling": "max", "clip_norm": 0.01},
])  # fmt: skip
def test_training_is_all_on_the_device_and_gives_the_same_tagger(settings: dict[str, Any]) -> None:
    wanted = _trained("cpu", settings)
    with stand_in() as seen:
        tagger = _trained(DEVICE, settings)
        assert tagger.device == DEVICE
        found = tagger.tag(VALID)
        tagger.to("cpu")
    assert seen.on_cpu <= ON_CPU
    _same(tagger, wanted)
    scores = [[record["score"] for record in each.settings["curve"]] for each in (tagger, wanted)]
    assert scores[0] == scores[1]
    assert [each.tags for each in found] == [each.tags for each in wanted.tag(VALID)]


def test_vectors_of_a_file_stay_as_they_are_where_they_are_frozen(tmp_path: Path) -> None:
    words = sorted({word for sentence in TRAIN for word in sentence.words})
    rows = [f"{word} {0.1 * rank:.1f} {1 - 0.1 * rank:.1f}" for rank, word in enumerate(words)]
    (tmp_path / "v.txt").write_text("\n".join(rows[:-2]) + "\n")
    for frozen in (True, False):
        settings = {
            "vectors": str(tmp_path / "v.txt"),
            "freeze_vectors": frozen,
            "word_dropout": 1.0,
        }
        wanted = _trained("cpu", settings)
        with stand_in():
            tagger = _trained(DEVICE, settings).to("cpu")
        _same(tagger, wanted)


def test_a_tagger_tags_and_is_saved_where_it_is(tmp_path: Path) -> None:
    tagger = _trained("cpu", {"epochs": 4})
    wanted = tagger.tag(VALID)
    tagger.save(tmp_path / "t.safetensors")
    with stand_in() as seen:
        there = Tagger.load(tmp_path / "t.safetensors").to(DEVICE)
        found = there.tag(VALID)
        few = there.n_best(VALID[0].words, 3)
        there.save(tmp_path / "again.safetensors")
    assert {"aten::addmm", "aten::_to_copy"} & seen.on_device
    for one, other in zip(found, wanted, strict=True):
        assert one.tags == other.tags
        np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-5)
    assert few[0][1] == list(wanted[0].tags)
    assert Tagger.load(tmp_path / "again.safetensors").tag(VALID) == wanted


def test_a_language_model_goes_along(tmp_path: Path) -> None:
    from unrolled.neural.training import train_net

    text = tmp_path / "text.txt"
    text.write_text("\n".join(" ".join(sentence.words) for sentence in TRAIN) + "\n")
    train_net(str(text), hidden=8, classes=3, epochs=1, batch=4, threads=1).save(
        tmp_path / "lm.safetensors"
    )
    settings = {"language_model": str(tmp_path / "lm.safetensors")}
    wanted = _trained("cpu", settings)
    with stand_in():
        tagger = _trained(DEVICE, settings)
        assert tagger.language is not None
        assert tagger.language.model.net.vectors.device == DEVICE
        tagger.to("cpu")
    _same(tagger, wanted)


def test_a_tensor_left_on_the_cpu_is_found() -> None:
    """The stand-in itself: each of these would fail on a GPU."""
    with stand_in():
        there = torch.ones(3, 2).to(DEVICE)
        for mistake in (
            lambda: there + torch.ones(3, 2),
            lambda: there.index_select(0, torch.tensor([1])),
            lambda: there.new_zeros(3, 2).copy_(there).add_(torch.zeros(2)),
            lambda: torch.cat([there, torch.ones(1, 2)]),
        ):
            with pytest.raises(AssertionError, match="has a tensor of the CPU"):
                mistake()
        with pytest.raises((TypeError, RuntimeError, NotImplementedError)):
            there.numpy()


def test_the_stand_in_sees_what_is_done_on_the_cpu() -> None:
    stack = DeepStack("lstm", 4, 3, 1, nonlinearity="tanh", read="last")
    with Seen() as seen:
        stack(torch.randn(5, 4), Packing(np.array([2, 3])))
    assert "aten::addmm" in seen.on_cpu - ON_CPU


def test_without_a_gpu_none_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    one = TaggedSentence(("Ann", "ran"), ("B-PER", "O"))
    with pytest.raises(SettingError, match="torch finds no GPU"):
        train_tagger([one], device="cuda", **SMALL)
    tagger = train_tagger([one], device="auto", **{**SMALL, "epochs": 1})
    assert tagger.device.type == "cpu"
    with pytest.raises(SettingError, match="the device is 'tpu'"):
        tagger.to("tpu")
