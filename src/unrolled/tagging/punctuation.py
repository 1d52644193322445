"""Punctuation and capitals as tags of bare words: a tagger that any plain text trains.

>>> words, tags = bare_words("Is it so? Yes, said Anna.")
>>> words
['is', 'it', 'so', 'yes', 'said', 'anna']
>>> tags
['Capital', 'lower', 'lower?', 'Capital,', 'lower', 'Capital.']
>>> restore(words, tags)
'Is it so? Yes, said Anna.'
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import TextError
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.encoded_text import check_encoding, text_lines
from unrolled.tagging.scoring.scores import check_pairs, f1
from unrolled.text.sources import Sources, raw_blocks

MARKS = ("", ",", ".", "?", "!", ";", ":")
CASES = ("lower", "Capital", "UPPER")
TAGS = tuple(case + mark for case in CASES for mark in MARKS)
LONGEST = 128  # words of an example
MOST_SENTENCES = 4
_HELD_OUT, _MOST_HELD_OUT = 20, 2000

_MEANS = {**{mark: mark for mark in MARKS if mark}, "…": ".", "。": ".", "，": ",", "？": "?",
          "！": "!", "；": ";", "：": ":", "،": ",", "؟": "?"}  # fmt: skip
# Where several marks stand together, as in ?!, the first of these that is there counts.
_STRENGTH = "?!.:;,"
_ENDS = (".", "?", "!")
# A run of letters and digits with what may stand inside; and any sign that is a mark.
_PIECE = re.compile(
    r"(?P<clitic>(?<=\s)(?:n['’`]t|['’`](?:s|m|d|re|ve|ll))(?=\s|$))"
    r"|(?P<word>[^\W_]+(?:(?:['’`&._/]|-(?!-)|(?<=\d)[,:](?=\d))(?=[^\W_])[^\W_]+|[\u0300-\u036f])*)"
    r"|(?P<mark>[" + re.escape("".join(_MEANS)) + r"])",
    re.IGNORECASE,
)


def bare_words(text: str) -> tuple[list[str], list[str]]:
    """Lower-case words without punctuation, and for each its case and the mark that follows it.

    Tags are a case, ``lower``, ``Capital`` (the first letter) or ``UPPER`` (all of two or more),
    with one of , . ? ! ; : or nothing behind it: 21 in all. Of several marks the strongest counts;
    quotation marks, brackets and dashes are dropped; a mark before the first word is, too. Text
    that is already cut (``did n't , he``) gives the same words as if it were not.

    >>> bare_words('He did n\\'t -- "in NASA" -- care ?!')
    (['he', "didn't", 'in', 'nasa', 'care'], ['Capital', 'lower', 'lower', 'UPPER', 'lower?'])
    """
    words: list[str] = []
    tags: list[str] = []
    marks = ""
    for match in _PIECE.finditer(text):
        kind = match.lastgroup
        piece = match.group()
        if kind == "mark":
            marks += _MEANS[piece]
        elif kind == "clitic" and words and not marks:
            words[-1] += piece.lower()
        else:
            _close(tags, marks)
            marks = ""
            words.append(piece.lower())
            tags.append(_case(piece))
    _close(tags, marks)
    return words, tags


def punctuation_sentences(
    sources: Sources, *, seed: int = 1, encoding: str = "utf-8"
) -> Iterator[TaggedSentence]:
    """Examples for a tagger from plain text, one to four sentences each, in the text's order.

    Several sentences together teach where one ends; sentences run on over line ends and stop at a
    blank line; what is longer than 128 words is cut. Compressed files, folders, JSONL and Parquet
    are read as by all commands.

    Args:
        sources: the text; see `text_sources.files_of`.
        seed: of how many sentences each example has. encoding: of the text.

    Raises:
        SettingError: the encoding is unknown.
        TextError: the text cannot be read; or it has no mark at all, so that nothing is learned.
    """
    chance = random.Random(seed)
    marked = False
    for source, line, words, tags in _paragraphs(sources, encoding):
        marked = marked or any(tag[-1] in _STRENGTH for tag in tags)
        start = 0
        while start < len(words):
            end = _example_end(tags, start, chance.randint(1, MOST_SENTENCES))
            yield TaggedSentence(
                tuple(words[start:end]),
                tuple(tags[start:end]),
                document=source,
                place=f"{source}:{line}",
            )
            start = end
    if not marked:
        raise TextError(
            "the text has no punctuation to learn from",
            where=None if not isinstance(sources, str) else sources,
            hint="Give text as it was written, with commas and full stops",
        )


def restore(words: Sequence[str], tags: Sequence[str], *, sentence_case: bool = False) -> str:
    """Text with the capitals and marks that tags of bare words say.

    Args:
        words: bare words; their capitals, if they have any, stay.
        tags: one of TAGS for each.
        sentence_case: make the first letter of every sentence a capital, whatever its tag: for
            taggers that learned from lower-case text.

    Raises:
        TextError: a tag is not one of TAGS, or there are not as many as words.

    >>> restore(["so", "said", "nasa"], ["lower,", "lower", "UPPER."], sentence_case=True)
    'So, said NASA.'
    """
    if len(words) != len(tags):
        raise TextError(f"{len(tags)} tags for {len(words)} words")
    parts = []
    begins = sentence_case
    for word, tag in zip(words, tags, strict=True):
        if tag not in TAGS:
            hint = f"Allowed are {', '.join(CASES)}, each with one of , . ? ! ; : or nothing"
            raise TextError(f"the tag {tag!r} is not one of punctuation", hint=hint)
        case, mark = split_punctuation(tag)
        if case == "UPPER":
            word = word.upper()
        elif case == "Capital" or begins:
            word = word[:1].upper() + word[1:]
        begins = sentence_case and mark in _ENDS
        parts.append(word + mark)
    return " ".join(parts)


def split_punctuation(tag: str) -> tuple[str, str]:
    """Case and mark of a tag.

    >>> split_punctuation("Capital?"), split_punctuation("lower")
    (('Capital', '?'), ('lower', ''))
    """
    return (tag[:-1], tag[-1]) if tag[-1:] in _MEANS else (tag, "")


@dataclass(frozen=True)
class PunctuationScores:
    """How well marks and capitals are restored.

    Attributes:
        names: of what is counted: the marks , . ? ! ; : and ``Capital`` and ``UPPER``.
        counts: (8, 3) of each: right, predicted and in the text.
        words: words in all.
        right: words whose tag is right in both.
    """

    names: tuple[str, ...]
    counts: np.ndarray[Any, np.dtype[np.int64]]
    words: int
    right: int

    @property
    def mark_f1(self) -> float:
        """F1 over all marks together; a mark is right where word and mark are."""
        return self._f1(slice(0, len(MARKS) - 1))

    @property
    def case_f1(self) -> float:
        """F1 over capitals, of first letters and whole words."""
        return self._f1(slice(len(MARKS) - 1, None))

    def as_dict(self) -> dict[str, Any]:
        """All numbers for JSON."""
        by_name = {}
        for name, row in zip(self.names, self.counts, strict=True):
            right, predicted, gold = map(int, row)
            by_name[name] = {
                "precision": right / predicted if predicted else 0.0,
                "recall": right / gold if gold else 0.0,
                "f1": _f1_of(row),
                "gold": gold,
            }
        return {
            "signature": "punctuation: marks and capitals, micro F1",
            "mark_f1": self.mark_f1,
            "case_f1": self.case_f1,
            "accuracy": self.right / self.words if self.words else 0.0,
            "words": self.words,
            "by_name": by_name,
        }

    def table(self) -> str:
        """Lines for people, in per cent; what neither side has is left out.

        >>> scores = score_punctuation([["Capital", "lower."]], [["Capital", "lower,"]])
        >>> print(scores.table())
        2 words, 50.00% right; marks F1 0.00; capitals F1 100.00
                ,: precision:   0.00%; recall:   0.00%; F1:   0.00  0
                .: precision:   0.00%; recall:   0.00%; F1:   0.00  1
          Capital: precision: 100.00%; recall: 100.00%; F1: 100.00  1
        """
        numbers = self.as_dict()
        lines = [
            f"{self.words} words, {100 * numbers['accuracy']:.2f}% right; "
            f"marks F1 {100 * self.mark_f1:.2f}; capitals F1 {100 * self.case_f1:.2f}"
        ]
        for rank, (name, row) in enumerate(numbers["by_name"].items()):
            if self.counts[rank].any():
                p, r, f = (100 * row[what] for what in ("precision", "recall", "f1"))
                three = f"precision: {p:6.2f}%; recall: {r:6.2f}%; F1: {f:6.2f}"
                lines.append(f"{name:>9}: {three}  {row['gold']}")
        return "\n".join(lines)

    def _f1(self, rows: slice) -> float:
        return _f1_of(self.counts[rows].sum(axis=0))


def score_punctuation(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> PunctuationScores:
    """Score restored punctuation; the numbers of the tags' two parts are counted apart.

    Raises:
        TextError: the sides have different numbers of sentences or tags.
    """
    check_pairs(gold, predicted)
    names = (*MARKS[1:], *CASES[1:])
    column = {name: rank for rank, name in enumerate(names)}
    counts = np.zeros((len(names), 3), np.int64)
    words = right = 0
    for tags, guesses in zip(gold, predicted, strict=True):
        words += len(tags)
        for tag, guess in zip(tags, guesses, strict=True):
            right += tag == guess
            for truth, found in zip(split_punctuation(tag), split_punctuation(guess), strict=True):
                if truth in column:
                    counts[column[truth], 2] += 1
                    counts[column[truth], 0] += truth == found
                if found in column:
                    counts[column[found], 1] += 1
    return PunctuationScores(names, counts, words, right)


def punctuation_data(
    train: Sources, valid: Sources | None = None, *, seed: int = 1, encoding: str = "utf-8"
) -> tuple[list[TaggedSentence], list[TaggedSentence]]:
    """Examples to train on, and to choose the best epoch by: of `valid`, or the text's last part.

    Without `valid` one example in twenty is held out, two thousand at most.

    Raises:
        TextError: a text cannot be read, has no marks, or is too short to hold a part out.
    """
    examples = list(punctuation_sentences(train, seed=seed, encoding=encoding))
    if valid is not None:
        return examples, list(punctuation_sentences(valid, seed=seed, encoding=encoding))
    held_out = min(len(examples) // _HELD_OUT, _MOST_HELD_OUT)
    if not held_out:
        what = f"the text has {len(examples)} examples, and {_HELD_OUT} or more are needed"
        raise TextError(what, hint="Give more text, or another text with --valid")
    return examples[:-held_out], examples[-held_out:]


def restores_punctuation(tags: Iterable[str]) -> bool:
    """Whether these are a punctuation tagger's tags.

    >>> restores_punctuation(["lower", "Capital."]), restores_punctuation(["O", "B-PER"])
    (True, False)
    """
    return set(tags) <= set(TAGS)


def _close(tags: list[str], marks: str) -> None:
    if marks and tags:
        tags[-1] += next(mark for mark in _STRENGTH if mark in marks)


def _case(word: str) -> str:
    if not word[0].isupper():
        return "lower"
    letters = [letter for letter in word if letter.isalpha()]
    return "UPPER" if len(letters) > 1 and all(map(str.isupper, letters)) else "Capital"


def _example_end(tags: Sequence[str], start: int, many: int) -> int:
    """Where an example of so many sentences ends, cut where it would be too long."""
    stop = min(len(tags), start + LONGEST)
    last = 0
    for rank in range(start, stop):
        if tags[rank][-1] in _ENDS:
            many, last = many - 1, rank + 1
            if not many:
                return last
    # Cut at the end of a sentence, if one was seen; the rest is the next example's.
    return stop if stop == len(tags) else last or stop


def _paragraphs(sources: Sources, encoding: str) -> Iterator[tuple[str, int, list[str], list[str]]]:
    """Source, first line, words and tags of each run of lines without a blank one.

    A run is also cut after a line that ends a sentence once it is some thousand words long, so
    that a text without blank lines need not stand in memory.
    """
    check_encoding(encoding)
    source, first = "", 1
    words: list[str] = []
    tags: list[str] = []
    for block in raw_blocks(sources):
        for number, line in enumerate(text_lines(block, encoding), block.first_line):
            is_long = len(words) > 16 * LONGEST and tags[-1][-1] in _ENDS
            if words and (is_long or not line.strip() or block.source != source):
                yield source, first, words, tags
                words, tags = [], []
            more, their = bare_words(line)
            if more and not words:
                source, first = block.source, number
            words += more
            tags += their
    if words:
        yield source, first, words, tags


def _f1_of(row: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    right, predicted, gold = row.astype(np.float64)
    return float(f1(right, predicted, right, gold))
