"""pyctcdecode decodes with the stand-in as it does with KenLM.

pyctcdecode 0.5.0 asks for NumPy below 2 and works with NumPy 2: it is installed without its
dependencies, see the Makefile, and these tests are skipped where it is not.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

import numpy as np
import pytest
from tests.integrations.kenlm_models import WORDS, random_sentences, steps

import unrolled.integrations.kenlm as mine


@contextlib.contextmanager
def pyctcdecode_with(module):
    """A fresh pyctcdecode that takes the module for KenLM; what was there is put back after it."""
    held = {name: sys.modules[name] for name in sys.modules if name.split(".")[0] == "pyctcdecode"}
    for name in held:
        del sys.modules[name]
    known = sys.modules.get("kenlm")
    sys.modules["kenlm"] = module
    try:
        yield importlib.import_module("pyctcdecode")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "pyctcdecode"]:
            del sys.modules[name]
        sys.modules.update(held)
        if known is not None:
            sys.modules["kenlm"] = known


def noisy_logits(sentence, labels, random):
    """Frames (T, labels): each letter twice, a blank after it; vowels cannot be told apart."""
    rows = []
    for letter in sentence:
        weights = np.full(len(labels), 0.002)
        heard = "aeio" if letter in "aeio" else letter
        weights[[labels.index(one) for one in heard]] = random.uniform(0.5, 1.0, len(heard))
        blank = np.full(len(labels), 0.002)
        blank[labels.index("")] = 1.0
        rows += [weights, weights, blank]
    logits = np.log(np.array(rows))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def decoded(module, path, sentences):
    """Beams of pyctcdecode: text, acoustic score, joint score."""
    labels = [*" abdefgiklmnoprstü", ""]
    beams = []
    with pyctcdecode_with(module) as pyctcdecode:
        assert pyctcdecode.language_model.kenlm is module
        decoder = pyctcdecode.build_ctcdecoder(labels, path, alpha=0.9, beta=0.5)
        random = np.random.default_rng(0)
        for sentence in sentences:
            logits = noisy_logits(sentence, labels, random)
            beams.append(
                [
                    (beam[0], beam[-2], beam[-1])
                    for beam in decoder.decode_beams(logits, beam_width=25)
                ]
            )
    return beams


def test_pyctcdecode_decodes_alike(kenlm, folder):
    pytest.importorskip("pyctcdecode")
    path = str(folder / "trigram.arpa")
    sentences = [text for text in random_sentences(9, 8) if text]
    wanted = decoded(kenlm, path, sentences)
    got = decoded(mine, path, sentences)
    for one, other in zip(got, wanted, strict=True):
        assert [beam[0] for beam in one] == [beam[0] for beam in other]
        assert np.array(one, object)[:, 1:].astype(float) == pytest.approx(
            np.array(other, object)[:, 1:].astype(float), abs=1e-4
        )
    # What is heard leaves open which vowels make words; that it finds them is the model's doing.
    heard = [word for beams in got for word in beams[0][0].split()]
    assert len(heard) > 20
    assert sum(word in WORDS for word in heard) > 0.9 * len(heard)


def test_pyctcdecode_decodes_with_a_safetensors_model(folder, ngrams, tmp_path):
    pytest.importorskip("pyctcdecode")
    path = tmp_path / "trigram.safetensors"
    ngrams["trigram"].save(path)
    with pyctcdecode_with(mine) as pyctcdecode:
        model = mine.Model(str(path))
        language_model = pyctcdecode.LanguageModel(model, WORDS)
        state = language_model.get_start_state()
        score, after = language_model.score(state, "ba", is_last_word=True)
        assert score < 0
        assert after == steps(mine, model, ["ba"], True)[0][-1]


@pytest.mark.parametrize("kind", ["file", "arpa", "model"])
def test_decoders_are_built_without_warnings(folder, ngrams, tmp_path, caplog, kind):
    """As pyctcdecode with KenLM's ARPA file, whose unigrams it reads itself."""
    pytest.importorskip("pyctcdecode")
    from unrolled.integrations.pyctcdecode import build_ctcdecoder

    path = tmp_path / "trigram.safetensors"
    ngrams["trigram"].save(path)
    arpa = str(folder / "trigram.arpa")
    model = {"file": path, "arpa": arpa, "model": ngrams["trigram"]}[kind]
    labels = [*" abdefgiklmnoprstü", ""]
    decoder = build_ctcdecoder(labels, model, alpha=0.9, beta=0.5)
    said = [record.getMessage() for record in caplog.records]
    assert not [line for line in said if "No known unigrams" in line or "not provided" in line]
    assert not [line for line in said if "kenlm" in line]
    sentences = [text for text in random_sentences(9, 5) if text]
    wanted = decoded(mine, arpa, sentences)
    random = np.random.default_rng(0)
    for sentence, beams in zip(sentences, wanted, strict=True):
        logits = noisy_logits(sentence, labels, random)
        found = decoder.decode_beams(logits, beam_width=25)
        assert [beam[0] for beam in found] == [beam[0] for beam in beams]
        assert [beam[-1] for beam in found] == pytest.approx([beam[2] for beam in beams], abs=1e-6)


def test_pyctcdecode_is_missing(monkeypatch):
    from unrolled.errors import UnrolledError
    from unrolled.integrations.pyctcdecode import build_ctcdecoder

    monkeypatch.setitem(sys.modules, "pyctcdecode", None)
    with pytest.raises(UnrolledError, match="pip install --no-deps pyctcdecode pygtrie"):
        build_ctcdecoder(["a", ""], "x.arpa")
