"""Exact scores of spans, as conlleval and seqeval count them, or of plain tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.notation import find_form, notation_named
from unrolled.tagging.data.schemes import Policy, Span, convert, spans

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SpanCounts:
    """What exact scores are made of, for each sentence; of plain labels each tag counts as a span.

    Attributes:
        labels: (L) the spans' labels, or the tags but O, in their order.
        by_label: (S, L, 3) spans that are right, predicted and in the gold tags.
        tokens: (S, 2) words with the right tag, and all.
        policy: how tags were read as spans; see `schemes.spans`.
        scheme: the tags' scheme; none for plain labels.
    """

    labels: tuple[str, ...]
    by_label: Counts
    tokens: Counts
    policy: str = "conlleval"
    scheme: str = "BIO"

    @property
    def rows(self) -> Floats:
        """(S, 3) right, predicted and gold spans of each sentence: what a bootstrap resamples."""
        rows: Floats = self.by_label.sum(axis=1).astype(np.float64)
        return rows

    @staticmethod
    def score(totals: Floats) -> Floats:
        """(..., 3) sums of rows to (...) F1 between 0 and 1."""
        return f1(totals[..., 0], totals[..., 1], totals[..., 0], totals[..., 2])

    def total(self) -> SpanScores:
        """The scores of all sentences together."""
        return SpanScores(
            labels=self.labels,
            counts=self.by_label.sum(axis=0),
            tokens=int(self.tokens[:, 1].sum()),
            tokens_right=int(self.tokens[:, 0].sum()),
            signature="plain labels, each tag for itself"
            if self.scheme == "none"
            else f"spans exact, read as {self.policy}"
            + (f" {self.scheme}" if self.policy == "strict" else ""),
            are_spans=self.scheme != "none",
        )


@dataclass(frozen=True)
class SpanScores:
    """Exact precision, recall and F1 of spans, of all and by label, and token accuracy.

    All ratios are between 0 and 1, and 0 where the denominator is 0. Of plain labels, such as parts
    of speech, there are no spans: then the counts are those of tags, O left out.

    Attributes:
        labels: (L) the labels.
        counts: (L, 3) spans that are right, predicted and in the gold tags.
        tokens: words.
        tokens_right: words with the right tag.
        signature: how the spans were counted.
        are_spans: whether the tags encode spans; if not, labels are tags.
    """

    labels: tuple[str, ...]
    counts: Counts
    tokens: int
    tokens_right: int
    signature: str
    are_spans: bool = True

    @property
    def precision(self) -> float:
        return ratio(*self.counts[:, :2].sum(axis=0))

    @property
    def recall(self) -> float:
        return ratio(*self.counts[:, ::2].sum(axis=0))

    @property
    def f1(self) -> float:
        """2 P R / (P + R) over all labels (micro average)."""
        return float(SpanCounts.score(self.counts.sum(axis=0).astype(np.float64)))

    @property
    def macro_f1(self) -> float:
        """The mean of the labels' F1."""
        return (
            float(np.mean(SpanCounts.score(self.counts.astype(np.float64)))) if self.labels else 0.0
        )

    @property
    def accuracy(self) -> float:
        """Share of words with the right tag."""
        return ratio(self.tokens_right, self.tokens)

    def as_dict(self) -> dict[str, Any]:
        """All numbers for JSON; labels under ``by_label``."""
        right, predicted, gold = (int(count) for count in self.counts.sum(axis=0))
        unit = "spans" if self.are_spans else "tags"
        return {
            "signature": self.signature,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "macro_f1": self.macro_f1,
            "accuracy": self.accuracy,
            f"{unit}_right": right,
            f"{unit}_predicted": predicted,
            f"{unit}_gold": gold,
            "tokens": self.tokens,
            "by_label": {
                label: rates(row) for label, row in zip(self.labels, self.counts, strict=True)
            },
        }

    def table(self) -> str:
        """The lines that conlleval prints, each number as it prints it; of plain labels alike.

        >>> scores = score_spans([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]])
        >>> print(scores.table())
        processed 4 tokens with 2 phrases; found: 1 phrases; correct: 1.
        accuracy:  75.00%; precision: 100.00%; recall:  50.00%; FB1:  66.67
                      LOC: precision:   0.00%; recall:   0.00%; FB1:   0.00  0
                      PER: precision: 100.00%; recall: 100.00%; FB1: 100.00  1
        >>> print(score_spans([["DT", "NN"]], [["DT", "VB"]]).table())
        processed 2 tokens with plain labels, no spans; correct: 1.
        accuracy:  50.00%; precision:  50.00%; recall:  50.00%; FB1:  50.00
                       DT: precision: 100.00%; recall: 100.00%; FB1: 100.00  1
                       NN: precision:   0.00%; recall:   0.00%; FB1:   0.00  0
                       VB: precision:   0.00%; recall:   0.00%; FB1:   0.00  1
        """
        right, predicted, gold = self.counts.sum(axis=0)
        what = f"{gold} phrases; found: {predicted} phrases; correct: {right}."
        if not self.are_spans:
            what = f"plain labels, no spans; correct: {self.tokens_right}."
        lines = [f"processed {self.tokens} tokens with {what}"]
        if self.tokens:
            overall = three(self.precision, self.recall)
            lines.append(f"accuracy: {100 * self.accuracy:6.2f}%; {overall}")
        for label, row in zip(self.labels, self.counts, strict=True):
            own = three(ratio(row[0], row[1]), ratio(row[0], row[2]))
            lines.append(f"{label:>17}: {own}  {row[1]}")
        return "\n".join(lines)


