"""Lattices in files: HTK's standard lattice format (SLF), and Kaldi's lattices as text.

=============  =====================================================================================
slf            One lattice a file, as HTK and SRILM write them: ``I=`` a node, ``J= S= E=`` a link,
               ``W=`` a word of a link or of the node that links enter, ``a=`` and ``l=`` logarithms
               to the base ``base=`` (e by default; 0: no logarithms). !NULL and marks of sentences
               are no words.
kaldi-lattice  An archive of text: the utterance, lines ``from to word graph,acoustic,transitions``
               (compact) or ``from to transition word graph,acoustic``, final states with their
               costs, an empty line. Costs are negative natural logarithms; those of the graph
               count as the old language model's. Words may be numbers of a symbol table.
=============  =====================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.rescoring.lattices import Lattice
from unrolled.rescoring.nbest import finite_number
from unrolled.rescoring.rescore import RescoringWeights
from unrolled.text.sources import files_of
from unrolled.text.symbol_table import EPSILON, SymbolTable
from unrolled.text.tokens import iter_sentences

LATTICE_FORMATS = ("slf", "kaldi-lattice")
_NO_WORDS = {"", EPSILON, "!NULL", "NULL", "<s>", "</s>", "!SENT_START", "!SENT_END"}
_FIELD = re.compile(r"""([A-Za-z][\w$]*)=("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:\\.|\S)*)""")
_LONG = {"NODES": "N", "LINKS": "L", "START": "S", "END": "E", "WORD": "W", "acoustic": "a"}
_LONG |= {"language": "l"}
_ARC = re.compile(r"\d+\s+\d+\s+\S+(\s+\S+){0,2}\s*")
_ENDINGS = (".slf", ".lat", ".htk")


def detect_format(path: str) -> str | None:
    """The format of a file or folder by its first lines; None where several are possible.

    Of lattices, Moses's and SRILM's decipherable n-best lists.
    """
    if path == "-":
        return None
    files = files_of(path)
    names = [str(file).removesuffix(".gz") for file in files]
    lines = _first_lines(str(files[0]), 6)
    if not lines:
        return None
    if lines[0].startswith(("VERSION=", "UTTERANCE=")) or names[0].endswith(_ENDINGS[0]):
        return "slf"
    if lines[0] in ("NBestList1.0", "NBestList2.0"):
        return "srilm"
    if lines[0].count("|||") >= 3:
        return "moses"
    if len(lines[0].split()) == 1 and len(lines) > 1 and _ARC.fullmatch(lines[1]):
        return "kaldi-lattice"
    return None


def _first_lines(path: str, count: int) -> list[str]:
    found: list[str] = []
    for line in iter_sentences(path):
        if line.strip() and not line.startswith("#"):
            found.append(line.strip())
        if len(found) == count:
            break
    return found


def read_lattices(
    path: str, format: str, *, symbols: str | None = None
) -> Iterator[tuple[str, Lattice]]:
    """Each lattice of a file or, for SLF, of a folder, with the name of its file.

    Args:
        format: one of `LATTICE_FORMATS`.
        symbols: for Kaldi, the symbol table of words that are written as numbers.

    Raises:
        TextError: with the file and the line, what cannot be read.
        SettingError: another format, or a symbol table for SLF.
    """
    if format not in LATTICE_FORMATS:
        raise SettingError(
            f"the format of lattices is {format!r}, allowed are {', '.join(LATTICE_FORMATS)}"
        )
    if format == "slf":
        if symbols is not None:
            raise SettingError("a symbol table belongs to Kaldi's lattices, and this is SLF")
        for file in files_of(path):
            name = "-" if file is None else str(file)
            yield Path(name).name, _read_slf(name)
        return
    words = SymbolTable.read(symbols).words_by_label() if symbols else None
    for lattice in _read_kaldi(path, words):
        yield Path(path).name, lattice


