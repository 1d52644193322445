"""Tags as brackets, as the shared tasks of CoNLL write spans in columns.

``(PER*`` opens a span, ``*)`` closes it, and ``*`` is a word inside a span or in none. A span of
one word is ``(PER*)`` in CoNLL-2005, ``(PER)`` in CoNLL-2012, and ``(PER*PER)`` in CoNLL-2004,
which closes longer ones with ``*PER)``. Spans within spans are not read.

>>> canonical(["(PER*", "*", "*)", "*", "(LOC*)"])
['B-PER', 'I-PER', 'E-PER', 'O', 'S-LOC']
>>> written(["B-PER", "E-PER", "O", "S-LOC"], "(X)")
['(PER*', '*)', '*', '(LOC)']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

OUTSIDE = "*"
FORMS = ("(X*)", "(X)", "(X*X)")  # of a span of one word, by which notations are named
_TAG = re.compile(r"\((?P<label>[^()*]+)(?:(?P<star>\*)?(?P<end>[^()*]*)(?P<close>\)))?\*?")
_CLOSE = re.compile(r"\*[^()*]*\)|\)")


class Bracket(NamedTuple):
    """A tag: the label of the span that it opens, if it does, and whether it closes one."""

    label: str
    closes: bool


def bracket_of(tag: str) -> Bracket | None:
    """The parts of a tag; None of another kind of tag.

    >>> bracket_of("(PER*"), bracket_of("*)"), bracket_of("B-PER")
    (Bracket(label='PER', closes=False), Bracket(label='', closes=True), None)
    """
    if tag == OUTSIDE:
        return Bracket("", False)
    if _CLOSE.fullmatch(tag):
        return Bracket("", True)
    found = _TAG.fullmatch(tag)
    return found and Bracket(found["label"], found["close"] is not None)


def form_of(counts: Mapping[str, int]) -> str:
    """The form of FORMS that most spans of one word have; nothing where no span is opened."""
    forms = dict.fromkeys(FORMS, 0)
    opened = False
    for tag, many in counts.items():
        found = _TAG.fullmatch(tag)
        opened = opened or found is not None
        if found and found["close"]:
            form = "(X)" if not found["star"] else "(X*X)" if found["end"] else "(X*)"
            forms[form] += many
    return max(forms, key=lambda form: forms[form]) if opened else ""


def canonical(tags: Iterable[str]) -> list[str]:
    """A sentence's tags as those of IOBES; what is no bracket stays, and a bracket that closes
    nothing is O."""
    found: list[str] = []
    label = ""
    for tag in tags:
        bracket = bracket_of(tag)
        if bracket is None:
            found.append(tag)
            continue
        opened, closes = bracket
        prefix = ("S" if closes else "B") if opened else ("E" if closes else "I")
        label = opened or label
        found.append(f"{prefix}-{label}" if label else "O")
        label = "" if closes else label
    return found


def written(tags: Iterable[str], form: str) -> list[str]:
    """Tags of IOBES as brackets, each by itself."""
    return [_written(tag, form) for tag in tags]


def _written(tag: str, form: str) -> str:
    prefix, _, label = tag.partition("-")
    if prefix == "B":
        return f"({label}*"
    if prefix == "S":
        return form.replace("X", label)
    if prefix == "E":
        return f"*{label})" if form == "(X*X)" else "*)"
    return OUTSIDE
