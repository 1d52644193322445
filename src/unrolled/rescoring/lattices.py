"""Lattices and their best paths.

The total of a path is that of `unrolled.rescoring.rescore`, in natural logarithms:
``acoustic_scale * acoustic + lm_scale * ((1 - mix) * old + mix * new) + word_penalty * words``.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.rescoring.nbest import NbestLists
from unrolled.rescoring.rescore import RescoringWeights

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Lattice:
    """Word hypotheses of one utterance as a directed acyclic graph; scores are logarithms.

    Attributes:
        utterance: its name.
        start: the first node.
        sources, targets: (A,) nodes that each arc leaves and enters.
        words: (A,) the word of each arc, "" for none.
        acoustic: (A,) float64, all scores but the language model's.
        old: (A,) float64, the language model's score so far; 0 if unknown.
        finals: node -> acoustic and old score of ending there.
        has_old: whether the lattice has scores of a language model.
        new: (A,) float64, the new language model's scores; None before rescoring.
        new_finals: node -> its score of </s>.
        rest: (A,) float64, scores beside those of both language models that are scaled as they
            are, such as those of pronunciations in Kaldi's graphs; None for none.
        rest_finals: node -> the same of ending there.
        layout: what its format writes again, see `lattice_files`.
    """

    utterance: str
    start: int
    sources: Array
    targets: Array
    words: list[str]
    acoustic: Array
    old: Array
    finals: dict[int, tuple[float, float]]
    has_old: bool
    new: Array | None = None
    new_finals: dict[int, float] = field(default_factory=dict)
    rest: Array | None = None
    rest_finals: dict[int, float] = field(default_factory=dict)
    layout: Any = None

    @property
    def nodes(self) -> int:
        """One more than the highest node."""
        ends = (self.sources, self.targets, [self.start, *self.finals])
        return int(max(np.max(part, initial=0) for part in ends)) + 1

    def arcs_of(self) -> list[list[int]]:
        """The arcs that leave each node."""
        leaving: list[list[int]] = [[] for _ in range(self.nodes)]
        for arc, source in enumerate(self.sources.tolist()):
            leaving[source].append(arc)
        return leaving

    def topological(self) -> list[int]:
        """The nodes on paths from the start to an end, each after those that lead to it.

        Raises:
            TextError: a path comes back to a node, or no path reaches an end.
        """
        leaving, targets = self.arcs_of(), self.targets.tolist()
        useful = self._useful(leaving)
        waiting = [0] * self.nodes
        for source in useful:
            for arc in leaving[source]:
                waiting[targets[arc]] += 1
        if self.start not in useful:
            raise TextError("no path leads from its start to an end", where=self.utterance)
        order: list[int] = []
        ready = deque([self.start] if not waiting[self.start] else [])
        while ready:
            node = ready.popleft()
            order.append(node)
            for arc in leaving[node]:
                waiting[targets[arc]] -= 1
                if not waiting[targets[arc]] and targets[arc] in useful:
                    ready.append(targets[arc])
        if len(order) < len(useful):
            raise TextError("a path comes back to where it was", where=self.utterance)
        return order

    def _useful(self, leaving: list[list[int]]) -> set[int]:
        """Nodes that the start reaches and that reach an end."""
        entering: list[list[int]] = [[] for _ in leaving]
        for arc, target in enumerate(self.targets.tolist()):
            entering[target].append(arc)
        forward = _reached([self.start], leaving, self.targets)
        return forward & _reached(list(self.finals), entering, self.sources)

    def totals(self, weights: RescoringWeights, acoustic_scale: float) -> tuple[Array, Array]:
        """Total score of each arc, (A,), and of ending in each node, (nodes,), -inf for none."""
        spoken = np.array([word != "" for word in self.words], np.float64)
        arcs: Array = acoustic_scale * self.acoustic + weights.word_penalty * spoken
        arcs += self.language(weights)
        ends = np.full(self.nodes, -np.inf)
        for node, (acoustic, _) in self.finals.items():
            ends[node] = acoustic_scale * acoustic + self.language_at_end(node, weights)
        return arcs, ends

    def language(self, weights: RescoringWeights) -> Array:
        """(A,) the part of the language models, scaled."""
        mixed: Array = weights.lm_scale * self.mixed(weights)
        return mixed

    def mixed(self, weights: RescoringWeights) -> Array:
        """(A,) both language models' scores by their shares; before rescoring the old ones."""
        mixed = self.old
        if self.new is not None:
            share = weights.mix if self.has_old else 1.0
            mixed = (1 - share) * self.old + share * self.new
        return mixed if self.rest is None else mixed + self.rest

    def mixed_at_end(self, node: int, weights: RescoringWeights) -> float:
        """The same of ending in a node."""
        mixed = self.finals[node][1]
        if self.new is not None:
            share = weights.mix if self.has_old else 1.0
            mixed = (1 - share) * mixed + share * self.new_finals[node]
        return mixed + self.rest_finals.get(node, 0.0)

    def without_old_model(self) -> Lattice:
        """A lattice that was rescored with the model of its old scores, ready for another one.

        Its old scores become those of that model, and what is left of them the rest.
        """
        if self.new is None:
            raise SettingError("the lattice has not been rescored with its old model")
        return replace(
            self,
            old=self.new,
            finals={
                node: (acoustic, self.new_finals[node])
                for node, (acoustic, _) in self.finals.items()
            },
            has_old=True,
            new=None,
            new_finals={},
            rest=self.old - self.new,
            rest_finals={
                node: old - self.new_finals[node] for node, (_, old) in self.finals.items()
            },
        )

    def language_at_end(self, node: int, weights: RescoringWeights) -> float:
        """The part of the language models in ending there, scaled."""
        return weights.lm_scale * self.mixed_at_end(node, weights)


