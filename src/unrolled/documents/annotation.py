"""What is added to documents, and which of them are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.documents.buckets import (
    FIELD,
    Buckets,
    check_names,
    even_shares,
    read_cutoffs,
)
from unrolled.documents.conditions import Condition
from unrolled.documents.scores import DocumentScorer, Scores, named_models
from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.unknown_words import Unknown

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Annotation:
    """What is added to the rows of documents, and which rows are kept.

    Attributes:
        field: name of the text's field.
        by: ``document``; ``paragraph``, each field a list with a value for each line of the text;
            or ``worst``, the paragraph of the highest perplexity.
        names: what the fields of each model end with; by default its file's name if there are
            several models, as `named_models` says.
        keep: a condition on the new fields, see `Condition`; of paragraphs, on the whole document.
        buckets: values of a new field `bucket`, from the lowest perplexity under the first model
            to the highest.
        shares: of documents below each cut-off; by default all buckets get as many.
        cutoffs: a file of cut-offs, see `read_cutoffs`; without one a first pass finds them.
        overwrite: replace fields that rows have already.
        unknown: what an unknown word costs, see `unknown_words`.
        options: how to split texts into tokens where a model's own way is not wanted, by the names
            of `TextOptions`.
    """

    field: str = "text"
    by: str = "document"
    names: tuple[str, ...] | None = None
    keep: str | None = None
    buckets: tuple[str, ...] = ()
    shares: tuple[float, ...] | None = None
    cutoffs: str | None = None
    overwrite: bool = False
    unknown: Unknown = "class"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.buckets and (self.shares or self.cutoffs):
            raise SettingError("shares and cut-offs are of buckets", hint="Name the buckets")
        if self.buckets:
            check_names(self.buckets)
        shares = (0.0, *(self.shares or even_shares(len(self.buckets))), 1.0)
        rising = all(a < b for a, b in pairwise(shares))
        if self.shares and (len(shares) != len(self.buckets) + 1 or not rising):
            raise SettingError(
                f"the shares are {', '.join(f'{share:g}' for share in self.shares)}, and "
                f"{len(self.buckets)} buckets need {len(self.buckets) - 1} in (0, 1) that rise"
            )


@dataclass(frozen=True)
class Judgement:
    """The new fields of D documents: their scores, whether to keep each, the bucket of each."""

    scores: Scores
    kept: Array  # (D,) bool
    buckets: Array  # (D,) int64, -1 without buckets


class Annotator:
    """Scores documents as an annotation says.

    Attributes:
        scorer: what scores them.
        buckets: with their cut-offs, once these are known.

    Raises:
        SettingError: what the annotation asks for is not possible with these models.
    """

    def __init__(
        self, models: Sequence[LanguageModel], annotation: Annotation, threads: int = 2
    ) -> None:
        self.annotation = annotation
        self.scorer = DocumentScorer(
            named_models(models, annotation.names),
            by=annotation.by,
            options=annotation.options,
            unknown=annotation.unknown,
            threads=threads,
        )
        new = self.new_fields
        if annotation.field in new or len(set(new)) < len(new):
            raise SettingError(
                f"the new fields are {', '.join(new)}, and the text is in {annotation.field}",
                hint="Name the new ones with --names",
            )
        keep = annotation.keep
        self._condition = None if keep is None else Condition(keep, self.names)
        self.buckets: Buckets | None = None
        if annotation.cutoffs:
            self.buckets = read_cutoffs(annotation.cutoffs, annotation.buckets, annotation.shares)

    @property
    def names(self) -> list[str]:
        """Of the scores' fields."""
        return self.scorer.names

    @property
    def new_fields(self) -> list[str]:
        """All of them."""
        return [*self.names, *([FIELD] if self.annotation.buckets else [])]

    @property
    def needs_cutoffs(self) -> bool:
        """Whether a first pass has to find the cut-offs of the buckets."""
        return bool(self.annotation.buckets) and self.buckets is None

    def set_cutoffs(self, cutoffs: Sequence[float]) -> None:
        """The cut-offs that the first pass has found."""
        self.buckets = Buckets(self.annotation.buckets, tuple(cutoffs))

    def judge(self, text: bytes, lines: Array) -> Judgement:
        """Scores of documents: the text of all, and how many lines (D,) each has."""
        scores = self.scorer.score(text, lines)
        kept = np.ones(lines.size, bool)
        if self._condition is not None and lines.size:
            kept = self._condition(dict(zip(self.names, scores.documents, strict=True)))
        buckets = np.full(lines.size, -1)
        if self.buckets is not None:
            buckets = self.buckets.of(scores.documents[0])
        return Judgement(scores, kept, buckets)
