"""ONNX: another program's arithmetic gives the model's numbers, from what stands in the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from small_nets import WORDS, small_model
from unrolled.cli import main
from unrolled.errors import MissingExtraError, SettingError
from unrolled.integrations.net_onnx import export_onnx, onnx_model

pytest.importorskip("onnx", reason="the extra onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

NETS: list[dict[str, Any]] = [
    {"cell": "lstm"},
    {"cell": "lstm", "layers": 3, "residual": True, "embedding": 7},
    {
        "cell": "lstm",
        "layers": 2,
        "learn_initial_state": True,
        "output_layer": "adaptive",
        "tied": False,
    },
    {"cell": "gru", "output_layer": "full"},
    {
        "cell": "gru",
        "layers": 2,
        "tied": False,
        "reset_state_per_sentence": True,
        "output_layer": "adaptive",
    },
    {"cell": "elman", "nonlinearity": "sigmoid"},
    {"cell": "elman", "nonlinearity": "tanh", "output_layer": "full"},
    {"cell": "irnn", "embedding": 5},
    {"cell": "feed-forward", "order": 4},
    {"cell": "feed-forward", "order": 2, "nonlinearity": "relu", "output_layer": "full"},
]
TEXTS = [[1, 3, 4, 0, 1, 9], [1, 6, 6, 7, 8, 1], [1, 5, 10, 1, 3, 0]]


class Runner:
    """Steps through texts with what the file says, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
        given = self.session.get_modelmeta().custom_metadata_map
        self.facts = {name: json.loads(value) for name, value in given.items()}
        self.inputs = {one.name: one for one in self.session.get_inputs()}
        self.outputs = [one.name for one in self.session.get_outputs()]

    def start(self, batch: int) -> dict[str, Any]:
        types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
        return {
            name: np.array([row] * batch, types[self.inputs[name].type])
            for name, row in self.facts["start"].items()
        }

    def step(self, words: list[int], state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        results = self.session.run(None, {"word": np.array(words), **state})
        named = dict(zip(self.outputs, results, strict=True))
        log_probs = named.pop("log_probs")
        return log_probs, {name.removeprefix("next_"): value for name, value in named.items()}


@pytest.mark.parametrize("settings", NETS)
def test_onnxruntime_gives_the_models_distributions(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    model = small_model(**settings)
    export_onnx(model, tmp_path / "net.onnx")
    runner = Runner(tmp_path / "net.onnx")
    for batch in (1, 3):
        state = runner.start(batch)
        expected: list[Any] = []
        for words in zip(*TEXTS[:batch], strict=True):
            log_probs, state = runner.step(list(words), state)
            expected = [  # all texts begin with <s>
                model.advance(s, w) for s, w in zip(expected, words, strict=False)
            ] or [model.start()] * batch
            wanted = np.stack([model.next_log_probs(s) for s in expected])
            np.testing.assert_allclose(log_probs, wanted, atol=1e-5)
            assert np.all(log_probs[:, 1] == -np.inf)
            np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)
    for name, row in state.items():
        assert row.shape[0] == 3, name


def test_classes_far_below_the_best_word_do_not_underflow(tmp_path: Path) -> None:
    model = small_model(classes=2)
    with torch.no_grad():
        model.net.output.bias[np.flatnonzero(model.net.class_of)] -= 500  # type: ignore[index]
    export_onnx(model, tmp_path / "net.onnx")
    runner = Runner(tmp_path / "net.onnx")
    log_probs, _ = runner.step([1], runner.start(1))
    np.testing.assert_allclose(log_probs[0], model.next_log_probs(model.start()), atol=1e-4)


def test_the_metadata_tell_how_to_feed_it(tmp_path: Path) -> None:
    model = small_model(cell="lstm", learn_initial_state=True, reset_state_per_sentence=True)
    export_onnx(model, tmp_path / "net.onnx")
    facts = Runner(tmp_path / "net.onnx").facts
    assert facts["vocabulary"] == ["<unk>", "<s>", "</s>", *WORDS]
    assert (facts["unknown"], facts["begin"], facts["end"]) == (0, 1, 2)
    assert facts["reset_state_per_sentence"] is True
    assert facts["name"] == "lstm-12"
    assert set(facts["start"]) == {"h0", "c0"}
    assert np.any(facts["start"]["c0"])


def test_the_graph_keeps_to_the_standard_and_its_shapes_follow() -> None:
    import onnx

    for settings in NETS:
        proto = onnx_model(small_model(**settings))
        onnx.checker.check_model(proto, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
        shapes = [
            [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim]
            for one in inferred.graph.output
        ]
        assert shapes[0] == ["batch", 3 + len(WORDS)]


def test_a_part_that_the_graph_lacks_is_refused(tmp_path: Path) -> None:
    model = small_model()
    model.net.features = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(SettingError, match="a net with features cannot be written as ONNX"):
        export_onnx(model, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_net_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.integrations.onnx_graph.MAX_BYTES", 1000)
    with pytest.raises(SettingError, match="parameters take .* bytes.* at most 1,000"):
        onnx_model(small_model())


def test_without_the_extra_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unrolled\[onnx\]'"):
        onnx_model(small_model())


def test_the_command_writes_the_file_and_refuses_other_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model()
    model.save(tmp_path / "net.safetensors")
    counts = unrolled.train_ngram(texts=["a b", "b c"], order=2, smoothing="witten-bell")
    counts.save(tmp_path / "ngram.safetensors")

    def export(name: str) -> int:
        words = ["unrolled", "export", str(tmp_path / name), str(tmp_path / "out.onnx")]
        monkeypatch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    assert export("ngram.safetensors") == 2
    message = capsys.readouterr().err
    assert "only nets and taggers of one net can be written as ONNX" in message
    assert "witten-bell-2 is an n-gram model" in message
    assert not (tmp_path / "out.onnx").exists()
    assert export("net.safetensors") == 0
    log_probs, _ = Runner(tmp_path / "out.onnx").step([1], {k: np.zeros((1, 12), np.float32)
                                                            for k in ("h0", "c0")})  # fmt: skip
    np.testing.assert_allclose(log_probs[0], model.next_log_probs(model.start()), atol=1e-5)