def lattice_lines(lattice: Lattice, weights: RescoringWeights) -> Iterator[str]:
    """A rescored lattice in its format; both language models' scores are mixed by their shares."""
    lines: Iterator[str] = lattice.layout.lines(lattice, weights)
    return lines


def _count(text: str, what: str, place: str) -> int:
    if not text.isdecimal():
        raise TextError(f"{what} is {text!r}, not a whole number", where=place)
    return int(text)


# -- HTK ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlfLayout:
    """What an SLF file holds beside scores and words.

    Attributes:
        header: fields before the nodes, without counts. nodes, links: the fields of each.
        base: natural logarithm of the base; 0 where the file has no logarithms.
    """

    header: list[tuple[str, str]]
    nodes: list[dict[str, str]]
    links: list[dict[str, str]]
    base: float

    def of(self, nodes: Sequence[int], links: Sequence[int]) -> SlfLayout:
        """That of a lattice whose nodes and links are these."""
        chosen = [self.nodes[node] for node in nodes], [self.links[link] for link in links]
        return replace(self, nodes=chosen[0], links=chosen[1])

    def lines(self, lattice: Lattice, weights: RescoringWeights) -> Iterator[str]:
        """The file: one node more at the end, whose links hold the scores of </s>."""
        for name, value in self.header:
            yield f"{name}={value}"
        size, end = lattice.nodes, lattice.nodes
        finals = sorted(lattice.finals)
        yield f"N={size + 1} L={len(self.links) + len(finals)}"
        for number, fields in enumerate(self.nodes):
            yield " ".join([f"I={number}", *(f"{n}={v}" for n, v in fields.items())])
        times = [self.nodes[node]["t"] for node in finals if "t" in self.nodes[node]]
        yield " ".join([f"I={end}", *(f"t={time}" for time in times[:1]), "W=!NULL"])
        scores = lattice.mixed(weights).tolist()
        pairs = zip(lattice.sources.tolist(), lattice.targets.tolist(), strict=True)
        for number, ((source, target), fields, score) in enumerate(
            zip(pairs, self.links, scores, strict=True)
        ):
            written = {**fields, "l": self._written(score)}
            rest = (f"{name}={value}" for name, value in written.items())
            yield " ".join([f"J={number}", f"S={source}", f"E={target}", *rest])
        for number, node in enumerate(finals, len(self.links)):
            score = self._written(lattice.mixed_at_end(node, weights))
            sound = self._written(0.0)
            yield f"J={number} S={node} E={end} a={sound} l={score}"

    def _written(self, score: float) -> str:
        return f"{math.exp(score) if self.base == 0 else score / self.base:.6f}"


def _read_slf(path: str) -> Lattice:
    header: list[tuple[str, str]] = []
    nodes: dict[int, dict[str, str]] = {}
    links: list[tuple[str, dict[str, str]]] = []
    for number, line in enumerate(iter_sentences(path), 1):
        line, place = line.strip(), f"{path}:{number}"
        if not line or line.startswith("#"):
            continue
        fields = {_LONG.get(name, name): value for name, value in _FIELD.findall(line)}
        if not fields or line == ".":
            if line == ".":
                continue
            raise TextError(f"is {line[:40]!r}, without a field such as I=0", where=place)
        if "I" in fields:
            node = _count(fields.pop("I"), "I", place)
            if node in nodes:
                raise TextError(f"node {node} comes twice", where=place)
            nodes[node] = fields
        elif "J" in fields or ("S" in fields and "E" in fields):
            fields.pop("J", None)
            links.append((place, fields))
        elif "SUBLAT" in fields:
            raise TextError("has sub-lattices, which are not read", where=place)
        else:
            header += fields.items()
    if not nodes or not links:
        raise TextError("is no lattice: it lacks nodes (I=) or links (J=)", where=path)
    return _slf_lattice(path, header, nodes, links)


