"""N-best lists: read from and written to the formats of Kaldi, Moses, RNNLM and SRILM.

=======  ===========================================================================================
kaldi    An archive of text, ``utt-1 the words``, numbers from the best on; beside it archives of
         costs with the same keys, ``utt-1 123.4``: acoustic and language model, as
         ``nbest-to-linear`` writes them. Costs are negative natural logarithms.
moses    ``0 ||| the words ||| LM0= -36.1 TM0= ... ||| -9.2``, perhaps more fields after. The total
         score takes the acoustic score's place; the old language model's is the first number after
         its label among the features.
rnnlm    ``utt the words``, lines of one utterance together, as ``rnnlm -nbest`` reads them; no
         scores.
srilm    ``acoustic lm number the words``, two logarithms to base 10 and how many words: one
         file for each utterance, named by it, or the utterance's name before each line. Also
         NBestList1.0 and NBestList2.0, whose scores are bytelogs (nbest-format(5) of SRILM).
=======  ===========================================================================================

Scores here are natural logarithms, so that more is better.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.text.sources import files_of
from unrolled.text.tokens import iter_sentences

Array = np.ndarray[Any, Any]

FORMATS = ("kaldi", "moses", "rnnlm", "srilm")
_LN10 = math.log(10)
_BYTELOG = 1024 * math.log(1.0001)
_NO_WORDS = ("<s>", "</s>", "-pau-")


@dataclass(frozen=True)
class NbestLists:
    """Hypotheses of many utterances, flat.

    Attributes:
        format: where they come from, one of `FORMATS`.
        utterances: (N,) names.
        starts: (N + 1,) int64, where each utterance's hypotheses begin; none is without.
        texts: (H,) the words of each hypothesis, separated by one space.
        acoustic: (H,) float64, all scores but the language model's; 0 if unknown.
        old: (H,) float64, the language model's score so far; None if unknown.
        fields: (H,) for Moses what else a line holds.
        files: (N,) for SRILM the name of each utterance's file; None if lines name utterances.
    """

    format: str
    utterances: list[str]
    starts: Array
    texts: list[str]
    acoustic: Array
    old: Array | None
    fields: list[list[str]] | None = None
    files: list[str] | None = None

    @property
    def owners(self) -> Array:
        """(H,) number of each hypothesis's utterance."""
        return np.repeat(np.arange(len(self.utterances)), np.diff(self.starts))

    @property
    def words(self) -> Array:
        """(H,) float64 number of words of each hypothesis."""
        return np.array([text.count(" ") + 1 if text else 0 for text in self.texts], np.float64)


def read_nbest(
    path: str,
    format: str,
    *,
    acoustic: str | None = None,
    old_lm: str | None = None,
    lm_label: str = "LM0",
) -> NbestLists:
    """Read n-best lists.

    Args:
        path: a file (compressed too), or for srilm a folder of them.
        format: see the module.
        acoustic, old_lm: Kaldi's archives of costs.
        lm_label: the old language model among Moses's features; "" for none.

    Raises:
        TextError: with the file and the line, what cannot be read.
        SettingError: an unknown format, or archives with one that has none.
    """
    if format not in FORMATS:
        raise SettingError(f"the format is {format!r}, allowed are {', '.join(FORMATS)}")
    if format != "kaldi" and (acoustic or old_lm):
        raise SettingError(f"archives of costs belong to the format kaldi, and this is {format}")
    if format == "srilm":
        return _read_srilm(path)
    if format == "kaldi":
        return _read_kaldi(path, acoustic, old_lm)
    return _read_moses(path, lm_label) if format == "moses" else _read_rnnlm(path)


class _Gathered:
    """Hypotheses as they are read; those of one utterance stand together."""

    def __init__(self) -> None:
        self.utterances: list[str] = []
        self.sizes: list[int] = []
        self.texts: list[str] = []
        self.scores: list[tuple[float, float | None]] = []
        self.fields: list[list[str]] = []
        self._known: set[str] = set()

    def add(self, utterance: str, text: str, place: str, score: tuple[float, Any]) -> None:
        if not self.utterances or self.utterances[-1] != utterance:
            if utterance in self._known:
                raise TextError(
                    f"utterance {utterance!r} comes again after others",
                    where=place,
                    hint="Lines of one utterance stand together, each with its name first; sort "
                    "them, or put names there",
                )
            self._known.add(utterance)
            self.utterances.append(utterance)
            self.sizes.append(0)
        self.sizes[-1] += 1
        self.texts.append(" ".join(text.split()))
        self.scores.append(score)

    def lists(self, format: str, path: str) -> NbestLists:
        if not self.texts:
            raise TextError("holds no hypotheses", where=path)
        acoustic, old = zip(*self.scores, strict=True)
        return NbestLists(
            format,
            self.utterances,
            np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64),
            self.texts,
            np.array(acoustic, np.float64),
            None if None in old else np.array(old, np.float64),
            self.fields or None,
        )


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """Each line that is not empty with its place."""
    for number, line in enumerate(iter_sentences(path), 1):
        if line.strip():
            yield f"{path}:{number}", line