def score_spans(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    policy: Policy = "conlleval",
    scheme: str | None = None,
) -> SpanScores:
    """Exact span scores of predicted tags; of plain labels, scores of each tag for itself.

    With the policy ``conlleval`` they are those of conlleval.pl for tags of B, I and O, and those
    of seqeval's default for these and IOBES (conlleval.pl does not know S, nor a B after an E);
    with ``strict`` those of seqeval's ``mode="strict"`` for the scheme.

    Args:
        gold: the right tags of each sentence.
        predicted: as many tags for each.
        policy: how tags that break the scheme are read; see `schemes.spans`.
        scheme: of both; None: found from the tags by their letters, for ``strict`` BIO where
            these are B, I and O; none: plain labels.

    Raises:
        TextError: there are not as many sentences, or tags in a sentence, on both sides, or a tag
            is none of the scheme. SettingError: a scheme or policy that is unknown.

    >>> score_spans([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]]).f1
    0.6666666666666666
    """
    return count_spans(gold, predicted, policy=policy, scheme=scheme).total()


def count_spans(
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    *,
    policy: Policy = "conlleval",
    scheme: str | None = None,
) -> SpanCounts:
    """Statistics of each sentence, for `score_spans` and for `significance.paired_bootstrap`."""
    check_pairs(gold, predicted)
    first, second, named = canonical_tags(gold, predicted, scheme)
    if named == "none":
        rights, guesses = single_tags(first), single_tags(second)
    else:
        rights = [set(spans(tags, policy, named)) for tags in first]
        guesses = [set(spans(tags, policy, named)) for tags in second]
    labels = tuple(sorted({span.label for found in (*rights, *guesses) for span in found}))
    column = {label: rank for rank, label in enumerate(labels)}
    by_label = np.zeros((len(rights), len(labels), 3), np.int64)
    for rank, (right, guess) in enumerate(zip(rights, guesses, strict=True)):
        for which, found in enumerate((right & guess, guess, right)):
            for span in found:
                by_label[rank, column[span.label], which] += 1
    tokens = np.array(
        [
            (sum(map(str.__eq__, tags, guess)), len(tags))
            for tags, guess in zip(first, second, strict=True)
        ],
        np.int64,
    ).reshape(-1, 2)
    return SpanCounts(labels, by_label, tokens, policy, named)


