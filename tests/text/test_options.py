"""Options of a text travel inside the model file, a SentencePiece file too."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import pytest

from unrolled import FormatError, TextError, TextOptions, load, train_ngram
from unrolled.text.options import stored_options


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    sentencepiece = pytest.importorskip("sentencepiece")
    buffer = io.BytesIO()
    lines = ["a rose is a rose", "the cat sat on the mat", "is the rose red"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=buffer, vocab_size=19, minloglevel=2
    )
    path = tmp_path / "pieces.model"
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    "given", [{}, {"lower": True, "tokens": "char"}, {"normalise": "nfc", "specials": "skip"}]
)
def test_options_are_stored_and_read_back(given: dict[str, Any]) -> None:
    options = TextOptions(**given)
    stored = options.stored()
    assert stored_options({"text": stored}, None) == options
    assert ("normalise" in stored) == ("normalise" in given) and "sentencepiece" not in stored


@pytest.mark.parametrize("text", [{"tokns": "word"}, {"lower": 3}, {"sentencepiece": "%"}, [1]])
def test_options_that_are_not_understood(text: Any) -> None:
    with pytest.raises(FormatError, match="m: the model's text options are not understood"):
        stored_options({"text": text}, "m")


def test_a_sentencepiece_file_travels_inside_the_model(
    pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = TextOptions(tokens="pieces.model")
    texts = ["a rose is red", "the cat is a rose"]
    settings: dict[str, Any] = {"order": 2, "smoothing": "witten-bell", "options": options}
    model = train_ngram(texts=texts, **settings)
    twin = train_ngram(texts=texts, **{**settings, "options": TextOptions(tokens=str(pieces))})
    assert twin.text_options == model.text_options
    model.save("m.safetensors")
    score = model.score("the rose")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path("m.safetensors").rename(elsewhere / "m.safetensors")
    pieces.write_bytes(b"another")
    monkeypatch.chdir(elsewhere)
    opened = load("m.safetensors")
    assert opened.score("the rose") == score
    assert opened.info()["settings"]["text"]["sentencepiece"] == "included"
    assert len(repr(opened.text_options)) < 200


def test_a_path_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    options = stored_options({"text": {"tokens": "absent.model"}}, None)  # an earlier version's
    with pytest.raises(TextError, match=r"absent.model: there is no such SentencePiece .*--tokens"):
        options.stored()


def test_a_sentencepiece_file_that_unpacks_to_too_much_is_refused() -> None:
    packed = base64.b64encode(zlib.compress(bytes((64 << 20) + 1), 1)).decode()
    with pytest.raises(FormatError, match="more than 67,108,864 bytes"):
        stored_options({"text": {"tokens": "x.model", "sentencepiece": packed}}, "m")
