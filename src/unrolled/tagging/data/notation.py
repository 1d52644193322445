"""How tags of spans are written: letters, side, separator and case.

Within the library a tag is a prefix of IOBES, a hyphen and a label: ``B-PER``. Files have other
letters too (``L-PER`` and ``U-PER`` in BILOU), the prefix at the end (``PER-B``), other separators
(``B_PER``), lower case (``b-PER``), and brackets (``(PER*``).

>>> notation = notation_named("BILOU X_b")
>>> notation.canonical(["PER_b", "PER_l", "o", "LOC_u"])
['B-PER', 'E-PER', 'O', 'S-LOC']
>>> notation.written(["B-PER", "E-PER", "O", "S-LOC"])
['PER_b', 'PER_l', 'o', 'LOC_u']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from unrolled.errors import SettingError
from unrolled.tagging.data import brackets
from unrolled.tagging.data.brackets import FORMS

BRACKETS = "BRACKETS"
SCHEMES = ("IO", "IOB1", "BIO", "IOE1", "IOE2", "IOBES", "BILOU", "BMES", "BMEWO", BRACKETS)
OUTSIDE = ("O", ".")  # conlleval takes a tag "." for O
SEPARATORS = "-_:./|+=#~@"
# Each scheme's letters, and what they are in IOBES. Of schemes that fit equally well the first is
# found.
_LETTERS: dict[str, dict[str, str]] = {
    "BIO": {"B": "B", "I": "I"},
    "IOE2": {"I": "I", "E": "E"},
    "IOBES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "E": "E", "S": "S"},
    "BMEWO": {"B": "B", "M": "I", "E": "E", "W": "S"},
}
_EVERY_LETTER = frozenset(letter for letters in _LETTERS.values() for letter in letters)
# Names that mean one scheme whatever the order of their letters: BIOES, BIOUL, BMESO.
_NAMES = {frozenset(name): name for name in ("IOBES", "BILOU", "BMES", "BMEWO")} | {
    frozenset("BMESO"): "BMES"
}
_EXAMPLE = re.compile(rf"(?:([Bb])([{re.escape(SEPARATORS)}])X|X([{re.escape(SEPARATORS)}])([Bb]))")


class Notation(NamedTuple):
    """A scheme and how its tags are written.

    Attributes:
        scheme: one of SCHEMES, or none: tags are plain labels.
        separator: between prefix and label; of brackets what a span of one word is, see `brackets`.
        suffix: whether the prefix stands behind the label.
        lower: whether the prefix is a small letter.
        outside: the tag of words in no span.
    """

    scheme: str = "BIO"
    separator: str = "-"
    suffix: bool = False
    lower: bool = False
    outside: str = "O"

    @property
    def name(self) -> str:
        """The scheme, then an example of a tag and the tag outside where they are uncommon ones.

        >>> Notation("BILOU").name, Notation("BIO", "_", suffix=True, lower=True).name
        ('BILOU', 'BIO X_b O')
        """
        if self.scheme == BRACKETS:
            return BRACKETS if self.separator in ("-", FORMS[0]) else f"{BRACKETS} {self.separator}"
        if self[1:] == ("-", False, False, "O"):
            return self.scheme
        letter, outside = ("b", "o") if self.lower else ("B", "O")
        example = f"X{self.separator}{letter}" if self.suffix else f"{letter}{self.separator}X"
        return " ".join([self.scheme, example, *[self.outside] * (self.outside != outside)])

    @property
    def base(self) -> str:
        """The scheme of the canonical tags: IO, IOB1, BIO, IOE1, IOE2 or IOBES; or none."""
        marked = ("BILOU", "BMES", "BMEWO", BRACKETS)
        return "IOBES" if self.scheme in marked else self.scheme

    def parts(self, tag: str) -> tuple[str, str] | None:
        """The tag's letter, as it is written, and label; None if it is not of this form."""
        if len(tag) == 1:
            return tag, ""
        if self.suffix:
            label, found, letter = tag.rpartition(self.separator)
        else:
            letter, found, label = tag.partition(self.separator)
        return (letter, label) if found and len(letter) == 1 else None

    def canonical(self, tags: Iterable[str]) -> list[str]:
        """A sentence's tags as prefix of IOBES, hyphen and label.

        One that is not of this notation stays.
        """
        if self.scheme == "none" or self.name == self.base:
            return list(tags)
        if self.scheme == BRACKETS:
            return brackets.canonical(tags)
        return [self._canonical(tag) for tag in tags]

    def written(self, tags: Iterable[str]) -> list[str]:
        """Canonical tags, of the scheme `base`, in this notation."""
        if self.scheme == "none" or self.name == self.base:
            return list(tags)
        if self.scheme == BRACKETS:
            return brackets.written(tags, self.separator)
        return [self._written(tag) for tag in tags]

    def _canonical(self, tag: str) -> str:
        parts = self.parts(tag)
        if parts is None or tag == self.outside or tag in OUTSIDE:
            return "O" if tag == self.outside else tag
        letter, label = parts
        prefix = _letters_of(self.scheme).get(letter.upper())
        if prefix is None or letter.islower() != self.lower:
            return tag
        return f"{prefix}-{label}" if label else prefix

    def _written(self, tag: str) -> str:
        prefix, _, label = tag.partition("-")
        if prefix == "O":
            return self.outside
        by_prefix = {new: old for old, new in _letters_of(self.scheme).items()}
        letter = by_prefix[prefix].lower() if self.lower else by_prefix[prefix]
        if not label:
            return letter
        return self.separator.join((label, letter) if self.suffix else (letter, label))


