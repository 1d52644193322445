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
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.bare_text import (
    CASES,
    MARKS,
    MEANING,
    BareWord,
    is_mark,
    is_unspaced,
    meaning,
    split_punctuation,
    strongest,
    words_of_text,
)
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.data.encoded_text import check_encoding, text_lines
from unrolled.text.sources import Sources, raw_blocks

TAGS = tuple(case + mark for case in CASES for mark in MARKS)  # other scripts have more
LONGEST = 128  # words of an example
MOST_SENTENCES = 4
_HELD_OUT, _MOST_HELD_OUT = 20, 2000
_ENDS = (".", "?", "!")
_POLICIES = ("keep", "renew")
# Characters allowed between a word and its mark: no space, dash or opening sign.
_TAIL = re.compile(r"[^\s([{<¿¡«„“‘\-\u2010-\u2015\u3008\u300a\u300c\u300e\u3010（［｛]*")


def bare_words(text: str) -> tuple[list[str], list[str]]:
    """Lower-case words without punctuation, and for each its case and the mark that follows it.

    Tags are a case, ``lower``, ``Capital`` (the first letter) or ``UPPER`` (all of two or more),
    with a mark or nothing behind it: , . ? ! ; : or those of the word's script. Of several marks
    the strongest counts; other signs are left out, and a mark before the first word is, too. Text
    that is already cut (``did n't , he``) gives the same words as if it were not. See
    `words_of_text` for what a word is.

    >>> bare_words('He did n\\'t -- "in NASA" -- care ?!')
    (['he', "didn't", 'in', 'nasa', 'care'], ['Capital', 'lower', 'lower', 'UPPER', 'lower?'])
    >>> bare_words("你好，世界。")
    (['你', '好', '世', '界'], ['lower', 'lower，', 'lower', 'lower。'])
    """
    found = words_of_text(text)
    tags = [_case(text[word.start : word.end]) + strongest(word.marks, word.text) for word in found]
    return [word.text for word in found], tags


def punctuation_sentences(
    sources: Sources, *, seed: int = 1, encoding: str = "utf-8"
) -> Iterator[TaggedSentence]:
    """Examples for a tagger from plain text, one to four sentences each, in the text's order.

    Several sentences together teach where one ends; sentences run on over line ends and stop at a
    blank line; what is longer than 128 words is cut. Compressed files, folders, JSONL and Parquet
    are read as by all commands.

    Args:
        sources: the text; see `sources.files_of`.
        seed: of how many sentences each example has. encoding: of the text.

    Raises:
        SettingError: the encoding is unknown.
        TextError: the text cannot be read; or it has no mark at all, so that nothing is learned.
    """
    chance = random.Random(seed)
    marked = False
    for source, line, words, tags in _paragraphs(sources, encoding):
        marked = marked or any(tag[-1] in MEANING for tag in tags)
        start = 0
        while start < len(words):
            end = _example_end(words, tags, start, chance.randint(1, MOST_SENTENCES))
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


def restore(words: Sequence[str], tags: Sequence[str]) -> str:
    """Bare words as text, with the capitals and marks that their tags name.

    Args:
        words: bare words; their capitals, if they have any, stay.
        tags: a case and a mark or nothing for each.

    Raises:
        TextError: a tag is not one of punctuation, or there are not as many as words.

    >>> restore(["so", "said", "nasa"], ["Capital,", "lower", "UPPER."])
    'So, said NASA.'
    >>> restore(["你", "好"], ["lower", "lower。"])
    '你好。'
    """
    parts: list[str] = []
    last = ""
    for word, (case, mark) in zip(words, _checked_tags(words, tags), strict=True):
        if last and not (is_unspaced(last) and is_unspaced(word[:1])):
            parts.append(" ")
        parts += [_cased(word, case), mark]
        last = mark or word[-1:]
    return "".join(parts)


