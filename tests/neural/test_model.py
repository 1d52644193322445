"""Nets as language models: the protocol holds, files come back, damage is told."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from small_nets import small_model
from unrolled.errors import FormatError, SettingError
from unrolled.language_models.evaluation import evaluate
from unrolled.language_models.generation import predict
from unrolled.language_models.mixture import Mixture
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.scoring import score_sentences, surprisals
from unrolled.neural.config import NetConfig
from unrolled.neural.model import NeuralModel
from unrolled.neural.net import build_net
from unrolled.storage.model_file import read_model, write_model
from unrolled.text.vocabulary import BOS, EOS

NETS: list[dict[str, Any]] = [
    {"cell": "lstm"},
    {"cell": "gru", "output_layer": "full"},
    {"cell": "elman", "nonlinearity": "sigmoid", "output_layer": "adaptive"},
    {"cell": "irnn", "learn_initial_state": True},
    {"cell": "lstm", "layers": 3, "residual": True, "embedding": 7},
    {"cell": "gru", "layers": 2, "tied": False, "reset_state_per_sentence": True},
    {"cell": "feed-forward", "order": 4},
    {"cell": "feed-forward", "order": 2},
]
IDS = np.array([1, 3, 4, 6, 2, 1, 5, 0, 2, 1, 2], np.int32)


def test_info_counts_the_classes_that_there_are() -> None:
    model = small_model(cell="elman")
    assert model.net.class_of is not None
    assert model.info()["classes"] == len(set(model.net.class_of.tolist()))
    assert "classes" not in small_model(cell="gru", output_layer="full").info()


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("settings", NETS)
def test_scores_are_those_of_stepping_word_by_word(settings: dict[str, Any], running: bool) -> None:
    model = small_model(**settings)
    scores = model.text_log_probs(IDS) if running else model.log_probs(IDS)
    state: Any = None
    for place, (word, score) in enumerate(zip(IDS.tolist(), scores.tolist(), strict=True)):
        if word == BOS:
            assert score == 0
            carried = (
                running and state is not None and not model.net.config.reset_state_per_sentence
            )
            state = model.advance(state, BOS) if carried else model.start()
            continue
        whole = model.next_log_probs(state)
        assert whole.shape == (len(model.vocabulary),)
        assert np.exp(whole).sum() == pytest.approx(1, abs=1e-5)
        assert whole[BOS] == -np.inf
        assert score == pytest.approx(whole[word], abs=1e-5), place
        if word != EOS:
            state = model.advance(state, word)


STARTS: list[dict[str, Any]] = [
    {"cell": "gru", "recurrent_init": "radius", "recurrent_init_scale": 0.5},
    {"cell": "lstm", "recurrent_init": "sparse", "output_layer": "sampled"},
    {"cell": "elman", "recurrent_init": "orthogonal", "output_layer": "nce", "maxent_size": 0},
    {"cell": "irnn", "recurrent_init": "identity", "maxent_size": 60, "tied": False},
]


@pytest.mark.parametrize("settings", NETS + STARTS)
def test_a_model_comes_back_from_its_file(settings: dict[str, Any], tmp_path: Path) -> None:
    model = small_model(**settings)
    model.save(tmp_path / "net.safetensors")
    again = unrolled.load(tmp_path / "net.safetensors")
    assert isinstance(again, NeuralModel)
    assert np.array_equal(again.log_probs(IDS), model.log_probs(IDS))
    assert again.name == model.name
    assert again.net.config == model.net.config
    for of in (torch.nn.Module.named_parameters, torch.nn.Module.named_buffers):
        ours, theirs = dict(of(model.net)), dict(of(again.net))
        assert list(ours) == list(theirs)  # tied ones are still tied
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), name
            assert tensor.requires_grad == theirs[name].requires_grad
    copy = pickle.loads(pickle.dumps(again))
    assert np.array_equal(copy.log_probs(IDS), model.log_probs(IDS))


def test_an_advanced_state_leaves_the_one_before_as_it_was() -> None:
    model = small_model()
    state = model.start()
    before = model.next_log_probs(state).copy()
    model.advance(state, 4)
    assert np.array_equal(model.next_log_probs(state), before)


def test_a_long_text_scored_side_by_side_differs_only_at_the_seams() -> None:
    model = small_model(cell="elman")
    ids = np.tile(IDS, 1000)
    scores = model.text_log_probs(ids)
    parts = ids[:4000], ids[4000:]
    alone = np.concatenate([model.text_log_probs(part) for part in parts])
    assert np.mean(np.abs(scores - alone) > 1e-4) < 0.05


def test_what_is_written_once_for_all_models_works(tmp_path: Path) -> None:
    model = small_model(reset_state_per_sentence=True)
    sentences = ["the cat sat", "", "dog unheard-of"]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(sentences) + "\n")
    result = evaluate(model, str(text))
    assert result.tokens == 8
    assert result.oov == 1
    assert result.log_prob == pytest.approx(score_sentences(model, sentences).sum(), rel=1e-5)
    assert model.score("the cat sat") == pytest.approx(score_sentences(model, sentences)[0])
    best = predict(model, "the", 20)
    assert sum(probability for _, probability in best) == pytest.approx(1, abs=1e-5)


def test_ids_outside_the_vocabulary_are_unknown_words() -> None:
    model = small_model()
    strange = np.array([1, 99, -5, 2], np.int32)
    assert np.array_equal(model.log_probs(strange), model.log_probs(np.array([1, 0, 0, 2])))
    for nothing in (np.zeros(0, np.int32), np.array([1], np.int32)):
        assert not model.log_probs(nothing).any()
        assert not model.text_log_probs(nothing).any()


def test_files_with_former_names_of_settings_load(tmp_path: Path) -> None:
    model = small_model(
        output_layer="full", maxent_size=60, learn_initial_state=True, reset_state_per_sentence=True
    )
    contents = model.contents()
    former = {
        "output_layer": "output", "maxent_size": "direct", "maxent_order": "direct_order",
        "dropout_recurrent": "dropout_state", "learn_initial_state": "learned_start",
        "recurrent_init": "recurrent_start", "recurrent_init_scale": "recurrent_scale",
        "reset_state_per_sentence": "independent",
    }  # fmt: skip
    config = {former.get(name, name): value for name, value in contents["config"].items()}
    assert set(former.values()) <= set(config)
    write_model(tmp_path / "net.safetensors", **{**contents, "config": config})
    loaded = unrolled.load(tmp_path / "net.safetensors")
    assert loaded.net.config == model.net.config
    assert loaded.config == model.config
    assert np.array_equal(loaded.log_probs(IDS), model.log_probs(IDS))


DAMAGE: list[tuple[str, Any, str]] = [
    ("class_of", lambda array: array[:-1], "classes of the words are damaged"),
    ("class_of", lambda array: array + 1, "classes of the words are damaged"),
    ("net.vectors", lambda array: array[:, :3], r"float32 of shape \(11, 12\) is needed"),
    ("net.vectors", None, "array 'net.vectors' is missing"),
    ("net.output.bias", lambda array: array.astype(np.float64), "it is float64"),
]


@pytest.mark.parametrize(("name", "change", "message"), DAMAGE)
def test_damaged_files_are_refused(name: str, change: Any, message: str, tmp_path: Path) -> None:
    small_model().save(tmp_path / "net.safetensors")
    file = read_model(tmp_path / "net.safetensors")
    arrays = dict(file.arrays)
    array = np.array(arrays.pop(name))
    if change is not None:
        arrays[name] = change(array)
    broken = tmp_path / "broken.safetensors"
    write_model(broken, kind="net", config=file.config, arrays=arrays)
    with pytest.raises(FormatError, match=message):
        unrolled.load(broken)


def test_settings_of_another_version_are_refused(tmp_path: Path) -> None:
    small_model().save(tmp_path / "net.safetensors")
    file = read_model(tmp_path / "net.safetensors")
    for change in ({"cell": "transformer"}, {"hidden": "many"}, {"hidden": 0}):
        write_model(
            tmp_path / "b.safetensors", kind="net", config={**file.config, **change},
            arrays=file.arrays,
        )  # fmt: skip
        with pytest.raises(FormatError, match="settings are not understood"):
            unrolled.load(tmp_path / "b.safetensors")


REFUSED = [
    ({"cell": "rnn"}, "cell is 'rnn'"), ({"hidden": 0}, "hidden is 0"),
    ({"order": 1}, "order is 1"), ({"dropout_input": 1.0}, "dropout_input is 1.0"),
    ({"layers": -1}, "layers is -1"), ({"embedding": -1}, "embedding is -1"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        NetConfig(**settings)


def test_tied_vectors_are_stored_once() -> None:
    sizes = {}
    for tied in (True, False):
        model = small_model(tied=tied)
        sizes[tied] = model.parameters
        names = [name for name, _ in model.net.named_parameters()]
        assert len(names) == len(set(names))
    assert sizes[False] - sizes[True] == 11 * 12


def test_dropout_takes_the_same_units_at_all_steps() -> None:
    net = small_model(dropout_output=0.5).net.train()
    outputs, _ = net(torch.full((9, 5), 4), net.begin(5))
    zero = outputs == 0
    assert 0 < zero.float().mean() < 1
    assert torch.all(zero == zero[0])
    assert not torch.all(zero[:, 0] == zero[:, 1])


def test_dropped_words_are_dropped_wherever_they_come() -> None:
    net = small_model(dropout_words=0.5).net.train()
    words = torch.tensor([[4, 5, 6, 7], [7, 6, 5, 4], [4, 4, 5, 5]])
    for _ in range(20):
        x = net._word_dropout(torch.ones(3, 4, 12), words)
        values = {int(word): x[words == word].unique().tolist() for word in words.unique()}
        assert all(found in ([0.0], [2.0]) for found in values.values())
        if len({tuple(found) for found in values.values()}) == 2:
            break
    else:
        pytest.fail("all words were dropped, or none")
    assert torch.equal(net.eval()._word_dropout(x, words), x)


def test_names_tell_cell_and_sizes() -> None:
    names = [small_model(**settings).name for settings in NETS]
    assert names[0] == "lstm-12"
    assert names[4] == "lstm-12x3"
    assert all(one != other for one, other in itertools.pairwise(names[:5]))


@pytest.mark.parametrize("settings", NETS)
def test_whole_distributions_are_those_of_stepping(settings: dict[str, Any]) -> None:
    model = small_model(**settings)
    rows = np.concatenate(list(model.all_log_probs(IDS)))
    assert rows.shape == (IDS.size, len(model.vocabulary))
    stepped = np.concatenate(list(LanguageModel.all_log_probs(model, IDS)))
    np.testing.assert_allclose(rows, stepped, atol=1e-5)


def test_a_mixture_with_a_net_is_saved_and_comes_back(tmp_path: Path) -> None:
    models = [small_model(), small_model(cell="gru", output_layer="full")]
    mixture = Mixture(models, np.array([0.25, 0.75]))
    mixture.save(tmp_path / "mixture.safetensors")
    again = unrolled.load(tmp_path / "mixture.safetensors")
    parts = [np.exp(model.log_probs(IDS).astype(np.float64)) for model in models]
    wanted = np.where(IDS == BOS, 0, np.log(0.25 * parts[0] + 0.75 * parts[1]))
    np.testing.assert_allclose(again.log_probs(IDS), wanted, atol=1e-5)
    np.testing.assert_allclose(mixture.log_probs(IDS), wanted, atol=1e-5)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
def test_recurrent_weights_begin_as_they_are_told(cell: str) -> None:
    config = NetConfig(
        cell=cell, hidden=6, layers=2, output_layer="full", recurrent_init="orthogonal"
    )
    net = build_net(config, 9)
    for layer in net.layers:
        for block in layer.state_weight.detach().split(6):
            torch.testing.assert_close(block @ block.T, torch.eye(6))
    scaled = dataclasses.replace(config, recurrent_init="identity", recurrent_init_scale=0.9)
    for block in build_net(scaled, 9).layers[0].state_weight.detach().split(6):
        torch.testing.assert_close(block, 0.9 * torch.eye(6))
    plain = build_net(NetConfig(cell=cell, hidden=6, output_layer="full"), 9)
    block = plain.layers[0].state_weight.detach()[:6]
    assert not torch.allclose(block @ block.T, torch.eye(6), atol=0.1)


@pytest.mark.parametrize(
    ("nonlinearity", "fading"), [("tanh", True), ("relu", True), ("sigmoid", False)]
)
def test_elman_nets_begin_as_a_fading_memory(nonlinearity: str, fading: bool) -> None:
    config = NetConfig(
        cell="elman", nonlinearity=nonlinearity, hidden=6, layers=2, output_layer="full"
    )
    for layer in build_net(config, 9).layers:
        begun = torch.equal(layer.state_weight.detach(), torch.tensor(0.9) * torch.eye(6))
        assert begun == fading


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 20_000}, r"float32 of shape \(11, 20000\) is needed"),
        ({"hidden": 10**30}, "allowed|make no net"),
        ({"hidden": 2**63}, "allowed|make no net"),
        ({"hidden": 12.0}, "allowed|make no net"),
        ({"layers": 10**6}, "ask for 1,000,000 layers, and the file has"),
        ({"embedding": 1e300}, "allowed|make no net"),
        ({"maxent_size": 10**12}, "'net.output.max_ent.table' is missing"),
    ],
)
def test_sizes_are_held_against_the_arrays_before_anything_is_allocated(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    contents = small_model().contents()
    contents["config"] |= settings
    write_model(tmp_path / "odd.safetensors", **contents)
    began = time.monotonic()
    with pytest.raises(FormatError, match=message):
        unrolled.load(tmp_path / "odd.safetensors")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, value: float) -> None:
    model = small_model()
    with torch.no_grad():
        model.net.vectors[3, 2] = value
    model.save(tmp_path / "net")
    with pytest.raises(FormatError, match=r"array 'net\..*vectors': it holds NaN or infinite"):
        unrolled.load(tmp_path / "net")
    with pytest.raises(FormatError, match="lstm-12 gives a token the log-probability nan, which"):
        model.score("the cat")


def test_large_finite_weights_are_numbers(tmp_path: Path) -> None:
    model = small_model()
    with torch.no_grad():
        model.net.vectors[3:5] = 3e38  # their sum is infinite in float32
    model.save(tmp_path / "net")
    assert unrolled.load(tmp_path / "net").name == "lstm-12"


def test_threads_reach_the_net(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    before, used = torch.get_num_threads(), []
    forward = type(model.net.output).log_probs

    def watched(layer: Any, *given: Any) -> Any:
        used.append(torch.get_num_threads())
        return forward(layer, *given)

    monkeypatch.setattr(type(model.net.output), "log_probs", watched)
    evaluate(model, texts=["the cat sat"], threads=1)
    model.token_scores(["the cat sat"], threads=1)
    assert used == [1, 1]
    assert torch.get_num_threads() == before


def test_surprisals_of_many_sentences_are_scored_together() -> None:
    model = small_model()
    sentences = ["the cat sat", "", "the zebra ran on the mat", "dog"]
    found = list(surprisals(model, sentences))
    alone = [model.token_scores([sentence]).log_probs[1:] for sentence in sentences]
    np.testing.assert_allclose([t.log_prob for t in found], np.concatenate(alone), atol=1e-5)
    assert [token.word for token in found if token.oov] == ["zebra"]
    assert [token.sentence for token in found if token.last] == [0, 1, 2, 3]
    assert {token.length for token in found} == {None}


def test_progress_is_reported_batch_by_batch() -> None:
    counted: list[int] = []
    model = small_model()
    result = evaluate(model, texts=["the cat sat on the mat"] * 40, progress=counted.append)
    assert (sum(counted), len(counted) > 1) == (result.tokens, True)
    assert Mixture([model, model], [0.5, 0.5]).carries_context