@lru_cache(maxsize=64)
def notation_named(name: str) -> Notation:
    """The notation of a scheme's name in any case, perhaps with an example as `Notation.name` has.

    Raises:
        SettingError: there is no such scheme or notation.

    >>> notation_named("iob2").scheme, notation_named("BIOES").scheme, notation_named("BIOUL").base
    ('BIO', 'IOBES', 'IOBES')
    """
    scheme, *rest = name.split(" ")
    scheme = {"IOB2": "BIO", "IOB": "IOB1"}.get(scheme.upper(), scheme.upper())
    scheme = _NAMES.get(frozenset(scheme), scheme) if len(scheme) > 3 else scheme
    scheme = scheme.lower() if scheme == "NONE" else scheme
    if scheme not in (*SCHEMES, "none"):
        allowed = f"allowed are {', '.join(SCHEMES)} and none"
        raise SettingError(f"the tag scheme is {name!r}, {allowed}")
    if scheme == BRACKETS:
        form = " ".join(rest) or FORMS[0]
        if form not in FORMS:
            hint = f"Write a span of one word with the label X: {', '.join(FORMS)}"
            raise SettingError(f"the tag notation is {name!r}", hint=hint)
        return Notation(BRACKETS, form, outside=brackets.OUTSIDE)
    if not rest:
        return Notation(scheme)
    example = _EXAMPLE.fullmatch(rest[0])
    if example is None or len(rest) > 2:
        hint = "Write a tag with the label X, such as 'BIO B_X' or 'BILOU X-b'"
        raise SettingError(f"the tag notation is {name!r}", hint=hint)
    first, left, right, last = example.groups()
    lower = (first or last).islower()
    outside = rest[1] if rest[1:] else "o" if lower else "O"
    return Notation(scheme, left or right, right is not None, lower, outside)


class Form(NamedTuple):
    """What `find_form` finds.

    Attributes:
        notation: its scheme is only known by its letters; BIO may also be IO or IOB1.
        known, foreign: how many tags besides O, or *, are of the notation, and are not.
        first_foreign: one that is not.
    """

    notation: Notation
    known: int
    foreign: int
    first_foreign: str = ""


