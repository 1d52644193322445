"""The tags of a tagger: those of the data, those within the model, and the spans they stand for.

>>> tags = TagSet.of([["I-PER", "I-PER", "O", "I-LOC"]], "IOBES", output_scheme="IOB1")
>>> ids = tags.encode([["I-PER", "I-PER", "O", "I-LOC"]])
>>> [tags.names[number] for number in ids]
['B-PER', 'E-PER', 'O', 'S-LOC']
>>> tags.decode(ids, np.array([0, 4]))
[['I-PER', 'I-PER', 'O', 'I-LOC']]
>>> found = tags.spans(ids, np.array([0, 4]))
>>> found.begins.tolist(), found.ends.tolist()
([0, 3], [2, 4])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from unrolled.errors import TextError
from unrolled.tagging.data.notation import notation_named
from unrolled.tagging.data.schemes import PREFIXES, convert, join_tag, split_tag

Array = np.ndarray[Any, Any]

OUTSIDE = 0


class SpanArrays(NamedTuple):
    """Spans of sentences that lie end to end: words ``begins`` to ``ends``, and label numbers."""

    begins: Array
    ends: Array
    labels: Array


class TagSet:
    """K tags.

    Args:
        names: the tags within the model; ``O`` is the first one if there are spans.
        scheme: their scheme: IO, IOB1, BIO, IOE1, IOE2, IOBES or none.
        output_scheme: the scheme, with its notation, of the data, in which tags are returned.

    Raises:
        SettingError: a scheme is not one of these.
    """

    def __init__(self, names: Sequence[str], scheme: str, output_scheme: str) -> None:
        self.names = list(names)
        self.scheme, self.output_scheme = scheme, output_scheme
        self._output = notation_named(output_scheme)
        self._ids = {name: number for number, name in enumerate(self.names)}
        parts = [split_tag(name) for name in self.names]
        self.labels = list(dict.fromkeys(label for prefix, label in parts if prefix != "O"))
        self._prefix = np.array([ord(prefix[:1] or "O") for prefix, _ in parts], np.int64)
        numbers = {label: number for number, label in enumerate(self.labels)}
        self._label = np.array([numbers.get(label, -1) for _, label in parts], np.int64)
        self._written = np.array(
            self._output.written(self.names) if scheme == self._output.base else self.names, object
        )

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], scheme: str, *, output_scheme: str) -> TagSet:
        """All tags that sentences of the output scheme have in a scheme.

        Raises:
            TextError: there are no tags.
        """
        seen = {tag for tags in sentences for tag in tags}
        if not seen:
            raise TextError("no word has a tag: there is nothing to learn")
        if scheme == "none":
            return cls(sorted(seen), scheme, scheme)
        parts = map(split_tag, notation_named(output_scheme).canonical(seen))
        labels = sorted({label for prefix, label in parts if prefix != "O"})
        prefixes = [prefix for prefix in PREFIXES[scheme] if prefix != "O"]
        names = [join_tag(prefix, label) for label in labels for prefix in prefixes]
        return cls(["O", *names], scheme, output_scheme)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_spans(self) -> bool:
        """Whether tags encode spans, rather than plain labels."""
        return self.scheme != "none"

    @property
    def output_of_each(self) -> list[str]:
        """(K,) what each tag is in the output scheme, standing alone."""
        base = self._output.base
        if self.scheme == base:
            return list(self._written)
        begin = "B" if base in ("BIO", "IOBES") else "I"
        end = "E" if base in ("IOBES", "IOE2") else "I"
        single = {"IOBES": "S", "IOE2": "E"}.get(base, begin)
        names = {"O": "O", "B": begin, "S": single, "I": "I", "E": end}
        parts = map(split_tag, self.names)
        return self._output.written(join_tag(names[prefix], label) for prefix, label in parts)

    @property
    def output_names(self) -> list[str]:
        """The tags of the output scheme, sorted."""
        return sorted(set(self.output_of_each))

    def encode(self, sentences: Iterable[Sequence[str]]) -> Array:
        """Ids (N,) int64 of the tags of sentences of the output scheme, end to end."""
        ids = [
            self._ids[tag]
            for tags in sentences
            for tag in convert(tags, self.output_scheme, self.scheme)
        ]
        return np.array(ids, np.int64)

    def allowed(self) -> Array:
        """(K + 2, K + 2) bool: which tag may follow which, as a `LinearChainCRF` takes it."""
        size = len(self)
        allowed = np.ones((size + 2, size + 2), bool)
        ends = [("O", ""), *(split_tag(name) for name in self.names), ("O", "")]
        for row, before in zip((size, *range(size)), ends[:-1], strict=True):
            for column, after in zip((*range(size), size + 1), ends[1:], strict=True):
                allowed[row, column] = _may_follow(before, after, self.scheme)
        return allowed

    def spans(self, ids: Array, offsets: Array) -> SpanArrays:
        """The spans of tags (N,), read as conlleval reads them."""
        if not self.has_spans:
            none = np.zeros(0, np.int64)
            return SpanArrays(none, none, none)
        begins, ends, _ = self._borders(ids, offsets)
        starts = np.flatnonzero(begins)
        return SpanArrays(starts, np.flatnonzero(ends) + 1, self._label[ids[starts]])

    def _borders(self, ids: Array, offsets: Array) -> tuple[Array, Array, Array]:
        """Where spans begin, where they end, and where words are inside one: (N,) bool each."""
        prefix, label = self._prefix[ids], self._label[ids]
        inside = prefix != ord("O")
        apart = np.zeros(ids.size + 1, bool)  # whether a sentence ends before a word
        apart[offsets] = True
        begins = inside.copy()
        over = ~inside | (prefix == ord("E")) | (prefix == ord("S"))
        fresh = (prefix == ord("B")) | (prefix == ord("S"))
        begins[1:] &= apart[1:-1] | over[:-1] | fresh[1:] | (label[1:] != label[:-1])
        ends = inside.copy()
        ends[:-1] &= apart[1:-1] | ~inside[1:] | begins[1:]
        return begins, ends, inside

    def decode(self, ids: Array, offsets: Array) -> list[list[str]]:
        """Tags of each sentence in the output scheme."""
        if self.scheme == self._output.base:
            every = self._written[ids].tolist()
        else:
            every = self._output.written(self._converted(ids, offsets).tolist())
        return [every[low:high] for low, high in pairwise(offsets.tolist())]

    def _converted(self, ids: Array, offsets: Array) -> Array:
        """Canonical tags (N,) of the output scheme with the same spans."""
        begins, ends, inside = self._borders(ids, offsets)
        base = self._output.base
        prefix = np.where(inside, "I", "O").astype(object)
        label = self._label[ids]
        if base in ("BIO", "IOBES"):
            prefix[begins] = "B"
        elif base == "IOB1":
            touching = begins.copy()
            touching[1:] &= inside[:-1] & (label[1:] == label[:-1])
            touching[offsets[:-1][offsets[:-1] < ids.size]] = False
            prefix[touching] = "B"
        elif base == "IOE2":
            prefix[ends] = "E"
        elif base == "IOE1":
            followed = ends.copy()
            followed[:-1] &= begins[1:] & (label[1:] == label[:-1])
            followed[offsets[1:][offsets[1:] > 0] - 1] = False
            prefix[followed] = "E"
        if base == "IOBES":
            prefix[ends & ~begins] = "E"
            prefix[ends & begins] = "S"
        names = prefix
        places = np.flatnonzero(inside)
        names[places] = [
            join_tag(prefix[place], self.labels[label[place]]) for place in places.tolist()
        ]
        return names

    def continuations(self) -> Array:
        """(K,) of each tag the tag that would carry its span on, or -1: I-X of B-X and I-X."""
        carried = np.full(len(self), -1, np.int64)
        if self.scheme not in ("BIO", "IO", "IOB1"):
            return carried  # IOBES marks where a span ends
        for number, name in enumerate(self.names):
            prefix, label = split_tag(name)
            if prefix != "O":
                carried[number] = self._ids.get(join_tag("I", label), -1)
        return carried


def _may_follow(before: tuple[str, str], after: tuple[str, str], scheme: str) -> bool:
    """Whether a tag may follow another; before and after a sentence is an O."""
    (prefix, label), (next_prefix, next_label) = before, after
    if scheme == "BIO":
        return next_prefix != "I" or (prefix in ("B", "I") and label == next_label)
    if scheme == "IOB1":
        return next_prefix != "B" or (prefix in ("B", "I") and label == next_label)
    if scheme == "IOE2":
        return prefix != "I" or (next_prefix in ("I", "E") and label == next_label)
    if scheme == "IOE1":
        return prefix != "E" or (next_prefix in ("I", "E") and label == next_label)
    if scheme == "IOBES":
        if prefix in ("B", "I"):
            return next_prefix in ("I", "E") and label == next_label
        return next_prefix in ("O", "B", "S")
    return True