def restore_text(text: str, tags: Sequence[str], *, marks: str = "keep") -> str:
    """A text with the capitals and marks that tags of its bare words name; nothing else changes.

    Every other sign and all white space stay. Marks go behind the word and the signs that close
    behind it (``50%,`` and ``(no).``), and only where a space, the end or a script without spaces
    follows. Words of mixed case, such as iPhone, keep their letters.

    Args:
        text: any text.
        tags: one for each of ``bare_words(text)``.
        marks: of marks that stand behind words already: ``keep`` them, and add none there; or
            ``renew``: put the tags' in their place.

    Raises:
        TextError: a tag is not one of punctuation, or there are not as many as words.
        SettingError: marks is neither.

    >>> restore_text("it costs $5 (or 50% more)", ["Capital", *["lower"] * 4, "lower."])
    'It costs $5 (or 50% more).'
    """
    if marks not in _POLICIES:
        raise SettingError(f"marks is {marks!r}, allowed are {', '.join(_POLICIES)}")
    words = words_of_text(text)
    result = [text[: words[0].start] if words else text]
    parts = _checked_tags([word.text for word in words], tags)
    ends = [*(word.start for word in words[1:]), *[len(text)] * bool(words)]
    for word, (case, mark), end in zip(words, parts, ends, strict=True):
        original = text[word.start : word.end]
        small = original.lower()
        if small.casefold() == original.casefold() and (
            original in (small, original.upper(), original.capitalize())
        ):
            original = _cased(small, case)
        result.append(original)
        result.append(_marked(word, text[word.end : end], mark, text[end : end + 1], marks))
    return "".join(result)


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
    return all(split_punctuation(tag)[0] in CASES for tag in tags)


def _checked_tags(words: Sequence[str], tags: Sequence[str]) -> list[tuple[str, str]]:
    """Case and mark of each word's tag."""
    if len(words) != len(tags):
        raise TextError(f"{len(tags)} tags for {len(words)} words")
    for tag in tags:
        if not restores_punctuation([tag]):
            hint = f"Allowed are {', '.join(CASES)}, each with one of , . ? ! ; : or nothing"
            raise TextError(f"the tag {tag!r} is not one of punctuation", hint=hint)
    return [split_punctuation(tag) for tag in tags]


def _cased(word: str, case: str) -> str:
    """A word of small letters in a case; as it is where that would change more than its case."""
    if case == "lower":
        return word
    new = word.upper() if case == "UPPER" else word[:1].upper() + word[1:]
    return new if new.casefold() == word.casefold() else word


def _marked(word: BareWord, gap: str, mark: str, follows: str, policy: str) -> str:
    """The characters after a word, with the mark of its tag."""
    if policy == "renew" and not any(sign in "՜՞" for sign in word.marks):
        bare = "".join(
            sign
            for sign, after in pairwise(gap + " ")
            if not is_mark(sign, word.text) or unicodedata.category(after)[0] == "M"
        )
    elif word.marks:
        return gap
    else:
        bare = gap
    rest = _TAIL.sub("", bare, count=1)
    is_apart = not follows or rest[:1].isspace()
    if not (is_apart or is_unspaced(word.text[-1]) or is_unspaced(follows)):
        return gap
    return bare[: len(bare) - len(rest)] + mark + rest


def _ends_sentence(word: str, tag: str) -> bool:
    mark = split_punctuation(tag)[1]
    return bool(mark) and meaning(mark, word) in _ENDS


def _case(word: str) -> str:
    if not word[0].isupper():
        return "lower"
    letters = [letter for letter in word if letter.isalpha()]
    return "UPPER" if len(letters) > 1 and all(map(str.isupper, letters)) else "Capital"


def _example_end(words: Sequence[str], tags: Sequence[str], start: int, many: int) -> int:
    """Where an example of `many` sentences ends, cut where it would be too long."""
    stop = min(len(tags), start + LONGEST)
    last = 0
    for rank in range(start, stop):
        if _ends_sentence(words[rank], tags[rank]):
            many, last = many - 1, rank + 1
            if not many:
                return last
    # Cut at the end of a sentence, if one was seen; the rest is the next example's.
    return stop if stop == len(tags) else last or stop


def _paragraphs(sources: Sources, encoding: str) -> Iterator[tuple[str, int, list[str], list[str]]]:
    """Source, first line, words and tags of each run of lines without a blank one.

    A run is also cut after a line that ends a sentence once it is about two thousand words long, so
    that a text without blank lines need not fit in memory.
    """
    check_encoding(encoding)
    source, first = "", 1
    words: list[str] = []
    tags: list[str] = []
    for block in raw_blocks(sources):
        for number, line in enumerate(text_lines(block, encoding), block.first_line):
            is_long = len(words) > 16 * LONGEST and _ends_sentence(words[-1], tags[-1])
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