def canonical_tags(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str | None = None
) -> tuple[Sequence[Sequence[str]], Sequence[Sequence[str]], str]:
    """Tags of both sides as `Notation.canonical` writes them, and their scheme: none if plain.

    The two sides may be written in different notations; where their schemes differ, both become
    BIO. A scheme that is found is BIO, IOBES or none, which the letters of tags distinguish.

    >>> canonical_tags([["PER_B", "O"]], [["U-PER", "O"]])
    ([['B-PER', 'O']], [['B-PER', 'O']], 'BIO')
    """
    if scheme is not None:
        notations = [notation_named(scheme)] * 2
    else:
        forms = [
            find_form(Counter(tag for tags in side for tag in tags)) for side in (gold, predicted)
        ]
        seen = [form for form in forms if form.known + form.foreign]
        notations = [form.notation for form in forms]
        if len(seen) == 1 or (seen and notations[1].scheme == "none"):
            notations = [seen[0].notation] * 2
    first, second = notations
    if first.scheme == "none":
        return gold, predicted, "none"
    sides = [first.canonical(tags) for tags in gold], [second.canonical(tags) for tags in predicted]
    if first.base == second.base:
        return *sides, first.base
    right, guesses = ([convert(tags, "BIO", "BIO") for tags in side] for side in sides)
    return right, guesses, "BIO"


def single_tags(sentences: Sequence[Sequence[str]]) -> list[set[Span]]:
    """Each word with another tag than O as a span of its own."""
    return [
        {Span(rank, rank + 1, tag) for rank, tag in enumerate(tags) if tag != "O"}
        for tags in sentences
    ]


def token_accuracy(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Share of words with the right tag; 0 where there are no words.

    >>> token_accuracy([["DT", "NN"]], [["DT", "VB"]])
    0.5
    """
    check_pairs(gold, predicted)
    right = sum(
        sum(map(str.__eq__, tags, guess)) for tags, guess in zip(gold, predicted, strict=True)
    )
    return ratio(right, sum(map(len, gold)))


def check_pairs(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    """Raise unless both sides have the same sentences and words.

    Raises:
        TextError: the sides have different numbers of sentences, or of tags in one.
    """
    if isinstance(gold, str) or (len(gold) and isinstance(gold[0], str)):
        raise SettingError("tags are given as a list of sentences, each of them a list of tags")
    if len(gold) != len(predicted):
        raise TextError(
            f"{len(predicted)} sentences are predicted for {len(gold)} of the gold tags"
        )
    for number, (tags, guess) in enumerate(zip(gold, predicted, strict=True), 1):
        if len(tags) != len(guess):
            what = f"{len(guess)} tags are predicted for {len(tags)} words"
            raise TextError(what, where=f"sentence {number}")


def f1(right_p: Floats, predicted: Floats, right_r: Floats, gold: Floats) -> Floats:
    """2 P R / (P + R) with P = right_p / predicted and R = right_r / gold; 0 where undefined."""
    precision = np.divide(right_p, np.where(predicted == 0, 1, predicted))
    recall = np.divide(right_r, np.where(gold == 0, 1, gold))
    both = precision + recall
    mean: Floats = 2 * precision * recall / np.where(both == 0, 1, both)
    return mean


def ratio(part: Any, whole: Any) -> float:
    """Part / whole, 0 where whole is 0."""
    return float(part) / float(whole) if whole else 0.0


def rates(row: Counts) -> dict[str, float | int]:
    """Precision, recall and F1 of a row of `SpanScores.counts`, with the counts."""
    return {
        "precision": ratio(row[0], row[1]),
        "recall": ratio(row[0], row[2]),
        "f1": float(SpanCounts.score(row.astype(np.float64))),
        "right": int(row[0]),
        "predicted": int(row[1]),
        "gold": int(row[2]),
    }


def three(precision: float, recall: float, name: str = "FB1") -> str:
    """Precision, recall and F1 as conlleval prints them."""
    # In per cent before the mean, as conlleval: half a digit must round alike.
    p, r = 100 * precision, 100 * recall
    mean = 2 * p * r / (p + r) if p + r > 0 else 0.0
    return f"precision: {p:6.2f}%; recall: {r:6.2f}%; {name}: {mean:6.2f}"
