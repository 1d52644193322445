"""Words and punctuation marks of raw text in any script, as a punctuation tagger reads them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

# Each mark and what it is in ASCII: of several marks together the strongest of STRENGTH counts.
MEANING = {mark: mark for mark in ",.?!;:"} | {
    mark: meaning
    for meaning, marks in {
        ".": "…。｡．।॥۔։።།༎။។៕᙮᠃᠉᭟᱾᱿꓿꘎꛳꧉꫰꯫܁܂჻",
        ",": "，、､،՝፣၊᠂᠈᭞߸꓾꘍꛵꧈﹐⸲⹁",
        "?": "？؟՞፧⸮꘏꛷\u037e",
        "!": "！՜߹",
        ";": "；؛፤⁏꛶·\u0387",
        ":": "：፥፦꛴",
    }.items()
    for mark in marks
}
STRENGTH = "?!.:;,"
MARKS = ("", ",", ".", "?", "!", ";", ":")
CASES = ("lower", "Capital", "UPPER")
# Scripts that are written without spaces: each of their characters, with the signs that combine
# with it, is a word of its own. CJK, kana, bopomofo, Thai, Lao, Burmese, Khmer, Tai, Javanese,
# Balinese.
_UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u3041-\u3096\u309d-\u309f"
    "\u30a1-\u30fa\u30fc-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00016ff2-\U00016ff6\U0001b000-\U0001b16f\U00020000-\U000323af\u0e01-\u0e32"
    "\u0e40-\u0e46\u0e81-\u0eb2\u0ebd-\u0ec6\u0edc-\u0edf\u1000-\u1021\u103f\u1050-\u1055"
    "\u1780-\u17b3\u17d7\u17dc\u1950-\u19ca\u1a20-\u1a54\u1b05-\u1b33\ua984-\ua9b2\uaa60-\uaa7a"
)
_STACKS = "\u1039\u17d2\u1a60\u1b44\ua9c0"  # put the next consonant under the last one
_GREEK = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]")


class BareWord(NamedTuple):
    """A word of a text.

    Attributes:
        text: in lower case and composed (NFC), without marks inside.
        start, end: the characters of the text that it is.
        marks: the marks inside it and between it and the next word.
    """

    text: str
    start: int
    end: int
    marks: str


def words_of_text(text: str) -> list[BareWord]:
    """The words of a text in any script, each with the marks behind it.

    A word is letters and digits with all signs that combine with them; within it may stand an
    apostrophe, hyphen or another single sign that joins letters (``don't``, ``a.b@x.org``,
    ``1,000``). Of scripts without spaces each character is a word.

    >>> [word.text for word in words_of_text("It's 50% off: a.b@x.org!")]
    ["it's", '50', 'off', 'a.b@x.org']
    >>> [word.text + word.marks for word in words_of_text("नमस्ते दुनिया। 你好？")]
    ['नमस्ते', 'दुनिया।', '你', '好？']
    """
    words: list[BareWord] = []
    word, start, end, marks = "", -1, -1, ""
    for match in _pattern().finditer(text):
        kind, found = match.lastgroup, match.group()
        if kind == "mark":
            if is_mark(found, word):
                marks += found
            continue
        if kind == "clitic" and word and not marks:
            word, end = word + found.lower(), match.end()
            continue
        if word:
            words.append(BareWord(word, start, end, marks))
        (start, end), word, marks = match.span(), found.lower(), ""
        if not word.isascii():
            word, marks = _composed(word)
    return [*words, BareWord(word, start, end, marks)] if word else words


def is_mark(sign: str, word: str) -> bool:
    """Whether a sign behind a word is a mark: the raised dot is one in Greek only."""
    return sign in MEANING and (sign not in "·\u0387" or is_greek(word))


def meaning(mark: str, word: str) -> str:
    """The mark in ASCII; in Greek the semicolon asks and the raised dot is a semicolon."""
    return "?" if mark == ";" and is_greek(word) else MEANING[mark]


def strongest(marks: str, word: str) -> str:
    """The mark of a word's tag, of the marks behind the word, or nothing.

    Behind Latin letters it is one of ASCII; other scripts have their own.

    >>> strongest("，？", "ja"), strongest("，？", "好"), strongest("...", "so")
    ('?', '？', '.')
    """
    if len(marks) < 2 and marks in MARKS:
        return marks
    mark = min(marks, key=lambda mark: STRENGTH.index(meaning(mark, word)))
    if mark == "…":
        return "。" if is_unspaced(word[-1]) else "."
    if mark in "\u037e\u0387":
        return {"\u037e": ";", "\u0387": "·"}[mark]
    is_latin = any(unicodedata.name(sign, "").startswith("LATIN") for sign in word if sign > "\x7f")
    if (word.isascii() and any(map(str.isalpha, word))) or is_latin:
        return MEANING[mark]
    return mark


def split_punctuation(tag: str) -> tuple[str, str]:
    """Case and mark of a tag.

    >>> split_punctuation("Capital?"), split_punctuation("lower")
    (('Capital', '?'), ('lower', ''))
    """
    return (tag[:-1], tag[-1]) if tag[-1:] in MEANING else (tag, "")


def is_greek(word: str) -> bool:
    """Whether a word ends in Greek."""
    return bool(word) and _GREEK.match(word[-1]) is not None


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script without spaces.

    >>> is_unspaced("你"), is_unspaced("a"), is_unspaced("한")
    (True, False, False)
    """
    return _unspaced().match(character) is not None