def _slf_lattice(
    path: str,
    header: list[tuple[str, str]],
    nodes: dict[int, dict[str, str]],
    links: list[tuple[str, dict[str, str]]],
) -> Lattice:
    given = dict(header)
    base = finite_number(given.get("base", str(math.e)), "base", path)
    if base < 0 or base == 1:
        raise TextError(f"base is {base:g}, it must be 0 or above 0 and not 1", where=path)
    unit = math.log(base) if base else 0.0
    numbers = {node: number for number, node in enumerate(sorted(nodes))}
    ends, scores, words = [], [], []
    for place, fields in links:
        pair = [_count(fields.pop(name, ""), name, place) for name in ("S", "E")]
        for node in pair:
            if node not in numbers:
                raise TextError(f"there is no node {node}", where=place)
        ends.append([numbers[node] for node in pair])
        scores.append([_log(fields.get(name), name, unit, place) for name in ("a", "l")])
        words.append(_word(fields.get("W", nodes[pair[1]].get("W", ""))))
    sources, targets = np.array(ends, np.int64).T
    first = set(range(len(numbers))) - set(targets.tolist())
    start = _named(given, "start", numbers, path)
    if start is None:
        start = _only(first, path)
    if _word(nodes[sorted(nodes)[start]].get("W", "")) and not any("W" in f for _, f in links):
        word = nodes[sorted(nodes)[start]]["W"]
        raise TextError(f"its first node has the word {word!r}, which no link enters", where=path)
    last = set(range(len(numbers))) - set(sources.tolist())
    end = _named(given, "end", numbers, path)
    finals = sorted(last) if end is None else [end]
    counts = ("N", "L", "start", "end")
    layout = SlfLayout(
        [(name, value) for name, value in header if name not in counts],
        [nodes[node] for node in sorted(nodes)],
        [fields for _, fields in links],
        unit,
    )
    name = given.get("UTTERANCE") or Path(path).name.removesuffix(".gz").rsplit(".", 1)[0]
    acoustic, old = np.array(scores).T
    return Lattice(
        _unquoted(name), start, sources, targets, words, acoustic, old,
        dict.fromkeys(finals, (0.0, 0.0)),
        any("l" in fields for _, fields in links), layout=layout,
    )  # fmt: skip


def _named(given: dict[str, str], name: str, numbers: dict[int, int], path: str) -> int | None:
    """The node that the header names as start or end, if it does."""
    if name not in given:
        return None
    node = _count(given[name], name, path)
    if node not in numbers:
        raise TextError(f"{name} is {node}, and there is no such node", where=path)
    return numbers[node]


def _only(nodes: set[int], path: str) -> int:
    """The only node that no link enters."""
    if len(nodes) != 1:
        raise TextError(f"{len(nodes)} nodes have no link into them, not one", where=path)
    return nodes.pop()


def _log(text: str | None, name: str, unit: float, place: str) -> float:
    """A score as a natural logarithm; 0 if there is none."""
    if text is None:
        return 0.0
    value = finite_number(text, name, place)
    if unit:
        return value * unit
    if value <= 0:
        raise TextError(f"{name} is {text}, and without logarithms must be above 0", where=place)
    return math.log(value)


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return re.sub(r"\\(.)", r"\1", text)


def _word(text: str) -> str:
    word = _unquoted(text)
    return "" if word in _NO_WORDS else word


