"""Raw text to words with their places, and words to sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple


class Token(NamedTuple):
    """A word, and the characters of the text, from 0 and without `end`, that it is.

    >>> token = tokenise("Ah, yes.")[2]
    >>> token.text, "Ah, yes."[token.start : token.end]
    ('yes', 'yes')
    """

    text: str
    start: int
    end: int


# What is neither white space nor one of these signs is part of a word, so that vowel signs,
# emoji and scripts unknown to any list stay whole: all of ASCII's signs but _, those of Latin-1,
# general punctuation (not its joiners), currencies, and CJK's signs in both widths.
_SIGNS = (
    r"!-/:-@\[-\^`{-~\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf"
    r"\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u3001-\u3003\u3008-\u3011\u3014-\u301f"
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_W = rf"[^\s{_SIGNS}]"
_SHORT = (
    "Mr Mrs Ms Dr Prof St Jr Sr Rev Hon Gen Col Capt Lt Sgt Maj Gov Sen Rep Pres Messrs Mme Mlle "
    "Inc Corp Co Ltd Bros Jan Feb Mar Apr Aug Sept Sep Oct Nov Dec Fig vs cf al approx"
).replace(" ", "|")
_TOKEN = re.compile(
    rf"""
      (?:https?://|www\.)[^\s<>"]*[^\s<>".,;:!?'’”)\]}}]     # addresses in the web
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+                           # and of mail
    | (?<!{_W})[@\#]\w+                                      # users and hash tags
    | (?<!{_W})(?:[^\W\d_]\.){{2,}}(?!{_W})                  # U.S.  p.m.
    | (?<!{_W})(?:{_SHORT})\.(?!{_W})                        # Mr.
    | (?<!{_W})[A-Z]\.(?=\s+[A-Z])                           # the M. of John M. Keynes
    | (?<!\S)['’](?:s|m|d|re|ve|ll|S)(?!\S)                  # already cut off
    | (?:[A-Z]{{1,3}}(?=\$))?\$                              # US$
    | {_W}+(?:(?<=\d)[.,:]\d+|[-'’&/·]{_W}+|\.(?:com|org|net|edu|gov|co\.uk)\b)*
    | \.{{2,}} | -{{2,}} | [^\s]
    """,
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?:n['’]t|['’](?:s|m|d|re|ve|ll))$", re.IGNORECASE)
_ENDS = frozenset(".!?…。！？")
_CLOSES = frozenset("\"'”’»)]}")


def tokenise(text: str) -> list[Token]:
    """Cut text into words and signs; characters that are no white space stand in exactly one.

    A word runs up to white space or a sign. Within a word stand - ' & / and ·, periods, commas and
    colons between digits, and the signs of web and mail addresses; ``U.S.``, titles (``Mr.``)
    and single capitals before another capital (``John M. Keynes``) keep their period. ``n't`` and
    ``'s 'm 'd 're 've 'll`` are words of their own, as in the Penn Treebank and GloVe's texts;
    ``@user`` and ``#tag`` are one word each, ``..`` and ``--`` one sign. Scripts written without
    spaces are not cut: give their words.

    >>> [token.text for token in tokenise("Mr. O'Neill didn't pay $1,000.50 (in the U.S.)...")]
    ['Mr.', "O'Neill", 'did', "n't", 'pay', '$', '1,000.50', '(', 'in', 'the', 'U.S.', ')', '...']
    """
    tokens = []
    for match in _TOKEN.finditer(text):
        word, start, end = match.group(), match.start(), match.end()
        if len(word) > 2 and ("'" in word or "’" in word):
            clitic = _CLITIC.search(word)
            if clitic is not None and clitic.start():
                cut = start + clitic.start()
                tokens.append(Token(text[start:cut], start, cut))
                word, start = clitic.group(), cut
        tokens.append(Token(word, start, end))
    return tokens


def sentences(text: str, tokens: Sequence[Token]) -> list[list[Token]]:
    """Cut the tokens of a text into sentences.

    One ends at a blank line, and after . ! ? or … with the brackets and quotation marks that
    close behind, unless what follows begins with a small letter.

    >>> text = 'He said "Stop." Then he left. e.g. this.'
    >>> [" ".join(t.text for t in s) for s in sentences(text, tokenise(text))]
    ['He said " Stop . "', 'Then he left . e.g. this .']
    """
    found: list[list[Token]] = []
    current: list[Token] = []
    ended = False
    for token in tokens:
        gap = text[current[-1].end : token.start] if current else ""
        closes = ended and not gap and token.text in _CLOSES
        if current and not closes:
            follows = ended and bool(gap) and not token.text[0].islower()
            if follows or gap.count("\n") > 1:
                found.append(current)
                current = []
        current.append(token)
        ended = closes or (token.text[-1] in _ENDS and (len(token.text) == 1 or _is_dots(token)))
    return [*found, current] if current else found


def _is_dots(token: Token) -> bool:
    return set(token.text) <= _ENDS