def _composed(word: str) -> tuple[str, str]:
    """A word in composed form without Armenian's marks, which stand inside words; and those."""
    inside = "".join(sign for sign in word if sign in "՜՞")
    bare = "".join(sign for sign in word if sign not in "՛՜՞") if inside or "՛" in word else word
    return unicodedata.normalize("NFC", bare), inside


@lru_cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


@lru_cache
def _pattern() -> re.Pattern[str]:
    """Words and marks; made at the first use, since it asks for each character's category."""
    combining, signs = _ranges()
    combining += "\u200c\u200d\u0e33\u0eb3"
    alone = f"[{_UNSPACED}]"
    letter, inner = f"(?!{alone})[^\\W_]", f"[^\\s{signs}{_UNSPACED}]"
    joiner = (
        r"(?:['’‘`´&._/@+#=~%$·\u055b-\u055e\u05be\u05f3\u05f4\u2010\u2011]|-(?!-)"
        r"|(?<=\d)[,:](?=\d)|(?<=[\u05d0-\u05ea])\"(?=[\u05d0-\u05ea]))"
    )
    return re.compile(
        r"(?P<clitic>(?<=\s)(?i:n['’`]t|['’`](?:s|m|d|re|ve|ll))(?=\s|$))"
        rf"|(?P<alone>{alone}(?:[{_STACKS}]{alone}|[{combining}])*)"
        rf"|(?P<address>(?:https?://|www\.)[^\s<>\"]*[^\s<>\"{signs}{_UNSPACED}])"
        rf"|(?P<word>{letter}{inner}*(?:{joiner}{letter}{inner}*)*[՛՜՞]?)"
        rf"|(?P<mark>[{re.escape(''.join(MEANING))}](?![{combining}]))"
    )


def _ranges() -> tuple[str, str]:
    """Insides of character classes: all signs that combine (M), and all others (P and S)."""
    kinds = {"M": 0, "P": 1, "S": 1}
    of = [kinds.get(unicodedata.category(chr(code))[0]) for code in range(0x20000)]
    inside = ["\U000e0100-\U000e01ef", ""]
    for kind, run in groupby(range(len(of)), key=of.__getitem__):
        if kind is not None:
            first, *_, last = [*run] * 2
            inside[kind] += f"\\U{first:08x}-\\U{last:08x}"
    return inside[0], inside[1]