def finite_number(text: str, what: str, place: str) -> float:
    """A number of a line.

    Raises:
        TextError: it is none, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TextError(f"{what} is {text!r}, not a finite number", where=place)
    return value


def _read_kaldi(path: str, acoustic: str | None, old_lm: str | None) -> NbestLists:
    costs = [_costs(name) if name else None for name in (acoustic, old_lm)]
    gathered = _Gathered()
    keys = set()
    for place, line in _lines(path):
        key, _, text = line.partition(" ")
        utterance, mark, rank = key.rpartition("-")
        if not (mark and utterance and rank.isdecimal()):
            raise TextError(
                f"begins with {key!r}, not with an utterance and a number such as utt-1",
                where=place,
            )
        if key in keys:
            raise TextError(f"{key!r} comes twice", where=place)
        keys.add(key)
        found = []
        for table, name in zip(costs, (acoustic, old_lm), strict=True):
            if table is not None and key not in table:
                raise TextError(f"{key!r} has no cost in {name}", where=place)
            found.append(None if table is None else -table[key])
        gathered.add(utterance, text, place, (found[0] or 0.0, found[1]))
    return gathered.lists("kaldi", path)


def _costs(path: str) -> dict[str, float]:
    table = {}
    for place, line in _lines(path):
        parts = line.split()
        if len(parts) != 2:
            raise TextError(f"has {len(parts)} fields, not a key and a cost", where=place)
        if parts[0] in table:
            raise TextError(f"{parts[0]!r} comes twice", where=place)
        table[parts[0]] = finite_number(parts[1], "the cost", place)
    return table


def _read_moses(path: str, label: str) -> NbestLists:
    gathered = _Gathered()
    for place, line in _lines(path):
        fields = [field.strip() for field in line.split("|||")]
        if len(fields) < 4:
            raise TextError(
                f"has {len(fields)} fields, not number ||| text ||| features ||| score",
                where=place,
            )
        if not fields[0].isdecimal():
            raise TextError(f"begins with {fields[0]!r}, not with a number", where=place)
        total = finite_number(fields[3], "the score", place)
        old = _feature(fields[2], label, place) if label else None
        gathered.add(fields[0], fields[1], place, (total, old))
        gathered.fields.append(fields)
    return gathered.lists("moses", path)


def _feature(features: str, label: str, place: str) -> float:
    """The first number after ``label=`` or ``label:``."""
    parts = features.split()
    for part, following in itertools.pairwise(parts):
        if part in (f"{label}=", f"{label}:"):
            return finite_number(following, f"the feature {label}", place)
    raise TextError(
        f"has no feature {label}", where=place, hint="Name another, or '' if there is none"
    )


def _read_rnnlm(path: str) -> NbestLists:
    gathered = _Gathered()
    for place, line in _lines(path):
        utterance, _, text = line.strip().partition(" ")
        gathered.add(utterance, text, place, (0.0, None))
    lists = gathered.lists("rnnlm", path)
    names = lists.utterances
    if not any(letter in "0123456789_-./" for name in names for letter in name):
        few = ", ".join(map(repr, names[:3]))
        what = (
            f"{path}: the names of utterances are taken from the first word of each line ({few}, "
            "...): if these are spoken words, put a name such as utt1 before each line"
        )
        warnings.warn(what, UnrolledWarning, stacklevel=3)
    return lists


def _read_srilm(path: str) -> NbestLists:
    gathered = _Gathered()
    files: list[str] | None = []
    for file in files_of(path):
        name = "-" if file is None else str(file)
        header = ""
        for place, line in _lines(name):
            parts = line.split()
            if parts[0] in ("NBestList1.0", "NBestList2.0") and len(parts) == 1:
                header = parts[0]
                continue
            utterance = Path(name).name.split(".")[0]
            if header:
                words, score = _decipher(parts, header, place)
            else:
                if _has_name(parts):
                    utterance, files, parts = parts[0], None, parts[1:]
                words, score = _srilm_fields(parts, place)
            if files is not None and gathered.utterances[-1:] != [utterance]:
                files.append(Path(name).name)
            text = " ".join(word for word in words if word not in _NO_WORDS)
            gathered.add(utterance, text, place, score)
    return replace(gathered.lists("srilm", path), files=files)


def _srilm_fields(parts: list[str], place: str) -> tuple[list[str], tuple[float, float]]:
    """Words and scores of ``acoustic lm number words``."""
    if len(parts) < 3:
        raise TextError(
            f"has {len(parts)} fields, not acoustic, lm, number of words, words", where=place
        )
    acoustic = finite_number(parts[0], "the acoustic score", place) * _LN10
    old = finite_number(parts[1], "the language model's score", place) * _LN10
    finite_number(parts[2], "the number of words", place)
    return parts[3:], (acoustic, old)


def _decipher(
    parts: list[str], header: str, place: str
) -> tuple[list[str], tuple[float, float | None]]:
    """Words and scores of ``(score) words``; in version 2 each word has its times and scores.

    Units below words, such as phones, lie within the time of the word before them.
    """
    if not (parts[0].startswith("(") and parts[0].endswith(")")):
        raise TextError(f"begins with {parts[0]!r}, not with a score such as (-1234)", where=place)
    total = finite_number(parts[0][1:-1], "the score", place) * _BYTELOG
    if header == "NBestList1.0":
        return parts[1:], (total, None)
    words, acoustic, old, last = [], 0.0, 0.0, -math.inf
    for at in range(1, len(parts), 11):
        word, *given = parts[at : at + 11]
        if given[::9] != ["(", ")"] or given[1:9:2] != ["st:", "et:", "g:", "a:"]:
            shown = " ".join(given)
            what = f"{word!r} is followed by {shown!r}, not by ( st: 1 et: 2 g: 3 a: 4 )"
            raise TextError(what, where=place)
        start, end, language, sound = (
            finite_number(value, f"{name} of {word!r}", place)
            for name, value in zip(given[1:9:2], given[2:9:2], strict=True)
        )
        if start < last and end <= last:
            continue
        words.append(word)
        last, acoustic, old = end, acoustic + sound, old + language
    return words, (acoustic * _BYTELOG, old * _BYTELOG)


def _has_name(parts: list[str]) -> bool:
    """Whether three numbers follow a name, which may be a number too."""
    if len(parts) < 4 or not all(map(_is_number, parts[1:4])):
        return False
    return not _is_number(parts[0]) or (parts[3].isdecimal() and not parts[2].isdecimal())


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_references(path: str, lists: NbestLists) -> list[str]:
    """The reference of each utterance: lines ``utt the words``; for Moses line k is sentence k.

    Raises:
        TextError: an utterance has none, or two.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(iter_sentences(path)):
        if lists.format == "moses":
            table[str(number)] = line
        elif line.strip():
            utterance, _, text = line.strip().partition(" ")
            if utterance in table:
                raise TextError(f"{utterance!r} comes twice", where=f"{path}:{number + 1}")
            table[utterance] = text
    for utterance in lists.utterances:
        if utterance not in table:
            raise TextError(f"utterance {utterance!r} has no reference", where=path)
    return [table[utterance] for utterance in lists.utterances]


