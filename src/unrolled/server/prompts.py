"""Prompts as tokens, and tokens as text.

Sentences in a prompt: it begins a sentence, so its first token is predicted after ``<s>``, which
is not a token of the prompt. A newline ends the sentence: it is the token ``</s>``, predicted like
any other, and the next sentence begins after it. The prompt's own end predicts no ``</s>``. A
literal ``<s>`` (token 1) begins a sentence too, and is not predicted: its log-probability is null.
Where words are tokens a mark is a word of its own; elsewhere it is found within a text too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.sentences import encode_sentences, sentence_starts
from unrolled.server.answers import RefusedError
from unrolled.server.settings import ServerSettings
from unrolled.server.sizes import check_lengths
from unrolled.text.alignment import token_spans
from unrolled.text.vocabulary import BOS, EOS, SPECIALS, UNK

MAX_PROMPTS = 1024
_SPACE = "\u2581"
_MARKS = re.compile(f"({'|'.join(map(re.escape, SPECIALS))})")


def encode_text(model: LanguageModel, text: str) -> list[int]:
    """The tokens of a text, which may be several lines; see the module."""
    ids: list[int] = []
    for part, mark in _parts(model, text):
        ids += [mark] if mark is not None else _line_ids(model, part)
    return ids


def _parts(model: LanguageModel, text: str) -> Iterator[tuple[str, int | None]]:
    """The text between marks, and each mark with its id; in words a mark is a word like others."""
    if model.text_options.tokens == "word":
        yield text, None
        return
    for part in _MARKS.split(text):
        if part in SPECIALS:
            yield part, SPECIALS.index(part)
        elif part:
            yield part, None


def _line_ids(model: LanguageModel, text: str) -> list[int]:
    """The ids of lines, </s> between each two."""
    options, lines = model.text_options, text.split("\n")
    ids = encode_sentences(model.vocabulary, lines, options)
    starts = sentence_starts(model.vocabulary, lines, options, ids)
    inner = np.ones(ids.size, bool)
    inner[starts[:-1]] = False
    inner[-1] = False  # the end of the text is no </s>
    found: list[int] = ids[inner].tolist()
    return found


def decode_ids(model: LanguageModel, ids: Sequence[int]) -> str:
    """The text of tokens; `encode_text` gives the same tokens for it, of words."""
    return "".join(pieces_of(model, ids))


def pieces_of(model: LanguageModel, ids: Sequence[int], before: str = "") -> list[str]:
    """What each token adds to the text, white space before a word included.

    Args:
        before: the text that they follow.
    """
    found: list[str] = []
    fresh = before == "" or before[-1].isspace()
    words = model.text_options.tokens == "word"
    rest = b""
    for id in ids:
        word = model.vocabulary.word(id)
        if id == EOS:
            piece = "\n"
        elif words or id in (UNK, BOS):
            piece = word if fresh or not words else " " + word
        elif model.text_options.tokens == "byte":
            rest += bytes([int(word[3:5], 16)]) if len(word) == 6 else word.encode()
            piece = _whole_characters(rest)
            rest = rest[len(piece.encode()) :] if piece else rest
            piece = piece.replace(_SPACE, " ")
        else:
            piece = word.replace(_SPACE, " ")
            piece = piece.lstrip(" ") if fresh and model.text_options.tokens != "char" else piece
        found.append(piece)
        fresh = piece.endswith(("\n", " ")) or (fresh and not piece)
    return found


def _whole_characters(data: bytes) -> str:
    """The text of bytes, empty while the last character is incomplete."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        return "" if len(data) < 4 and error.reason == "unexpected end of data" else "\ufffd"


@dataclass
class Prompt:
    """A prompt: its tokens, its text, and the piece of the text that each token is."""

    ids: list[int]
    text: str
    pieces: list[str]


def read_prompts(model: LanguageModel, given: Any, limits: ServerSettings) -> list[Prompt]:
    """The prompts of a request: a text, a list of texts, token ids, or lists of them."""
    what = "prompt is no text, list of texts, list of token ids, or list of such lists"
    if type(given) is str:
        given = [given]
    if type(given) is not list or not given:
        raise SettingError(what)
    if type(given[0]) is int:
        given = [given]
    if len(given) > MAX_PROMPTS:
        raise RefusedError(
            413, f"prompt has {len(given):,} texts, allowed are {MAX_PROMPTS:,}",
            hint="Send them in several requests",
        )  # fmt: skip
    found = []
    for one in given:
        if type(one) is str:
            check_lengths(model, [one], limits)
            ids = encode_text(model, one)
            found.append(Prompt(ids, one, _text_pieces(model, one, ids)))
        elif type(one) is list and all(type(id) is int for id in one):
            if len(one) > limits.max_sentence:
                raise RefusedError(
                    413, f"a prompt has {len(one):,} tokens, allowed are {limits.max_sentence:,}"
                )
            check_ids(model, one)
            pieces = pieces_of(model, one)
            found.append(Prompt(one, "".join(pieces), pieces))
        else:
            raise SettingError(what)
    total = sum(len(one.ids) for one in found)
    if total > 5 * limits.max_tokens:
        raise RefusedError(
            413, f"the prompts have {total:,} tokens, allowed are {5 * limits.max_tokens:,}",
            hint="Send them in several requests",
        )  # fmt: skip
    return found


def check_ids(model: LanguageModel, ids: Sequence[int]) -> None:
    size = len(model.vocabulary)
    for id in ids:
        if not 0 <= id < size:
            raise SettingError(f"token {id} is outside the vocabulary, 0 to {size - 1}")


def _text_pieces(model: LanguageModel, text: str, ids: Sequence[int]) -> list[str]:
    """The text cut after each token, so that all pieces together are the text again."""
    if not ids:
        return []
    ends: list[int] = []
    at = 0
    for part, mark in _parts(model, text):
        if mark is not None:
            at += len(part)
            ends.append(at)
            continue
        for number, line in enumerate(part.split("\n")):
            if number:
                at += 1
                ends.append(at)
            ends += [at + end for _, end in token_spans(line, model.text_options)]
            at += len(line)
    ends[-1] = len(text)
    return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
