"""Perplexity, log-probability, tokens and OOVs of documents under one model or several.

Each line of a document is a sentence, empty ones too, as for `evaluate`: the sums over all
documents of a file are those that `evaluate` prints for it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.language_models.unknown_words import Unknown, UnknownWords, unknown_words
from unrolled.text.tokens import tokenise
from unrolled.text.vocabulary import BOS, UNK

if TYPE_CHECKING:
    from unrolled.text.options import TextOptions

Array = np.ndarray[Any, Any]

FIELDS = ("perplexity", "log_prob", "tokens", "oov")
INTEGERS = (False, False, True, True)
BY = ("document", "paragraph", "worst")
DECIMALS = 6

# Marks of sentences that stand in a document, as in HTML: words that no model knows.
_MARK = re.compile(rb"(?<![^\0\t\n\r ])</?s>(?![^\0\t\n\r ])")
_MOST_NATS = 700.0  # a token, beyond which a perplexity is no float64


@dataclass(frozen=True)
class Scores:
    """The new fields of D documents.

    Attributes:
        documents: (F, D) float64 of whole documents, or of the worst paragraph of each.
        values: (F, V) float64, the same, or of all paragraphs.
        bounds: (D, 2) int64, which values are a document's own.
    """

    documents: Array
    values: Array
    bounds: Array


class DocumentScorer:
    """Scores texts under models.

    Args:
        models: by the names that their fields get, where there are several; see `named_models`.
        by: what is scored: the document, each paragraph (line), or the paragraph of the highest
            perplexity, for each model its own; empty ones cannot be the worst.
        options: how to split texts into tokens; by default as each model's training text.
        unknown: what an unknown word costs, see `unknown_words`.
        threads: that a model may use which computes with several.

    Raises:
        SettingError: no or an unknown way of scoring. NotNormalisedError: stupid back-off.
    """

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        *,
        by: str = "document",
        options: Mapping[str, Any] | None = None,
        unknown: Unknown = "class",
        threads: int = 2,
    ) -> None:
        if by not in BY:
            raise SettingError(f"by is {by!r}, allowed are {', '.join(BY)}")
        self.by, self._threads = by, threads
        for model in models.values():
            require_normalised(model, "perplexity")
        self._models = [
            _Scored(model, _options(model, options or {}), unknown_words(unknown, model))
            for model in models.values()
        ]
        self.names = [f"{field}_{name}" if name else field for name in models for field in FIELDS]
        self.integers = list(INTEGERS) * len(models)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[int]:
        """Limit the threads of the models, and yield how many batches to score at once."""
        with contextlib.ExitStack() as limits:
            yield min(
                limits.enter_context(one.model.use_threads(self._threads)) for one in self._models
            )

    def score(self, text: bytes, lines: Array) -> Scores:
        """Scores of documents.

        Args:
            text: of all documents, a newline after each line.
            lines: (D,) int64 lines of each document, at least one.
        """
        every = int(lines.sum())
        ends = np.cumsum(lines)
        starts = ends - lines
        found = [(one, one.line_sums(text, every)) for one in self._models]
        if self.by == "worst":
            paragraphs = [_worst(one.fields(sums), starts, lines) for one, sums in found]
            documents = np.concatenate(paragraphs)
        else:
            documents = np.concatenate([one.fields(_sums(sums, starts)) for one, sums in found])
        if self.by == "paragraph":
            values = np.concatenate([one.fields(sums) for one, sums in found])
            return Scores(documents, values, np.stack([starts, ends], 1))
        places = np.arange(lines.size + 1)
        return Scores(documents, documents, np.stack([places[:-1], places[1:]], 1))


@dataclass(frozen=True)
class _Scored:
    """A model, how it reads text, and what an unknown word costs."""

    model: LanguageModel
    options: TextOptions
    unknown: UnknownWords

    def line_sums(self, text: bytes, lines: int) -> Array:
        """(3, L) log-probability, tokens and OOVs of each line."""
        if lines == 0:
            return np.zeros((3, 0))
        data = tokenise(text, self.options)
        if self.options.specials != "skip" and b"<" in data:
            data = _MARK.sub(b"<unk>", data)
        specials = "skip" if self.options.specials == "skip" else "unknown"
        ids = self.model.vocabulary.encode_block(data, specials=specials).ids
        oov = ids == UNK
        log_probs = self.unknown.log_probs(self.model.checked(self.model.log_probs(ids)), oov)
        starts = np.flatnonzero(ids == BOS)
        sums = np.empty((3, lines))
        sums[0] = np.add.reduceat(log_probs, starts, dtype=np.float64)
        sums[1] = np.diff(starts, append=ids.size) - 1
        sums[2] = np.add.reduceat(oov, starts, dtype=np.int64)
        return sums

    def fields(self, sums: Array) -> Array:
        """(4, N) fields of sums (3, N), rounded so that all ways of writing them give the same."""
        tokens = sums[1] - sums[2] if self.unknown.skipped else sums[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = np.where(tokens > 0, -sums[0] / tokens, np.inf)
        perplexity = np.where(nats < np.inf, np.exp(np.minimum(nats, _MOST_NATS)), np.inf)
        return np.vstack([np.round(perplexity, DECIMALS), np.round(sums[0], DECIMALS), sums[1:]])


def named_models(
    models: Sequence[LanguageModel], names: Sequence[str] | None = None
) -> dict[str, LanguageModel]:
    """Models by the names that the fields of each end with.

    One model needs none: its fields are `perplexity` and so on. Those of several are
    `perplexity_NAME`, where the name is that of the model's file without its suffix; what is
    neither a letter nor a digit in it becomes `_`.

    Raises:
        SettingError: no models, as many names as models are not given, or two are the same.
    """
    if not models:
        raise SettingError("no model was given")
    if names is None:
        names = [""] if len(models) == 1 else [_name_of(model) for model in models]
    if len(names) != len(models):
        raise SettingError(f"there are {len(names)} names for {len(models)} models")
    wrong = [name for name in names if not re.fullmatch(r"\w*", name)]
    if wrong:
        raise SettingError(f"the name {wrong[0]!r} has more than letters, digits and _")
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise SettingError(
            f"two models have the name {twice!r}", hint="Give each its own name with --names"
        )
    return dict(zip(names, models, strict=True))


def _name_of(model: LanguageModel) -> str:
    stem = Path(model.path).name.split(".")[0] if model.path else model.name
    return re.sub(r"\W", "_", stem)


def _options(model: LanguageModel, changed: Mapping[str, Any]) -> TextOptions:
    return replace(model.text_options, **changed, invalid="replace")


def _sums(sums: Array, starts: Array) -> Array:
    """(3, D) sums of the lines (3, L) of each document."""
    if starts.size == 0:
        return np.zeros((3, 0))
    total: Array = np.add.reduceat(sums, starts, axis=1)
    return total


def _worst(fields: Array, starts: Array, lines: Array) -> Array:
    """(4, D) of the fields (4, L) of lines those of the highest perplexity in each document."""
    if starts.size == 0:
        return fields
    perplexity = np.where(fields[2] > 1, fields[0], -1)
    highest = np.repeat(np.maximum.reduceat(perplexity, starts), lines)
    places = np.flatnonzero(perplexity == highest)
    owners = np.repeat(np.arange(starts.size), lines)[places]
    return fields[:, places[np.unique(owners, return_index=True)[1]]]
