"""How much one request may ask for, and how it is cut into slices of work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.sentences import words_of
from unrolled.server.answers import RefusedError
from unrolled.server.models import ServedModel
from unrolled.server.settings import ServerSettings

# Characters that are scored before others may have their turn.
_SHARED_SLICE, _NET_SLICE = 200_000, 10_000
NUMBERS = 10  # of a request that has several for each token, times max_tokens
MAX_CONTEXT = 1000  # words that are read step by step


def check_lengths(model: LanguageModel, texts: Sequence[str], limits: ServerSettings) -> None:
    """Refuse a sentence with too many tokens.

    Raises:
        RefusedError: there is one (413).
    """
    most = limits.max_sentence
    for text in texts:
        if 4 * len(text) <= most:  # a character is four bytes at most, and a token one or more
            continue
        if len(text) > 8 * most:
            raise too_long(len(text), "characters", 8 * most)
        count = len(words_of(text, model.text_options))
        if count > most:
            raise too_long(count, "tokens", most)


def check_total(
    model: LanguageModel, texts: Sequence[str], limits: ServerSettings, alternatives: int = 0
) -> None:
    """Refuse more than is answered word by word; ``alternatives`` are those of each word.

    Raises:
        RefusedError: too many tokens (413).
    """
    check_lengths(model, texts, limits)
    most = min(limits.max_tokens, NUMBERS * limits.max_tokens // (1 + alternatives))
    if 4 * sum(map(len, texts)) + len(texts) <= most:
        return
    count = 0
    for text in texts:
        count += len(words_of(text, model.text_options)) + 1
        if count > most:
            raise RefusedError(
                413,
                f"the sentences have more than {most:,} tokens, which is what is answered word by "
                f"word{' with so many alternatives' if alternatives else ''}",
                hint="Send them in several requests",
            )


def short_context(model: LanguageModel, text: str) -> list[str]:
    """The words of a context, which is read step by step.

    Raises:
        RefusedError: it has too many (413).
    """
    if len(text) > 100 * MAX_CONTEXT:
        raise too_long(len(text), "characters", 100 * MAX_CONTEXT)
    words = words_of(text, model.text_options)
    if len(words) > MAX_CONTEXT:
        raise too_long(len(words), "tokens", MAX_CONTEXT)
    return words


def too_long(count: int, what: str, most: int) -> RefusedError:
    return RefusedError(
        413, f"a sentence has {count:,} {what}, allowed are {most:,}", hint="Cut it into sentences"
    )


def slices_of(served: ServedModel, texts: Sequence[Any]) -> Iterator[list[Any]]:
    """Texts that are worked on before others may have their turn."""
    most = _SHARED_SLICE if served.shared else _NET_SLICE
    batch: list[Any] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text) + 1
        if size >= most:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
