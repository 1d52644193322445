"""A tagger as ONNX, run by onnxruntime with its metadata alone, against the tagger itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tagging.small_taggers import sentences, small_tagger
from unrolled.errors import SettingError
from unrolled.integrations.tagger_onnx import export_tagger
from unrolled.tagging.data.features import candidates, shape_of
from unrolled.tagging.mixture import TaggerMixture
from unrolled.tagging.model import Tagger

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

KINDS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {
        "cell": "gru",
        "layers": 2,
        "output_from": "all",
        "character_window": 5,
        "columns": (0,),
        "pooling": "max",
    },
    "elman": {
        "cell": "elman",
        "nonlinearity": "relu",
        "output_layer": "softmax",
        "characters": "none",
    },
    "irnn": {"cell": "irnn", "casing_dim": 0, "character_window": 1},
}


def _inputs(words: tuple[str, ...], column: tuple[str, ...], facts: dict[str, Any]) -> Any:
    """What the graph takes, made as the documentation says."""
    ids = {word: number for number, word in enumerate(facts["vocabulary"])}
    known = {character: number for number, character in enumerate(facts["characters"], 2)}
    found = []
    for word in words:
        forms = candidates(word, facts["case"], facts["digits"])
        found.append(next((ids[form] for form in forms if form in ids), 0))
    longest = max(map(len, words))
    letters = np.full((len(words), longest), -1)
    for row, word in zip(letters, words, strict=True):
        row[: len(word)] = [known.get(character, 1) for character in word]
    every = {
        "words": np.array(found),
        "casing": np.array([shape_of(word) for word in words]),
        "characters": letters,
    }
    for number, values in enumerate(facts["column_values"]):
        every[f"column{number}"] = np.array(
            [values.index(value) + 1 if value in values else 0 for value in column]
        )
    return every


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_gives_the_same_scores(kind: str, tmp_path: Path) -> None:
    tagger = small_tagger(epochs=2, **KINDS[kind])
    path = tmp_path / "t.onnx"
    export_tagger(tagger, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    facts = {name: json.loads(value) for name, value in meta.items()}
    for sentence in sentences(5, seed=4):
        _, scores, _ = next(tagger._scored([sentence]))
        given = _inputs(sentence.words, sentence.columns[0], facts)
        wanted = {item.name for item in session.get_inputs()}
        (found,) = session.run(None, {name: given[name] for name in wanted})
        np.testing.assert_allclose(found, scores.numpy(), rtol=1e-3, atol=1e-4)
    if kind == "lstm":
        _check_transitions(tagger, facts)
    else:
        assert ("transitions" in facts) == (tagger.net.crf is not None)


def _check_transitions(tagger: Tagger, facts: dict[str, Any]) -> None:
    crf = tagger.net.crf
    assert crf is not None
    with torch.no_grad():
        for name, scores in zip(("transitions", "start", "end"), crf.scores(), strict=True):
            stored = np.array(facts[name], np.float64)  # null becomes nan
            np.testing.assert_allclose(
                np.where(np.isnan(stored), -np.inf, stored), scores.double().numpy()
            )


def test_vectors_of_a_file_go_along(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("ann 1 2\nzoe 0.5 -3\nmet 2 2\n", encoding="utf-8")
    tagger = small_tagger(epochs=1, vectors=str(tmp_path / "v.txt"))
    export_tagger(tagger, tmp_path / "t.onnx")
    session = ort.InferenceSession(str(tmp_path / "t.onnx"), providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    facts = {name: json.loads(value) for name, value in meta.items()}
    words = ("Zoe", "met", "Ann")
    (found,) = session.run(None, _inputs(words, ("", "", ""), facts))
    (_, scores, _) = next(tagger._scored([sentences(1)[0].__class__(words, ())]))
    np.testing.assert_allclose(found, scores.numpy(), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="RNN of characters"):
        export_tagger(small_tagger(count=5, epochs=1, characters="rnn"), tmp_path / "t.onnx")
    mixture = TaggerMixture([small_tagger(count=5, epochs=1)])
    with pytest.raises(SettingError, match="ONNX graph of a tagger needs a tagger of one net, and"):
        export_tagger(mixture, tmp_path / "t.onnx")
    assert not (tmp_path / "t.onnx").exists()
