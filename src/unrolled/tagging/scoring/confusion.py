"""The confusion matrix of a tagger's labels, by word, and a list of its errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from unrolled.tagging.data.schemes import Span, spans, split_tag
from unrolled.tagging.scoring.scores import canonical_tags, check_pairs, single_tags

_CONTEXT = 5  # words before and behind an error


class Confusion(NamedTuple):
    """Words by gold and predicted label.

    Attributes:
        labels: of spans, O included; or the tags where these are plain labels.
        counts: how many words of each gold label (row) have each predicted one (column).
    """

    labels: list[str]
    counts: list[list[int]]

    def table(self) -> str:
        """The counts with the labels beside them.

        >>> print(confusion([["B-PER", "I-PER", "O"]], [["B-PER", "O", "B-LOC"]]).table())
        gold / predicted  O  LOC  PER
                       O  0    1    0
                     LOC  0    0    0
                     PER  1    0    1
        """
        rows = [["gold / predicted", *self.labels]]
        rows += [
            [label, *map(str, row)] for label, row in zip(self.labels, self.counts, strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )


class TagError(NamedTuple):
    """A span, or a word where tags are plain labels, that is not as in the gold tags.

    Attributes:
        place: ``file:line`` of the sentence. kind: missed, spurious, label or borders.
        gold, predicted: labels, empty if there is none.
        text: the words around it, itself in brackets.
    """

    place: str
    kind: str
    gold: str
    predicted: str
    text: str


def confusion(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Confusion:
    """Count words by their labels in the gold and the predicted tags.

    Raises:
        TextError: there are not as many sentences, or tags in a sentence, on both sides.
    """
    check_pairs(gold, predicted)
    first, second, scheme = canonical_tags(gold, predicted)
    pairs = Counter(
        (_label(tag, scheme), _label(guess, scheme))
        for tags, guesses in zip(first, second, strict=True)
        for tag, guess in zip(tags, guesses, strict=True)
    )
    labels = sorted({label for pair in pairs for label in pair}, key=lambda x: (x != "O", x))
    return Confusion(labels, [[pairs[row, column] for column in labels] for row in labels])


def find_errors(
    words: Sequence[Sequence[str]],
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    places: Sequence[str],
) -> Iterator[TagError]:
    """The errors in their order.

    Of two spans that share words, only one of which is right, the predicted one is listed: with
    another label on the same words (label), or on other words (borders).

    >>> errors = find_errors([["Ann", "ran"]], [["B-PER", "O"]], [["O", "O"]], ["names.txt:1"])
    >>> next(errors)
    TagError(place='names.txt:1', kind='missed', gold='PER', predicted='', text='[Ann] ran')
    """
    check_pairs(gold, predicted)
    first, second, scheme = canonical_tags(gold, predicted)
    read = (lambda tags: sorted(single_tags([tags])[0])) if scheme == "none" else spans
    for number, place in enumerate(places):
        right, found = read(first[number]), read(second[number])
        missed = [span for span in right if not any(_share(span, other) for other in found)]
        for span in sorted([*missed, *(span for span in found if span not in right)]):
            if span in missed:
                kind, labels = "missed", (span.label, "")
            else:
                kind, labels = _kind(span, right)
            yield TagError(place, kind, *labels, _context(words[number], span))


def _kind(span: Span, right: Sequence[Span]) -> tuple[str, tuple[str, str]]:
    touched = [other for other in right if _share(span, other)]
    if not touched:
        return "spurious", ("", span.label)
    same = next((other for other in touched if other[:2] == span[:2]), None)
    return ("label" if same else "borders"), ((same or touched[0]).label, span.label)


def _share(span: Span, other: Span) -> bool:
    return span.start < other.end and other.start < span.end


def _label(tag: str, scheme: str) -> str:
    if scheme == "none" or tag == "O":
        return tag
    prefix, label = split_tag(tag)
    return label or prefix


def _context(words: Sequence[str], span: Span) -> str:
    before = words[max(0, span.start - _CONTEXT) : span.start]
    inside = f"[{' '.join(words[span.start : span.end])}]"
    return " ".join([*before, inside, *words[span.end : span.end + _CONTEXT]])
