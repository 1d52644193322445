"""Word vectors: every format gives the same rows, and broken files are named with their place."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from small_nets import SMALL, write_text
from unrolled.errors import SettingError, TextError
from unrolled.neural.training import train_net
from unrolled.text import word_vectors
from unrolled.text.word_vectors import read_word_vectors

VECTORS = {
    "the": [0.5, -0.25, 1.0],
    "caf\u00e9": [1.5, 2.0, -3.0],
    "Paris": [4.0, 0.0, 0.125],
    "paris": [7.0, 8.0, 9.0],
    "</s>": [-1.0, -2.0, -4.0],
}
WORDS = ["<unk>", "</s>", "The", "the", "Paris", "PARIS", "caf\u00e9", "Caf\u00c9", "dog"]
EXPECTED = ["", "</s>", "the", "the", "Paris", "paris", "caf\u00e9", "caf\u00e9", ""]


def as_glove(vectors: dict[str, list[float]]) -> bytes:
    return "".join(f"{w} {' '.join(map(str, v))}\n" for w, v in vectors.items()).encode()


def as_word2vec(vectors: dict[str, list[float]]) -> bytes:
    width = len(next(iter(vectors.values())))
    return f"{len(vectors)} {width}\n".encode() + as_glove(vectors)


def as_binary(vectors: dict[str, list[float]], end: bytes = b"\n") -> bytes:
    width = len(next(iter(vectors.values())))
    records = [w.encode() + b" " + struct.pack(f"<{width}f", *v) + end for w, v in vectors.items()]
    return f"{len(vectors)} {width}\n".encode() + b"".join(records)


FORMATS = {
    "glove.txt": as_glove(VECTORS),
    "glove-without-newline.txt": as_glove(VECTORS)[:-1],
    "glove-of-windows.txt": as_glove(VECTORS).replace(b"\n", b"\r\n"),
    "glove-by-tabs.txt": as_glove(VECTORS).replace(b" ", b"\t"),
    "glove.txt.gz": gzip.compress(as_glove(VECTORS)),
    "word2vec.txt": as_word2vec(VECTORS),
    "word2vec-with-spaces-at-the-ends.txt": as_word2vec(VECTORS).replace(b"\n", b" \n"),
    "word2vec.bin": as_binary(VECTORS),
    "gensim.bin": as_binary(VECTORS, end=b""),
    "word2vec.bin.gz": gzip.compress(as_binary(VECTORS)),
}


@pytest.mark.parametrize("read_bytes", [3, 1 << 20])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(
    name: str, read_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_vectors, "READ_BYTES", read_bytes)
    (tmp_path / name).write_bytes(FORMATS[name])
    read = read_word_vectors(tmp_path / name, WORDS)
    assert read.vectors.dtype == np.float32
    assert read.vectors.shape == (len(WORDS), 3)
    assert read.width == 3
    assert read.found.tolist() == [bool(word) for word in EXPECTED]
    for row, word in zip(read.vectors, EXPECTED, strict=True):
        if word:
            assert row.tolist() == VECTORS[word]


WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
NUMBERS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=5, max_size=5
)


@given(st.dictionaries(WORD, NUMBERS, min_size=1, max_size=6))
def test_text_and_binary_files_of_any_words_agree(
    tmp_path_factory: pytest.TempPathFactory, vectors: dict[str, list[float]]
) -> None:
    folder = tmp_path_factory.mktemp("vectors")
    for write in (as_word2vec, as_binary):
        (folder / "file").write_bytes(write(vectors))
        read = read_word_vectors(folder / "file", list(vectors))
        assert read.found.all()
        np.testing.assert_array_equal(read.vectors, np.array(list(vectors.values()), np.float32))


def test_words_may_hold_spaces_and_the_first_of_two_counts(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("the 1 2\n. . . 3 4\nthe 5 6\ncat 7 8\nCat 9 10\nCAT 11 12\n")
    read = read_word_vectors(path, ["the", ". . .", "Cat"])
    assert read.vectors.tolist() == [[1, 2], [3, 4], [9, 10]]


def test_other_words_are_as_far_spread_as_those_found(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    random = np.random.default_rng(3)
    known = random.normal(0, 7, (400, 5))
    path.write_text("".join(f"w{k} {' '.join(map(str, row))}\n" for k, row in enumerate(known)))
    words = [f"w{k}" for k in range(400)] + [f"x{k}" for k in range(400)]
    read = read_word_vectors(path, words)
    assert read.line() == "400 of 800 words have vectors of 5 numbers"
    assert read.vectors[400:].std() == pytest.approx(7, rel=0.1)
    assert abs(read.vectors[400:].mean()) < 0.5
    again, other = (read_word_vectors(path, words, seed=seed) for seed in (1, 2))
    assert np.array_equal(again.vectors, read.vectors)
    assert not np.array_equal(other.vectors[400:], read.vectors[400:])
    none = read_word_vectors(path, ["dog"])
    assert none.vectors.shape == (1, 5)
    assert not none.found.any()


SPELLED = [
    "0", "-0", "-0.0", "5.", ".5", "+1.5", "1e5", "-2.5E-3", "0.1", "16777217",
    "0.1234567890123456789", "123456789012345678901234567890", "1e-300", "3.4028235e38",
    "1.17549435e-38", "1e-45", "1_0", "8.589973e9",
    "1.00000017881393421514957253748434595763683319091796875",
]  # fmt: skip


def test_numbers_are_read_as_python_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    random = np.random.default_rng(4)
    drawn = random.normal(0, 1, 500) * 10.0 ** random.integers(-9, 9, 500)
    spelled = [*SPELLED, *(f"{value:.{random.integers(1, 17)}g}" for value in drawn)]
    path.write_text("".join(f"w{k} {value} 1\n" for k, value in enumerate(spelled)))
    read = read_word_vectors(path, [f"w{k}" for k in range(len(spelled))]).vectors
    assert read[:, 1].tolist() == [1] * len(spelled)
    assert read[:, 0].tobytes() == np.array([*map(float, spelled)], np.float32).tobytes()


BROKEN = [
    *(
        (f"the 1 2\ncat 5 {wrong}\n".encode(), "{}:2: '.*' is not a number")
        for wrong in ("-", ".", "1e", "1.2.3", "--1", "0x10", "1,5")
    ),
    (b"the 1 2\ncat 1e39 2\n", "{}:2: the vector has numbers that are not finite"),
    (b"", "{}: the file is empty"),
    (b"the cat sat\n", r"{}:1: 'the cat sat' is not a word with its numbers\. Give a file of"),
    (b"\x80\x04abc\n", "{}: it is a Python pickle, not word vectors"),
    (
        gzip.compress(b"the 1 2\n", mtime=0),
        "{}: it is gzip-compressed data, not word vectors.*gunzip",
    ),
    (b"the 1 2\na 3\ncat 5 6\n", "{}:2: the line has 1 numbers, and the first has 2"),
    (b"the 1 2\n\ncat 5 x\n", "{}:3: 'x' is not a number"),
    (b"the 1 2\ncat 5 nan\n", "{}:2: the vector has numbers that are not finite"),
    (b"3 2\nthe 1 2\ncat 3 4\n", "{}: the file has 2 words, and its first line says 3"),
    (b"3 0\nthe\n", "{}:1: the vectors have 0 numbers, allowed are 1 to 100000"),
    (as_binary(VECTORS)[:-9], "{}, word 5: the file ends there or is broken.* says 5 words"),
    (as_binary({"cat": [np.inf] * 4}), "{}, word 1: the vector has numbers that are not finite"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN)
def test_broken_files_are_named_with_their_place(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(data)
    with pytest.raises(TextError, match="^" + message.format(path)):
        read_word_vectors(path, ["the", "cat", "</s>"])


@pytest.mark.parametrize("start", [b"", b"the 1 2\n", b"5 2\n"])
def test_a_line_that_never_ends_is_refused_before_it_fills_the_memory(
    start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.gz"
    path.write_bytes(gzip.compress(start + b"a" * 20_000_000))
    line = start.count(b"\n") + 1
    reads = []
    fill = word_vectors._Input._fill
    monkeypatch.setattr(word_vectors._Input, "_fill", lambda self: reads.append(1) or fill(self))
    with pytest.raises(TextError, match=rf"v.gz:{line}: the line has more than 3265536 bytes"):
        read_word_vectors(path, ["the"])
    assert len(reads) < 8


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no-file.txt: the file cannot be read"):
        read_word_vectors(tmp_path / "no-file.txt", ["the"])
    (tmp_path / "cut.txt.gz").write_bytes(FORMATS["glove.txt.gz"][:-12])
    with pytest.raises(TextError, match=r"cut.txt.gz: the gzip file ends too early"):
        read_word_vectors(tmp_path / "cut.txt.gz", ["the"])


TRAINED: dict[str, Any] = {
    **SMALL, "batch": 4, "bptt": 6, "epochs": 2, "hidden": 3, "output_layer": "full"
}  # fmt: skip


def _vectors_file(folder: Path) -> str:
    path = folder / "vectors.txt"
    path.write_text("the 0.5 -0.5 1\ncat 1 2 0.25\ndog 3 -1 0\nsat 0 0 1\n")
    return str(path)


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "asgd"])
def test_frozen_vectors_stay_and_others_move(optimiser: str, tmp_path: Path) -> None:
    text, file = write_text(tmp_path, 40), _vectors_file(tmp_path)
    given = {**TRAINED, "vectors": file, "tied": False, "optimiser": optimiser, "rate": 0.01,
             "weight_decay": 0.1}  # fmt: skip
    said: list[str] = []
    frozen = train_net(text, freeze_vectors=True, report=said.append, **given)
    assert "4 of 12 words have vectors of 3 numbers" in said
    wanted = read_word_vectors(file, frozen.vocabulary)
    assert np.array_equal(frozen.net.vectors.detach().numpy(), wanted.vectors)
    moved = train_net(text, **given).net.vectors.detach().numpy()
    assert not np.array_equal(moved[wanted.found], wanted.vectors[wanted.found])
    np.testing.assert_allclose(moved, wanted.vectors, atol=1)  # from where they began
    assert frozen.provenance["training"]["vectors"] == said[1]


def test_a_frozen_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    given = {**TRAINED, "vectors": _vectors_file(tmp_path), "tied": False, "freeze_vectors": True}
    text, kept = write_text(tmp_path, 40), tmp_path / "checkpoint"
    whole = train_net(text, **given)

    def stop(line: str) -> None:
        if line.startswith("epoch   2"):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_net(text, checkpoint=kept, report=stop, **given)
    again = train_net(text, checkpoint=kept, resume=True, **given)
    for one, other in zip(whole.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 4}, "vectors.txt: the vectors have 3 numbers and the net's have 4. "
                        "Give the net that width with embedding=3"),
        ({"freeze_vectors": True}, "they are the output's too.*with tied=false"),
        ({"freeze_vectors": True, "vectors": ""}, "no vectors to freeze. Name a file"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {**TRAINED, "vectors": _vectors_file(tmp_path), **settings}
    with pytest.raises(SettingError, match=message):
        train_net(write_text(tmp_path, 10), **given)