# -- Kaldi --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KaldiLayout:
    """What a line holds beside scores.

    Attributes:
        labels: of each arc the columns between its states and its weight.
        strings: of each arc what follows the two costs, such as ``,3_4``.
        ends: the same of each node's final weight.
    """

    labels: list[str]
    strings: list[str]
    ends: dict[int, str]

    def of(self, nodes: Sequence[int], arcs: Sequence[int]) -> KaldiLayout:
        """That of a lattice whose nodes and arcs are these."""
        return KaldiLayout(
            [self.labels[arc] for arc in arcs],
            [self.strings[arc] for arc in arcs],
            {number: self.ends[node] for number, node in enumerate(nodes) if node in self.ends},
        )

    def lines(self, lattice: Lattice, weights: RescoringWeights) -> Iterator[str]:
        """The lattice, its start state first."""
        yield f"{lattice.utterance} "
        sources, targets = lattice.sources.tolist(), lattice.targets.tolist()
        graph, acoustic = lattice.mixed(weights).tolist(), lattice.acoustic.tolist()
        for state, arcs in enumerate(lattice.arcs_of()):
            for arc in arcs:
                costs = f"{-graph[arc]:.6g},{-acoustic[arc]:.6g}{self.strings[arc]}"
                yield f"{sources[arc]}\t{targets[arc]}\t{self.labels[arc]}\t{costs}"
            if state in lattice.finals:
                cost = -lattice.mixed_at_end(state, weights)
                sound = -lattice.finals[state][0]
                yield f"{state}\t{cost:.6g},{sound:.6g}{self.ends.get(state, '')}"
        yield ""


def _read_kaldi(path: str, words: list[str] | None) -> Iterator[Lattice]:
    block: list[tuple[str, list[str]]] = []
    for number, line in enumerate(iter_sentences(path), 1):
        parts = line.split()
        if parts:
            block.append((f"{path}:{number}", parts))
        elif block:
            yield _kaldi_lattice(block, words)
            block = []
    if block:
        yield _kaldi_lattice(block, words)


def _kaldi_lattice(block: list[tuple[str, list[str]]], words: list[str] | None) -> Lattice:
    (place, first), *lines = block
    if len(first) != 1 or not lines:
        raise TextError("is not the name of an utterance, before its lattice", where=place)
    ends, scores, spoken, labels, strings = [], [], [], [], []
    finals: dict[int, tuple[float, float]] = {}
    final_strings = {}
    for place, parts in lines:
        # Four columns are two labels where the last is no pair of costs.
        pair = len(parts) == 5 or (len(parts) == 4 and "," not in parts[3])
        weighted = len(parts) in (2, 5) or (len(parts) == 4 and not pair)
        costs, string = _costs(parts[-1] if weighted else "", place)
        states = [_count(part, "the state", place) for part in parts[: 1 + (len(parts) > 2)]]
        if len(parts) <= 2:
            finals[states[0]], final_strings[states[0]] = costs, string
            continue
        if len(parts) > 5:
            raise TextError(f"has {len(parts)} columns, an arc has 3 to 5", where=place)
        ends.append(states)
        scores.append(costs)
        strings.append(string)
        labels.append("\t".join(parts[2 : 3 + pair]))
        spoken.append(_spoken(parts[2 + pair], words, place))
    sources, targets = np.array(ends, np.int64).reshape(-1, 2).T
    acoustic, old = np.array(scores, np.float64).reshape(-1, 2).T
    start = _count(lines[0][1][0], "the state", lines[0][0])
    layout = KaldiLayout(labels, strings, final_strings)
    return Lattice(
        first[0], start, sources, targets, spoken, acoustic, old, finals, True, layout=layout
    )


def _costs(text: str, place: str) -> tuple[tuple[float, float], str]:
    """Acoustic and old scores of ``graph,acoustic[,string]``, and ``,string``; 0 if it is empty."""
    if not text:
        return (0.0, 0.0), ""
    graph, _, rest = text.partition(",")
    sound, comma, string = rest.partition(",")
    graph_cost = finite_number(graph, "the graph's cost", place)
    return (-finite_number(sound, "the acoustic cost", place), -graph_cost), comma + string


def _spoken(label: str, words: list[str] | None, place: str) -> str:
    if words is not None:
        number = _count(label, "the word's number", place)
        if number >= len(words):
            raise TextError(f"the symbol table has no number {number}", where=place)
        label = words[number]
    return "" if label in _NO_WORDS or label == "0" else label


def write_all(lattices: Iterable[Lattice], weights: RescoringWeights) -> Iterator[str]:
    """The lines of several lattices."""
    for lattice in lattices:
        yield from lattice_lines(lattice, weights)
