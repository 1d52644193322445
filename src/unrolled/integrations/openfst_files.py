"""Files of OpenFst: binary ones of the types ``vector`` and ``const``, text, and symbol tables.

A binary file is a header, then the states. All numbers are little-endian, a string is its length
(int32) and its bytes:

======  ==========================================================================================
header  magic number (int32), type of the FST, type of its arcs, version and flags (int32),
        properties (uint64), start, number of states, number of arcs (int64)
vector  for each state its final weight (float32) and number of arcs (int64), then its arcs
const   for each state its final weight (float32), first arc, number of arcs, of input epsilons and
        of output epsilons (uint32); then all arcs
arc     input label, output label (int32), weight (float32), next state (int32)
======  ==========================================================================================

Text has a line for each arc, ``source target input output weight``, and one for each final state,
``state weight``; the first line's source is the start.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from unrolled.errors import SettingError
from unrolled.storage.atomic import atomic_write
from unrolled.text.symbol_table import SymbolTable

Array = np.ndarray[Any, Any]

TYPES = ("vector", "const")
_MAGIC = 2125659606
_VERSION = 2
_EXPANDED, _MUTABLE, _INPUT_SORTED = 0x1, 0x2, 0x10000000
_CHUNK = 1 << 18  # states written at a time, or arcs


@dataclass(frozen=True)
class Fst:
    """A weighted finite-state transducer over the tropical semiring: weights are costs, -log p.

    Attributes:
        start: the start state.
        finals: (S,) float32, cost of ending in each state; infinite where no path may end.
        first: (S + 1,) int64, the first arc of each state, and the number of arcs A.
        inputs: (A,) int32 input labels, ascending within a state; 0 is epsilon.
        outputs: (A,) int32 output labels.
        weights: (A,) float32 costs.
        targets: (A,) int32 next states.
    """

    start: int
    finals: Array
    first: Array
    inputs: Array
    outputs: Array
    weights: Array
    targets: Array


def write_fst(fst: Fst, path: str | os.PathLike[str], *, type: str = "vector") -> None:
    """Write a binary file that OpenFst and Kaldi read.

    Args:
        type: ``vector``, which programs may change, or ``const``, which they may map into memory.

    Raises:
        SettingError: another type, or more arcs than the file can number.
    """
    if type not in TYPES:
        raise SettingError(f"the type of the FST is {type!r}, allowed are {', '.join(TYPES)}")
    if type == "const" and fst.weights.size >= 2**32:
        raise SettingError(f"a const FST has at most {2**32 - 1} arcs, not {fst.weights.size}")
    properties = _EXPANDED | _INPUT_SORTED | (_MUTABLE if type == "vector" else 0)
    with atomic_write(path) as file:
        file.write(struct.pack("<i", _MAGIC))
        for name in (type, "standard"):
            file.write(struct.pack("<i", len(name)) + name.encode())
        sizes = fst.finals.size, fst.weights.size
        file.write(struct.pack("<iiQqqq", _VERSION, 0, properties, fst.start, *sizes))
        (_write_vector if type == "vector" else _write_const)(fst, file)


def _write_vector(fst: Fst, file: BinaryIO) -> None:
    """States with their arcs, all as 32-bit words: three for a state, four for an arc."""
    for low in range(0, fst.finals.size, _CHUNK):
        first = fst.first[low : low + _CHUNK + 1]
        states, arcs = first.size - 1, slice(int(first[0]), int(first[-1]))
        counts = np.diff(first)
        words = np.empty(3 * states + 4 * (arcs.stop - arcs.start), np.int32)
        at = 3 * np.arange(states) + 4 * (first[:-1] - first[0])
        words[at] = fst.finals[low : low + states].view(np.int32)
        words[at + 1], words[at + 2] = counts, 0
        at = np.repeat(at + 3 - 4 * (first[:-1] - first[0]), counts)
        at += 4 * np.arange(arcs.stop - arcs.start)
        for place, column in enumerate(_columns(fst, arcs)):
            words[at + place] = column
        file.write(words.astype("<i4", copy=False).data)


def _write_const(fst: Fst, file: BinaryIO) -> None:
    for low in range(0, fst.finals.size, _CHUNK):
        first = fst.first[low : low + _CHUNK + 1]
        states = np.zeros((first.size - 1, 5), np.uint32)
        states[:, 0] = fst.finals[low : low + _CHUNK].view(np.uint32)
        states[:, 1], states[:, 2] = first[:-1], np.diff(first)
        for column, labels in ((3, fst.inputs), (4, fst.outputs)):
            zeros = np.flatnonzero(labels[first[0] : first[-1]] == 0) + first[0]
            owners = np.searchsorted(first, zeros, side="right") - 1
            states[:, column] = np.bincount(owners, minlength=first.size - 1)
        file.write(states.astype("<u4", copy=False).data)
    for low in range(0, fst.weights.size, _CHUNK):
        arcs = np.stack(_columns(fst, slice(low, low + _CHUNK)), axis=1)
        file.write(np.ascontiguousarray(arcs, "<i4").data)


def _columns(fst: Fst, arcs: slice) -> list[Array]:
    """The four numbers of arcs as int32 bits."""
    return [
        fst.inputs[arcs],
        fst.outputs[arcs],
        fst.weights[arcs].view(np.int32),
        fst.targets[arcs],
    ]


def write_fst_text(fst: Fst, symbols: SymbolTable, path: str | os.PathLike[str]) -> None:
    """Write text for ``fstcompile --isymbols --osymbols``, labels as words."""
    words = symbols.words_by_label()
    with atomic_write(path) as file:
        for lines in _text(fst, words):
            file.write("".join(lines).encode(errors="replace"))


def _text(fst: Fst, words: list[str]) -> Iterator[list[str]]:
    """Lines: the arcs of the start state, final weights, the other arcs."""
    begin, end = (int(place) for place in fst.first[fst.start : fst.start + 2])
    yield _arc_lines(fst, words, begin, end)
    finals = np.flatnonzero(np.isfinite(fst.finals))
    finals = finals[np.argsort(finals != fst.start, kind="stable")]  # its own line first
    weights = fst.finals[finals].tolist()
    pairs = zip(finals.tolist(), weights, strict=True)
    yield [f"{state}\t{weight:.9g}\n" for state, weight in pairs]
    for start, stop in ((0, begin), (end, fst.weights.size)):
        for low in range(start, stop, _CHUNK):
            yield _arc_lines(fst, words, low, min(low + _CHUNK, stop))


def _arc_lines(fst: Fst, words: list[str], low: int, high: int) -> list[str]:
    arcs = slice(low, high)
    sources = np.searchsorted(fst.first, np.arange(low, high), side="right") - 1
    columns = (sources, fst.targets[arcs], fst.inputs[arcs], fst.outputs[arcs], fst.weights[arcs])
    return [
        f"{source}\t{target}\t{words[given]}\t{words[made]}\t{weight:.9g}\n"
        for source, target, given, made, weight in zip(
            *(column.tolist() for column in columns), strict=True
        )
    ]
