"""Long random texts: many sentences drawn from a model, by a kernel where the model has one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.generation import MAX_WORDS, check_drawing, draw, state_after
from unrolled.language_models.protocol import LanguageModel, Sampler
from unrolled.language_models.sentences import text_of, words_of
from unrolled.runtime.threads import run_ahead
from unrolled.text.decoding import lines_of
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]
Progress = Callable[[int], None]

MAX_WORDS_OF_TEXT = 10_000  # of a line, where so many tokens are wanted
_LARGEST_BLOCK = 4096  # sentences that are drawn by one call
_WORDS_EXPECTED = 32  # in a sentence


def generate_lines(
    model: LanguageModel,
    *,
    sentences: int | None = None,
    tokens: int | None = None,
    context: str = "",
    max_words: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int | None = None,
    threads: int = 2,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """Draw a text, a sentence a line, as blocks of whole lines in UTF-8; <unk> is never drawn.

    Sentence number i of a seed is the same whatever the others are and whatever the number of
    threads. An n-gram model at temperature 1 draws millions of words a second: a context in which
    the probabilities do not sum to one, as in other tools' files, shares out what is left to the
    shorter context. (`generate` draws from the whole distribution of each word.)

    Args:
        sentences: how many; 1 by default. tokens: or until so many words and line ends.
        context: words that each sentence begins with.
        max_words: longest sentence without them; by default 50, and 10,000 with ``tokens``.
        temperature, top_k, seed: as of `generate`.
        threads: that may be used.
        progress: called with the tokens drawn since the last call.

    Raises:
        As `generate`; SettingError: both sentences and tokens, or fewer than one.

    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat"], order=2, smoothing="maximum-likelihood")
    >>> b"".join(generate_lines(model, sentences=2))
    b'the cat sat\\nthe cat sat\\n'
    """
    if sentences is not None and tokens is not None:
        raise SettingError("generate takes either sentences or tokens")
    for name, value, least in (
        ("sentences", sentences, 1), ("tokens", tokens, 1), ("max_words", max_words, 0),
        ("threads", threads, 1),
    ):  # fmt: skip
        if value is not None and value < least:
            raise SettingError(f"{name} {value} must be at least {least}")
    check_drawing(model, temperature, top_k, seed)
    if max_words is None:
        max_words = MAX_WORDS if tokens is None else MAX_WORDS_OF_TEXT
    wanted = _Wanted(sentences if tokens or sentences else 1, tokens)
    words = words_of(context, model.text_options)
    start = np.append(np.int32(BOS), model.vocabulary.ids(words))
    given = {"seed": secrets.randbits(63) if seed is None else seed, "most": max_words}

    def blocks() -> Iterator[bytes]:
        with model.use_threads(threads) as at_once:
            sampler = None
            if temperature == 1 and top_k is None:
                sampler = model.sampler(start, **given, expected=wanted.expected, threads=threads)
            if sampler is None:
                sampler = _step_sampler(model, start, (temperature, top_k), **given)
            yield from _blocks(model, sampler, words, wanted, at_once, progress)

    return blocks()


@dataclass(frozen=True)
class _Wanted:
    """How much text: a number of sentences or of tokens."""

    sentences: int | None
    tokens: int | None

    @property
    def expected(self) -> int:
        """Tokens, about."""
        return self.tokens or (self.sentences or 1) * _WORDS_EXPECTED

    def numbers(self) -> Iterator[range]:
        """The sentences in blocks, without end if tokens are wanted."""
        size = min(max(self.expected // _WORDS_EXPECTED // 64, 1), _LARGEST_BLOCK)
        for start in count(0, size):
            if self.sentences is not None and start >= self.sentences:
                return
            yield range(start, min(start + size, self.sentences or start + size))


def _blocks(
    model: LanguageModel,
    sampler: Sampler,
    words: Sequence[str],
    wanted: _Wanted,
    threads: int,
    progress: Progress | None,
) -> Iterator[bytes]:
    def drawn(numbers: range) -> tuple[bytes, Array, Array]:
        rows, lengths = sampler(numbers)
        return _text(model, rows, lengths, words), rows, lengths

    left = wanted.tokens
    for text, rows, lengths in run_ahead(drawn, wanted.numbers(), threads):
        if left is not None:
            reached = int(np.searchsorted(np.cumsum(lengths), left)) + 1
            if reached < lengths.size:
                rows, lengths = rows[:reached], lengths[:reached]
                text = _text(model, rows, lengths, words)
            left -= int(lengths.sum())
        if progress is not None:
            progress(int(lengths.sum()))
        yield text
        if left is not None and left <= 0:
            return


def _text(model: LanguageModel, rows: Array, lengths: Array, words: Sequence[str]) -> bytes:
    """Lines of the words that were given and those that were drawn, as the text was split."""
    start = 1 + len(words)
    if model.text_options.tokens == "word":
        return lines_of(model.vocabulary, rows, lengths, start=start, prefix=" ".join(words))
    lines = []
    for row, length in zip(rows, lengths.tolist(), strict=True):
        drawn = model.vocabulary.words(row[start:length].tolist())
        lines.append(text_of([*words, *drawn], model.text_options))
    return "".join(f"{line}\n" for line in lines).encode(errors="replace")


def _step_sampler(
    model: LanguageModel,
    start: Array,
    limits: tuple[float, int | None],
    *,
    seed: int,
    most: int,
) -> Sampler:
    """As `LanguageModel.sampler`, from the whole distribution of each word."""
    opening = state_after(model, start[1:].tolist())

    def sample(numbers: range) -> tuple[Array, Array]:
        rows = np.empty((len(numbers), start.size + most), np.int32)
        rows[:, : start.size], lengths = start, np.full(len(numbers), start.size, np.int64)
        for row, number in enumerate(numbers):
            random, state = np.random.default_rng((seed, number)), opening
            while lengths[row] < rows.shape[1]:
                word = draw(model.checked(model.next_log_probs(state)), *limits, random)
                if word == EOS:
                    break
                rows[row, lengths[row]] = word
                lengths[row] += 1
                state = model.advance(state, word)
        return rows, lengths

    return sample
