"""The fields of each request: from them come the checks, their errors, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from unrolled.errors import SettingError
from unrolled.server.answers import RefusedError
from unrolled.settings import check_settings, configure, setting

Fields = TypeVar("Fields", bound="RequestFields")

_TEXTS = "lists of texts"
_MODEL = "The model's name; by default the first one that can do it."


@dataclass(frozen=True)
class RequestFields:
    """The fields of a request; checked when it is made.

    Raises:
        SettingError: a value that is not allowed.
    """

    model: str = setting("", _MODEL)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class SentenceFields(RequestFields):
    """One sentence or several."""

    sentence: str | None = setting(None, "One sentence.")
    sentences: tuple[str, ...] | None = setting(None, "Several sentences.", allowed=_TEXTS)

    def texts(self) -> list[str]:
        """The sentences.

        Raises:
            SettingError: neither or both were given.
        """
        if (self.sentence is None) == (self.sentences is None):
            raise SettingError(
                "the request needs either sentence, a text, or sentences, a list of texts"
            )
        return [self.sentence] if self.sentence is not None else list(self.sentences or ())


@dataclass(frozen=True)
class ScoreFields(SentenceFields):
    """Of /score."""

    eos: bool = setting(True, "Whether the end of each sentence, </s>, is predicted too.")


@dataclass(frozen=True)
class SurprisalFields(SentenceFields):
    """Of /surprisal."""

    by: str = setting(
        "word",
        "What has a row: each word that white space separates, with the sum of its tokens; or each "
        "token.",
        choices=("word", "token"),
    )
    alternatives: int = setting(
        0, "How many of the likeliest words to give at each place.", minimum=0, maximum=100
    )


@dataclass(frozen=True)
class PredictFields(RequestFields):
    """Of /predict."""

    context: str = setting("", "The words so far, from the sentence's start.")
    count: int = setting(10, "How many words.", minimum=1, maximum=1000)


@dataclass(frozen=True)
class GenerateFields(RequestFields):
    """Of /generate."""

    context: str = setting("", "Words to go on from.")
    max_words: int = setting(50, "The most words to add.", minimum=1)
    temperature: float = setting(
        1.0, "Log-probabilities are divided by it; towards 0 the likeliest word wins.", above=0
    )
    top_k: int | None = setting(None, "Draw among the likeliest so many only.", minimum=1)
    seed: int | None = setting(
        None, "The same seed gives the same words.", minimum=0, maximum=2**63 - 1
    )
    stream: bool = setting(True, "Send each word as it is drawn, or one object at the end.")


@dataclass(frozen=True)
class RankFields(RequestFields):
    """Of /rank."""

    sentences: tuple[str, ...] | None = setting(None, "Two or more sentences.", allowed=_TEXTS)


@dataclass(frozen=True)
class TagFields(RequestFields):
    """Of /tag."""

    sentence: str | None = setting(None, "One sentence, which is cut into words.")
    sentences: tuple[str, ...] | None = setting(None, "Several sentences.", allowed=_TEXTS)
    words: tuple[str, ...] | None = setting(
        None, "The words of one sentence, instead of a text.", allowed=_TEXTS
    )


@dataclass(frozen=True)
class RescoreFields(RequestFields):
    """Of /rescore, besides ``lists``."""

    lm_scale: float = setting(1.0, "Weight of the language models.", minimum=0)
    mix: float = setting(0.5, "The new model's share, where there are old scores.", minimum=0,
                         maximum=1)  # fmt: skip
    word_penalty: float = setting(0.0, "Added for each word.")


@dataclass(frozen=True)
class GradientFields(RequestFields):
    """Of /gradients."""

    sentence: str = setting("", "The sentence.")


@dataclass(frozen=True)
class CompletionFields(RequestFields):
    """Of /v1/completions, besides ``prompt`` and ``stop``; fields that change nothing are taken."""

    max_tokens: int = setting(16, "The most tokens to add; 0 with echo for none.", minimum=0)
    temperature: float = setting(
        1.0, "Log-probabilities are divided by it; 0 takes the likeliest.", minimum=0, maximum=100
    )
    n: int = setting(1, "Completions of each prompt.", minimum=1, maximum=128)
    logprobs: int | None = setting(
        None, "Give log-probabilities, and so many of the likeliest at each place.", minimum=0,
        maximum=20,
    )  # fmt: skip
    echo: bool = setting(False, "Give the prompt too.")
    stream: bool = setting(False, "Send pieces as they are drawn.")
    seed: int | None = setting(
        None, "The same seed gives the same tokens.", minimum=0, maximum=2**63 - 1
    )


LISTS = ("sentences", "words")  # of texts


def fields_of(kind: type[Fields], body: Mapping[str, Any], max_sentences: int) -> Fields:
    """The fields of a request from its JSON.

    Raises:
        SettingError: a field that is unknown, or a value that is not allowed.
        RefusedError: too many texts (413).
    """
    # Checked here, as each of a hundred thousand texts would take a setting a microsecond or more.
    lists = {name: tuple(body[name]) for name in LISTS if type(body.get(name)) is list}
    for name, texts in lists.items():
        _check_texts(name, texts, max_sentences)
    found: Fields = configure({**body, **dict.fromkeys(lists, ())}, kind)[0]
    for name, texts in lists.items():
        object.__setattr__(found, name, texts)
    return found


def _check_texts(name: str, texts: tuple[Any, ...], most: int) -> None:
    if len(texts) > most:
        raise RefusedError(
            413,
            f"{name} has {len(texts):,} texts, allowed are {most:,}",
            hint="Send them in several requests",
        )
    if not set(map(type, texts)) <= {str}:
        number = next(at for at, text in enumerate(texts) if type(text) is not str)
        raise SettingError(f"{name} is no list of texts: number {number}, from 0, is another value")