def _reached(starts: Sequence[int], arcs: list[list[int]], ends: Array) -> set[int]:
    found, stack = set(starts), list(starts)
    while stack:
        for arc in arcs[stack.pop()]:
            node = int(ends[arc])
            if node not in found:
                found.add(node)
                stack.append(node)
    return found


@dataclass(frozen=True)
class Path:
    """A way through a lattice: its words, and sums of scores along it, the end's included.

    The rest of the scores is part of both language models'.
    """

    words: tuple[str, ...]
    total: float
    acoustic: float
    old: float
    new: float


def best_paths(
    lattice: Lattice,
    weights: RescoringWeights,
    *,
    count: int = 1,
    acoustic_scale: float = 1.0,
) -> list[Path]:
    """The ``count`` best paths of different words, best first; all if there are fewer.

    Paths are extended best first by their total so far and the best that can follow, which is
    exact; of paths of equal words to one node only the best goes on.
    """
    arcs, ends = lattice.totals(weights, acoustic_scale)
    leaving, targets, words = lattice.arcs_of(), lattice.targets.tolist(), lattice.words
    ahead = np.full(lattice.nodes, -np.inf)
    for node in reversed(lattice.topological()):
        best = [arcs[arc] + ahead[targets[arc]] for arc in leaving[node]]
        ahead[node] = max([ends[node], *best])
    found: list[Path] = []
    spoken = _Sequences()
    seen: set[tuple[int, int]] = set()
    # Node -1 is the end. Ties are broken by the number of the entry.
    queue: list[tuple[float, int, int, int, Any]] = []
    entries = 0

    def push(total: float, node: int, sequence: int, way: Any) -> None:
        nonlocal entries
        bound = total if node < 0 else total + ahead[node]
        if bound > -np.inf and (node, sequence) not in seen:
            entries += 1
            heapq.heappush(queue, (-bound, entries, node, sequence, (total, way)))

    push(0.0, lattice.start, 0, None)
    while queue and len(found) < count:
        _, _, node, sequence, (total, way) = heapq.heappop(queue)
        if (node, sequence) in seen:
            continue
        seen.add((node, sequence))
        if node < 0:
            found.append(_path(lattice, spoken.words(sequence), total, way))
            continue
        if ends[node] > -np.inf:
            push(total + ends[node], -1, sequence, (way, node))
        for arc in leaving[node]:
            after = spoken.extended(sequence, words[arc]) if words[arc] else sequence
            push(total + arcs[arc], targets[arc], after, (way, arc))
    return found


class _Sequences:
    """Sequences of words and their numbers; 0 is the empty one."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._last: list[tuple[int, str]] = [(0, "")]

    def extended(self, sequence: int, word: str) -> int:
        """The number of a sequence and one more word."""
        key = sequence, word
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._last)
            self._last.append(key)
        return number

    def words(self, sequence: int) -> tuple[str, ...]:
        """The words of a number."""
        found = []
        while sequence:
            sequence, word = self._last[sequence]
            found.append(word)
        return tuple(reversed(found))


def _path(lattice: Lattice, spoken: tuple[str, ...], total: float, way: Any) -> Path:
    way, node = way
    acoustic, old = lattice.finals[node]
    new, rest = lattice.new_finals.get(node, 0.0), lattice.rest_finals.get(node, 0.0)
    while way is not None:
        way, arc = way
        rest += 0.0 if lattice.rest is None else lattice.rest[arc]
        acoustic, old = acoustic + lattice.acoustic[arc], old + lattice.old[arc]
        new += 0.0 if lattice.new is None else lattice.new[arc]
    return Path(spoken, float(total), float(acoustic), float(old + rest), float(new + rest))


def as_nbest(
    lattices: Iterator[tuple[Lattice, list[Path]]], acoustic_scale: float
) -> tuple[NbestLists, Array]:
    """The best paths of lattices as n-best lists, and (H,) the new model's scores of them.

    Raises:
        TextError: there is no lattice.
    """
    names, sizes, paths, has_old = [], [], [], True
    for lattice, best in lattices:
        names.append(lattice.utterance)
        sizes.append(len(best))
        paths += best
        has_old &= lattice.has_old
    if not names:
        raise TextError("there are no lattices")
    columns = np.array([(path.acoustic, path.old, path.new) for path in paths]).reshape(-1, 3)
    lists = NbestLists(
        "kaldi",
        names,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        [" ".join(path.words) for path in paths],
        acoustic_scale * columns[:, 0],
        columns[:, 1] if has_old else None,
    )
    return lists, columns[:, 2]
