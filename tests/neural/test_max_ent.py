"""Hashed n-gram features beside a net: exact, learned as Adagrad would, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from small_nets import SMALL, small_model, write_text
from unrolled.errors import SettingError
from unrolled.integrations.net_onnx import _log_probs
from unrolled.language_models.evaluation import evaluate
from unrolled.neural.config import NetConfig, split_settings
from unrolled.neural.continuous_cache import ContinuousCacheModel
from unrolled.neural.max_ent import MaxEnt, SparseAdagrad
from unrolled.neural.model import NeuralModel
from unrolled.neural.task import LanguageModelTask
from unrolled.neural.training import train_net
from unrolled.storage.model_file import read_model
from unrolled.text.corpus import read_corpus
from unrolled.text.vocabulary import BOS, EOS
from unrolled.training.distributed import Group

IDS = np.array([1, 3, 4, 6, 2, 1, 5, 0, 2, 1, 2], np.int32)
NETS: list[dict[str, Any]] = [
    {"cell": "lstm", "maxent_size": 40},
    {"cell": "gru", "maxent_size": 500, "output_layer": "full", "maxent_order": 4},
    {"cell": "feed-forward", "maxent_size": 1000, "maxent_order": 1, "embedding": 5},
    {"cell": "elman", "maxent_size": 100, "maxent_order": 2, "reset_state_per_sentence": True},
]
QUICK: dict[str, Any] = {
    **SMALL,
    "batch": 4,
    "bptt": 6,
    "epochs": 2,
    "warmup": 5,
    "maxent_size": 5000,
}


def _model(**settings: Any) -> NeuralModel:
    model = small_model(**settings)
    assert model.net.output.max_ent is not None
    assert model.net.output.max_ent.table.abs().sum() > 0
    return model


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("settings", NETS)
def test_scores_are_those_of_stepping_and_sum_to_one(
    settings: dict[str, Any], running: bool
) -> None:
    model = _model(**settings)
    scores = model.text_log_probs(IDS) if running else model.log_probs(IDS)
    state: Any = None
    for word, score in zip(IDS.tolist(), scores.tolist(), strict=True):
        if word == BOS:
            carried = (
                running and state is not None and not model.net.config.reset_state_per_sentence
            )
            state = model.advance(state, BOS) if carried else model.start()
            continue
        whole = model.next_log_probs(state)
        assert np.exp(whole).sum() == pytest.approx(1, abs=1e-5)
        assert whole[BOS] == -np.inf
        assert score == pytest.approx(whole[word], abs=1e-5)
        if word != EOS:
            state = model.advance(state, word)


@pytest.mark.parametrize("settings", NETS)
def test_a_model_comes_back_from_its_file(settings: dict[str, Any], tmp_path: Path) -> None:
    model = _model(**settings)
    model.save(tmp_path / "net.safetensors")
    again = unrolled.load(tmp_path / "net.safetensors")
    assert np.array_equal(again.log_probs(IDS), model.log_probs(IDS))


def test_features_are_of_the_last_words_and_end_at_the_sentence() -> None:
    max_ent = MaxEnt(10_000, 4, 20)
    contexts = torch.tensor([
        [5, 6, 7], [9, 6, 7], [6, 9, 7], [5, BOS, 7], [8, BOS, 7], [-1, 6, 7], [5, 6, BOS]
    ])  # fmt: skip
    starts = max_ent.starts(contexts, -1, 20)
    assert starts.shape == (7, 4)
    assert starts.max() <= 10_000 - 20
    assert len(set(starts[:, 0].tolist())) == 1
    assert len(set(starts[:6, 1].tolist())) == 1
    assert starts[0, 2] == starts[1, 2] == starts[5, 2] != starts[2, 2]
    assert len(set(starts[:3, 3].tolist())) == 3
    # <s> is seen itself, but nothing before it, nor before the beginning.
    assert torch.equal(starts[3], starts[4])
    assert (starts < 0).tolist() == [
        *[[False] * 4] * 3, *[[False] * 3 + [True]] * 3, [False] * 2 + [True] * 2
    ]  # fmt: skip
    other = max_ent.starts(contexts, torch.arange(7), torch.tensor([3] * 7))
    assert not torch.any((other == starts) & (other >= 0))


def _task(path: str, **settings: Any) -> LanguageModelTask:
    return LanguageModelTask(read_corpus(path), None, *split_settings({**QUICK, **settings}))


@pytest.mark.parametrize("output", ["classes", "full"])
def test_gradients_of_the_table_agree_with_finite_differences(output: str, tmp_path: Path) -> None:
    task = _task(write_text(tmp_path, 10), maxent_size=60, output_layer=output)
    task.net.double()
    max_ent = task.net.output.max_ent
    assert max_ent is not None
    max_ent.table.data.normal_(std=0.3)
    batch = next(task.batches(0))
    task.state = task.net.begin(batch.inputs.shape[1])
    adagrad = SparseAdagrad(max_ent)
    (3 * task.loss(batch)[0]).backward()
    gradient = adagrad.gradient()
    table = max_ent.table.data
    for place in [*range(0, 60, 7), int(gradient.abs().argmax())]:
        kept, values = float(table[place]), []
        for sign in (1, -1):
            table[place] = kept + sign * 1e-5
            values.append(3 * float(task.loss(batch)[0].detach()))
        table[place] = kept
        numeric = (values[0] - values[1]) / 2e-5
        assert float(gradient[place]) == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def test_steps_of_the_table_are_those_of_dense_adagrad(tmp_path: Path) -> None:
    task = _task(write_text(tmp_path, 40), maxent_size=60)
    max_ent, mine = task.net.output.max_ent, task.max_ent
    assert max_ent is not None
    assert mine is not None
    dense = max_ent.table.detach().clone().requires_grad_()
    optimiser = torch.optim.Adagrad([dense], lr=0.3, initial_accumulator_value=1, eps=0)
    for number, batch in zip(range(4), task.batches(0), strict=False):
        if batch.fresh:
            task.state = task.net.begin(batch.inputs.shape[1])
        loss, task.state, count = task.loss(batch)
        loss.backward()
        task.state = tuple(part.detach() for part in task.state)
        dense.grad = SparseAdagrad(max_ent).gradient(count)
        optimiser.step()
        mine.step(0.3, count, Group())
        assert not mine._gradient.any()
        assert not max_ent.pending
        torch.testing.assert_close(max_ent.table, dense.detach()), number
    assert max_ent.table.abs().max() > 0.1


def test_features_help_a_tiny_net_to_learn_faster(tmp_path: Path) -> None:
    text, valid = write_text(tmp_path, 100), write_text(tmp_path, 60, "valid.txt", seed=2)
    found = {}
    for direct in (0, 5000):
        model = train_net(
            text, valid=valid, threads=1, **{**QUICK, "hidden": 3, "maxent_size": direct}
        )
        found[direct] = model.provenance["training"]["curve"][0]["valid_perplexity"]
        assert evaluate(model, valid).perplexity <= found[direct] * 1.001
    assert found[5000] < 0.8 * found[0]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resuming_leads_to_the_same_bits(accumulate: int, tmp_path: Path) -> None:
    path, kept = write_text(tmp_path, 60), tmp_path / "training.checkpoint"
    given = {**QUICK, "accumulate": accumulate, "threads": 1}
    whole = train_net(path, **given)

    class StoppedError(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("epoch   2"):
            raise StoppedError

    with pytest.raises(StoppedError):
        train_net(path, checkpoint=kept, report=stop, **given)
    assert read_model(kept).config["place"]["epoch"] == 1
    again = train_net(path, checkpoint=kept, resume=True, **given)
    for one, other in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_cache_over_outputs_leaves_the_words_out() -> None:
    model = _model(maxent_size=60)
    plain, cached = model.text_log_probs(IDS), ContinuousCacheModel(model, weight=0.0)
    np.testing.assert_allclose(cached.text_log_probs(IDS), plain, atol=1e-5)
    cached = ContinuousCacheModel(model, weight=0.3)
    state = cached.advance(cached.advance(cached.start(), 4), 5)
    assert np.exp(cached.next_log_probs(state)).sum() == pytest.approx(1, abs=1e-5)
    assert state[1][0].shape == (2, 12)


def test_no_features_on_gpus_nor_in_onnx(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"\(maxent_size\) are trained on CPUs only. Use --dev"):
        train_net(write_text(tmp_path, 10), device=torch.device("meta"), **QUICK)
    with pytest.raises(SettingError, match=r"\(maxent_size\) cannot be written as ONNX"):
        _log_probs(None, _model(maxent_size=60).net.output, "h")  # type: ignore[arg-type]


def test_evaluation_keeps_no_errors() -> None:
    model = _model(maxent_size=60)
    h, _ = model.net(torch.tensor([[4], [5]]), model.net.begin(1))
    model.net.output.loss(h[:, 0], torch.tensor([5, 2])).backward()
    assert model.net.output.max_ent is not None
    assert not model.net.output.max_ent.pending


@pytest.mark.parametrize(("settings", "message"), [
    ({"maxent_size": -1}, "maxent_size is -1, allowed are 0 and more"),
    ({"maxent_size": 99, "output_layer": "adaptive"}, "'adaptive', but only classes and full have"),
])  # fmt: skip
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        NetConfig(**settings)


def test_tables_that_cannot_be() -> None:
    with pytest.raises(
        SettingError, match="maxent_size is 9, allowed are 0 and numbers from 10, the w"
    ):
        MaxEnt(9, 3, 10)
    with pytest.raises(SettingError, match="maxent_order is 0, allowed are 1 to 64"):
        MaxEnt(10, 0, 10)
    with pytest.raises(SettingError, match="maxent_lr is 0, allowed are numbers above 0"):
        split_settings({"maxent_lr": 0})