def find_form(counts: Mapping[str, int]) -> Form:
    """The notation that most tags have; none where most are plain labels.

    A prefix behind the label, and another separator than a hyphen, are only found where there is
    a B or I, so that parts of speech such as ``N.S`` stay plain labels.

    Args:
        counts: how often each tag comes.
    """
    bracketed = _bracketed(counts)
    if bracketed is not None:
        return bracketed
    small, capital = counts.get("o", 0), counts.get("O", 0)
    rest = {tag: n for tag, n in counts.items() if tag not in (*OUTSIDE, "o")}
    total = sum(rest.values())
    best: tuple[int, Notation] = (0, Notation())
    for suffix in (False, True):
        for separator in SEPARATORS:
            if separator != "-" and not any(separator in tag for tag in rest):
                continue
            for lower in (False, True):
                form = Notation("none", separator, suffix, lower)
                known, scheme = _best_scheme(form, rest, has_outside=bool(small or capital))
                if known > best[0]:
                    best = known, form._replace(scheme=scheme)
    known, found = best
    if total and total - known >= known:
        return Form(Notation("none"), known, total - known)
    outside = "o" if small > capital or (found.lower and not capital) else "O"
    found = found._replace(outside=outside)
    foreign = next((tag for tag in counts if not is_of(found, tag)), "")
    return Form(found, known, total - known, foreign)


def is_of(notation: Notation, tag: str) -> bool:
    """Whether a tag is written in a notation.

    >>> is_of(Notation("BILOU"), "U-PER"), is_of(Notation("BIO"), "U-PER")
    (True, False)
    """
    if notation.scheme == BRACKETS:
        return brackets.bracket_of(tag) is not None
    if tag in OUTSIDE or tag in ("o", notation.outside):
        return True
    letter, _ = notation.parts(tag) or ("", "")
    return letter.upper() in _letters_of(notation.scheme) and letter.islower() == notation.lower


def _bracketed(counts: Mapping[str, int]) -> Form | None:
    """The notation of brackets, where most tags have it and one opens a span."""
    form = brackets.form_of(counts)
    if not form:
        return None
    notation = Notation(BRACKETS, form, outside=brackets.OUTSIDE)
    known = sum(n for tag, n in counts.items() if is_of(notation, tag))
    outside = counts.get(brackets.OUTSIDE, 0)
    foreign = sum(counts.values()) - known
    if foreign >= known:
        return None
    first = next((tag for tag in counts if not is_of(notation, tag)), "")
    return Form(notation, known - outside, foreign, first)


def _letters_of(scheme: str) -> dict[str, str]:
    return _LETTERS.get("IOE2" if scheme == "IOE1" else scheme, _LETTERS["BIO"])


def _best_scheme(form: Notation, counts: Mapping[str, int], has_outside: bool) -> tuple[int, str]:
    """How many tags the scheme that fits best explains, and its name."""
    letters: dict[str, int] = {}
    labelled = False
    for tag, many in counts.items():
        letter, label = form.parts(tag) or ("", "")
        if letter.upper() in _EVERY_LETTER and letter.islower() == form.lower:
            letters[letter.upper()] = letters.get(letter.upper(), 0) + many
            labelled = labelled or bool(label)
    usual = (form.separator, form.suffix, form.lower) == ("-", False, False)
    best = (0, "none")
    for scheme, allowed in _LETTERS.items():
        needs_begin = not usual or (not labelled and scheme not in ("BIO", "IOE2", "IOBES"))
        if needs_begin and not letters.keys() & {"B", "I"}:
            continue
        known = sum(many for letter, many in letters.items() if letter in allowed)
        # Where each word is in a span, as in word segmentation, B, E and S are those of BMES.
        chinese = scheme == "BMES" and not (has_outside or labelled or "I" in letters)
        if known > best[0] or (known == best[0] and chinese and best[1] == "IOBES"):
            best = known, scheme
    return best