def nbest_lines(
    lists: NbestLists, order: Array, totals: Array, new: Array, *, best: bool = False
) -> Iterator[str]:
    """The lists in their format and in a new order.

    Kaldi's numbers are given anew, Moses's lines get the feature ``unrolled=`` and the new total,
    SRILM's of several utterances begin with the utterance.

    Args:
        order: (H,) hypotheses, best first within each utterance, utterances as they came.
        totals: (H,) new total scores. new: (H,) the new language model's scores.
        best: only the first of each, as ``utt the words``; for Moses the words alone.
    """
    write: dict[str, Callable[[int, int, str], str]] = {
        "kaldi": lambda at, rank, utterance: f"{utterance}-{rank} {lists.texts[at]}",
        "rnnlm": lambda at, _, utterance: f"{utterance} {lists.texts[at]}",
        "moses": lambda at, *_: _moses_line(lists, at, totals[at], new[at]),
        "srilm": lambda at, _, utterance: f"{utterance} {_srilm_line(lists, at, new[at])}",
    }
    if lists.files is not None and len(lists.utterances) == 1:
        write["srilm"] = lambda at, *_: _srilm_line(lists, at, new[at])
    for number, utterance in enumerate(lists.utterances):
        places = order[lists.starts[number] : lists.starts[number + 1]].tolist()
        if best:
            text = lists.texts[places[0]]
            yield text if lists.format == "moses" else f"{utterance} {text}".rstrip()
            continue
        for rank, at in enumerate(places, 1):
            yield write[lists.format](at, rank, utterance).rstrip()


def srilm_files(lists: NbestLists, order: Array, new: Array) -> Iterator[tuple[str, Sequence[str]]]:
    """The name and the lines of each utterance's file, in a new order as for `nbest_lines`."""
    for number, name in enumerate(lists.files or []):
        places = order[lists.starts[number] : lists.starts[number + 1]].tolist()
        yield name, [_srilm_line(lists, at, new[at]).rstrip() for at in places]


def score_lines(lists: NbestLists, order: Array, totals: Array, new: Array) -> Iterator[str]:
    """``utt-1``, its new total score and the new language model's, of each line of the lists."""
    yield "hypothesis\ttotal\tlm"
    for number, utterance in enumerate(lists.utterances):
        places = order[lists.starts[number] : lists.starts[number + 1]].tolist()
        for rank, at in enumerate(places, 1):
            yield f"{utterance}-{rank}\t{totals[at]:.6f}\t{new[at]:.6f}"


def _moses_line(lists: NbestLists, at: int, total: float, new: float) -> str:
    number, text, features, _, *more = (lists.fields or [])[at]
    fields = [number, text, f"{features} unrolled= {new:.6f}", f"{total:.6f}", *more]
    return " ||| ".join(fields)


def _srilm_line(lists: NbestLists, at: int, new: float) -> str:
    acoustic = lists.acoustic[at] / _LN10
    text = lists.texts[at]
    return f"{acoustic:.6f} {new / _LN10:.6f} {int(lists.words[at])} {text}"
