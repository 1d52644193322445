"""The n-gram that lmplz puts into its counts of counts with the wrong count.

lmplz (kpu/kenlm issues 405 and 427) writes n-grams in suffix order: last word first, words in the
order of their first appearance. When the text ends, the suffixes of the last full n-gram enter
the counts of counts of their orders with how often they occur, not with how many words precede
them. The discounts of an order change where the two counts fall into different classes 1 to 4.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_START = "<s>"
_COUNTED = 5  # counts of counts are for 1 to 4


@dataclass(frozen=True)
class Miscount:
    """An n-gram that lmplz files under the wrong count, and both counts."""

    ngram: str
    occurrences: int
    preceding_words: int

    def __str__(self) -> str:
        return (
            f"lmplz files '{self.ngram}' under {self.occurrences} (its occurrences) instead of "
            f"{self.preceding_words} (the words before it)"
        )


def miscounts(text: Path, order: int) -> list[Miscount]:
    """What lmplz miscounts in a text, shortest n-gram first; empty where nothing changes."""
    sentences = [line.split(" ") for line in text.read_text(encoding="utf-8").splitlines()]
    last = _last_ngram(sentences, order)
    found = []
    for size in range(1, order):
        ngram = last[-size:]
        if ngram[0] == _START:  # these have their occurrences as their count anyway
            break
        occurrences, before = _counts(sentences, ngram)
        if min(occurrences, _COUNTED) != min(before, _COUNTED):
            found.append(Miscount(" ".join(ngram), occurrences, before))
    return found


def without_miscounts(text: Path, target: Path) -> None:
    """Write the text with one line moved to its end, such that lmplz miscounts nothing.

    A line whose last new word occurs nowhere else: then so does every n-gram that ends in it, all
    of whose counts are 1. The order of lines means nothing to the model itself.
    """
    lines = text.read_text(encoding="utf-8").splitlines()
    occurrences = Counter(word for line in lines for word in line.split(" "))
    in_lines = Counter(word for line in lines for word in set(line.split(" ")))
    for number, line in enumerate(lines):
        new = [word for word in dict.fromkeys(line.split(" ")) if in_lines[word] == 1]
        if new and occurrences[new[-1]] == 1:
            lines.append(lines.pop(number))
            break
    target.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _last_ngram(sentences: list[list[str]], order: int) -> tuple[str, ...]:
    numbers = {_START: 1, "</s>": 2}
    for words in sentences:
        for word in words:
            numbers.setdefault(word, len(numbers) + 1)
    final = max(numbers, key=numbers.__getitem__)
    padding = [_START] * (order - 1)
    ngrams = {
        tuple(padded[end - order + 1 : end + 1])
        for words in sentences
        if final in words
        for padded in [padding + words]
        for end, word in enumerate(padded)
        if word == final
    }
    return max(ngrams, key=lambda ngram: [numbers[word] for word in reversed(ngram)])


def _counts(sentences: list[list[str]], ngram: tuple[str, ...]) -> tuple[int, int]:
    occurrences, before = 0, set()
    for words in sentences:
        padded = [_START, *words]
        for end in range(len(ngram), len(padded)):
            if padded[end] == ngram[-1] and tuple(padded[end - len(ngram) + 1 : end + 1]) == ngram:
                occurrences += 1
                before.add(padded[end - len(ngram)])
    return occurrences, len(before)
