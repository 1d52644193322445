"""Models that tests of the server share, and one server of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.running import Server, running
from small_nets import small_model
from tagging.small_taggers import small_tagger
from unrolled import TextOptions, train_ngram

TEXTS = [
    "the cat sat on the mat .", "the dog ran on the mat .", "a cat ran .", "the dog sat .",
    "a dog saw the cat on a mat .", "café au lait for the cat",
] * 3  # fmt: skip

NAMES = ("words", "characters", "backoff", "net", "tanh", "tags")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an n-gram model, one of characters, a net and a tagger."""
    folder = tmp_path_factory.mktemp("models")
    train_ngram(texts=TEXTS, order=3, smoothing="witten-bell").save(folder / "words.safetensors")
    train_ngram(
        texts=TEXTS, order=4, smoothing="witten-bell", options=TextOptions(tokens="char")
    ).save(folder / "characters.safetensors")
    train_ngram(texts=TEXTS, order=2, smoothing="stupid-backoff").save(
        folder / "backoff.safetensors"
    )
    small_model().save(folder / "net.safetensors")
    small_model(cell="elman").save(folder / "tanh.safetensors")
    small_tagger(epochs=4).save(folder / "tags.safetensors")
    return folder


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[Server]:
    """A server of all models."""
    with running(*(models / f"{name}.safetensors" for name in NAMES)) as started:
        yield started
