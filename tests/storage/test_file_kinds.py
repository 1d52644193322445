"""What files look like by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from unrolled.storage.file_kinds import HEAD_BYTES, is_arpa, recognise

ARPA = b"\n\\data\\\nngram 1=3\n\n\\1-grams:\n-1.0\t<unk>\n"


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(3))
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("model"), io.BytesIO())
    return buffer.getvalue()


def empty_zip() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return buffer.getvalue()


KINDS = {
    "arpa": (ARPA, "ARPA"),
    "arpa after a remark": (b"made by a tool\r\n\r\n\\data\\\r\nngram 1=3\r\n", "ARPA"),
    "arpa after a mark": (b"\xef\xbb\xbf" + ARPA, "ARPA"),
    "arpa gzipped": (gzip.compress(ARPA, mtime=0), "ARPA"),
    "kenlm": (b"mmap lm http://kheafield.com/code format version 5\n\0", "KenLM binary"),
    "srilm": (b"SRILM_BINARY_NGRAM_002\n", "SRILM binary"),
    "fasttext": (b"\xba\x16\x4f\x2f\x0c\0\0\0", "fastText"),
    "npz": (npz(), "zip archive"),
    "empty zip": (empty_zip(), "empty zip"),
    "npy": (npy(), "NumPy array"),
    **{f"pickle {n}": (pickle.dumps({"a": 1}, n), "pickle") for n in range(2, 6)},
    "gzip": (gzip.compress(b"the cat", mtime=0), "gzip"),
    "broken gzip": (b"\x1f\x8b" + b"\xff" * 20, "gzip"),
    "bzip2": (bz2.compress(b"the cat"), "bzip2"),
    "xz": (lzma.compress(b"the cat"), "xz"),
    "zstandard": (b"\x28\xb5\x2f\xfd\x04\x00", "Zstandard"),
    "tar": (tar(), "tar"),
    "sentencepiece": (b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02\n", "SentencePiece"),
    "parquet": (b"PAR1\x15\x04", "Parquet"),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
    "web page": (b"\n<!DOCTYPE html><html>Not found</html>", "web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
    "utf-16": ("the cat".encode("utf-16"), "UTF-16"),
    "json": (b'{"kind": "ngram"}', "JSON"),
    "text": ("the cat is small\nкошка\n".encode(), "plain text"),
    "zeros": (bytes(100), "zeros"),
}


@pytest.mark.parametrize(("head", "what"), KINDS.values(), ids=KINDS)
def test_kinds_are_told_apart(head: bytes, what: str) -> None:
    kind = recognise(head[:HEAD_BYTES])
    assert kind is not None
    assert what in kind.what
    assert kind.hint


@pytest.mark.parametrize("head", [b"", b"\x01", b"\x00\x01\x02", b"\xc3\x28", b"the \x00 cat"])
def test_the_unknown_is_none(head: bytes) -> None:
    assert recognise(head) is None


def test_text_may_end_within_a_character() -> None:
    for end in range(1, 5):
        kind = recognise("кошка"[:4].encode()[:-1] + "😀".encode()[:end])
        assert end < 4 or kind is None  # a broken character within is not text
    kind = recognise(b"cat " + "😀".encode()[:3])
    assert kind is not None
    assert kind.what == "plain text"


@pytest.mark.parametrize(
    "head",
    [
        b"the line \\data\\ is not at its beginning\n",
        b"\x00\x01\n\\data\\\nngram 1=3\n",
        b"{}\xff\n\\data\\\n",
    ],
)
def test_data_in_the_midst_is_not_arpa(head: bytes) -> None:
    assert not is_arpa(head)


def test_a_bomb_is_not_unpacked() -> None:
    assert not is_arpa(gzip.compress(bytes(1 << 26))[:HEAD_BYTES])
