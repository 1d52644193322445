"""`load` finds the reader of each kind of file; `load_as` refuses models of other kinds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled import CacheModel, LanguageModel, Vocabulary, train_ngram
from unrolled.errors import FormatError, SettingError
from unrolled.ngram.model import NgramModel, load_ngram
from unrolled.storage import loading
from unrolled.storage.loading import load, load_as, require_kind
from unrolled.storage.model_file import write_model


def write(path: Path, **arrays: Any) -> Path:
    write_model(path, kind="ngram", config={"order": 3}, arrays=arrays)
    return path


def opened(what: Any) -> Any:
    """Stands for the readers of models."""
    return ("read", what)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "stand_in", here)
    monkeypatch.setattr(loading, "_READERS", {"ngram": "stand_in:opened"})
    monkeypatch.setattr(loading, "_ARPA_READER", "stand_in:opened.__call__")


@pytest.mark.usefixtures("readers")
def test_load_finds_the_reader_of_a_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", a=np.arange(3))
    read, file = load(path)
    assert (read, file.kind, file.path) == ("read", "ngram", path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(raw)
    load(damaged)
    with pytest.raises(FormatError, match="array 'a': its bytes are damaged"):
        load(damaged, verify=True)


@pytest.mark.usefixtures("readers")
def test_load_refuses_an_unknown_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model(path, kind="oracle", config={}, arrays={})
    message = "holds a model of the kind 'oracle', and this unrolled .* knows ngram. Upgrade: pip"
    with pytest.raises(FormatError, match=message):
        load(path)


ARPA = b"\n\\data\\\nngram 1=0\n\n\\1-grams:\n\n\\end\\\n"


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lm.arpa", ARPA),
        ("lm.arpa.gz", gzip.compress(ARPA, mtime=0)),
        ("lm.safetensors", ARPA),  # a wrong name, but no doubt
        ("lm.lm", gzip.compress(ARPA, mtime=0)),
        ("lm.arpa", b"the cat\n"),  # the ARPA reader says at which line it goes wrong
        ("lm.arpa.bz2", bz2.compress(ARPA)),
        ("lm.arpa.xz", lzma.compress(ARPA)),
        ("LM.ARPA.GZ", gzip.compress(b"the cat\n", mtime=0)),
    ],
)
def test_load_knows_arpa(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert load(path) == ("read", path)


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lm.arpa", b"", "lm.arpa: is empty"),
        ("lm.arpa", b"mmap lm http://kheafield.com/code format version 5\n\0", "KenLM binary"),
        ("lm.binary", b"mmap lm http://kheafield.com/code format version 5\n\0", "KenLM binary"),
        ("corpus.txt", b"the cat\n", "is not a model but plain text. To train a model on it: "),
        ("lm.arpa", b"PAR1\x15\x04", "is not a model but a Parquet table"),
        ("lm.xz", lzma.compress(ARPA), "xz-compressed data. Unpack it first with unxz"),
        (
            "corpus.gz",
            gzip.compress(b"the cat\n", mtime=0),
            "is not a model but gzip-compressed data",
        ),
        ("lm.safetensors", os.urandom(7) + b"\xff" * 100, "is not a model: its first bytes are"),
    ],
)
def test_load_refuses_the_rest(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        load(path)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    cache = CacheModel(Vocabulary.from_words(["a", "b"]))
    cache.save(tmp_path / "cache")
    train_ngram(texts=["a b"], order=2, smoothing="witten-bell").save(tmp_path / "ngram")
    assert load_ngram(tmp_path / "ngram", "prune").order == 2
    assert load_as(tmp_path / "cache", LanguageModel, "mix").name == "cache-100"
    assert require_kind(cache, CacheModel, "this") is cache
    with pytest.raises(
        SettingError, match="cache: prune needs an n-gram model, and cache-100 is a"
    ):
        load_ngram(tmp_path / "cache", "prune")
    with pytest.raises(SettingError, match="this needs an n-gram model, and cache-100 is a cache"):
        require_kind(cache, NgramModel, "this")
