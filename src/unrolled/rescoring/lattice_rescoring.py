"""Lattices rescored with a language model.

A lattice is expanded so that each of its nodes stands once for every state that the model can be in
there; each arc then has one score. States of n-gram models are few, as those of equal futures are
one, so their expansion is exact. Those of a net are as many as paths: of each node's states the
best ones go on, by the scores so far.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.rescoring.lattices import Lattice
from unrolled.rescoring.rescore import LOWEST, RescoringWeights
from unrolled.text.vocabulary import EOS

Array = np.ndarray[Any, Any]

NET_STATES = 32  # of each node, for models whose states are as many as paths


@dataclass
class _Place:
    """A node of the expanded lattice: a node and a state of the model there."""

    row: Any
    best: float = -np.inf  # total of the best path to it
    number: int = -1  # in the expanded lattice; -1 where it is left out


def rescore_lattice(
    lattice: Lattice,
    model: LanguageModel,
    weights: RescoringWeights,
    *,
    acoustic_scale: float = 1.0,
    states: int | None = None,
    old_model: LanguageModel | None = None,
) -> Lattice:
    """The expanded lattice with the scores of a language model, </s> included.

    Args:
        weights, acoustic_scale: of the totals by which states are left out where there are more
            than ``states``.
        states: most states of the model at a node, 0 for all of them; by default all of an n-gram
            model, and `NET_STATES` of others.
        old_model: the language model whose scores are part of the old ones; what is left of them,
            such as the scores of pronunciations in Kaldi's graphs, is kept whatever the shares.

    Raises:
        TextError: the lattice has a circle or no path. SettingError: the model's tokens are no
            words, or a negative number of states.
    """
    if model.text_options.tokens != "word":
        raise SettingError(
            f"lattices hold words, and {model.name} is a model of other tokens "
            f"({model.text_options.tokens})",
            hint="Rescore n-best lists with it",
        )
    if states is not None and states < 0:
        raise SettingError(f"states is {states}, it must be at least 0")
    if old_model is not None:
        settings = {"acoustic_scale": acoustic_scale, "states": states}
        own = RescoringWeights(weights.lm_scale, 0.0, weights.word_penalty)
        lattice = rescore_lattice(lattice, old_model, own, **settings).without_old_model()  # type: ignore[arg-type]
    if states is None:
        states = 0 if model.kind == "ngram" else NET_STATES
    return _Expansion(lattice, model, weights, acoustic_scale, states).lattice()


class _Expansion:
    def __init__(
        self,
        lattice: Lattice,
        model: LanguageModel,
        weights: RescoringWeights,
        acoustic_scale: float,
        states: int,
    ) -> None:
        self.given, self.model, self.weights, self.most = lattice, model, weights, states
        self.scale = weights.lm_scale * (weights.mix if lattice.has_old else 1.0)
        self.without_new = self._totals_without_new(acoustic_scale)
        words = [word.lower() if model.text_options.lower else word for word in lattice.words]
        self.ids = model.vocabulary.ids(words) if words else np.zeros(0, np.int32)
        self.spoken = np.array([word != "" for word in words], bool)
        self.places: dict[int, dict[Any, _Place]] = {}
        self.arcs: list[tuple[_Place, _Place, int, float]] = []
        self.kept: list[tuple[int, _Place]] = []
        self.final_scores: dict[int, float] = {}

    def _totals_without_new(self, acoustic_scale: float) -> Array:
        zero = replace(self.given, new=np.zeros(self.given.sources.size))
        zero = replace(zero, new_finals=dict.fromkeys(self.given.finals, 0.0))
        return zero.totals(self.weights, acoustic_scale)[0]

    def lattice(self) -> Lattice:
        leaving = self.given.arcs_of()
        order = self.given.topological()
        inside = set(order)
        start = self.model.start_states(1)
        self.objects = start.dtype == object
        self.places[self.given.start] = {None: _Place(start[0], 0.0)}
        for node in order:
            places = self._chosen(self.places.pop(node, {}))
            for place in places:
                place.number = len(self.kept)
                self.kept.append((node, place))
            rows = _rows(places, start)
            if node in self.given.finals and places:
                ends = self.model.score_beams(rows, np.full((len(places), 1), EOS))[:, 0]
                for place, score in zip(places, ends.tolist(), strict=True):
                    self.final_scores[place.number] = max(score, LOWEST)
            arcs = [arc for arc in leaving[node] if int(self.given.targets[arc]) in inside]
            self._follow(places, rows, arcs)
        return self._expanded()

    def _chosen(self, places: dict[Any, _Place]) -> list[_Place]:
        found = list(places.values())
        if self.most and len(found) > self.most:
            found = heapq.nlargest(self.most, found, key=lambda place: place.best)
        return found

    def _follow(self, places: list[_Place], rows: Array, arcs: list[int]) -> None:
        """Advance all states along all arcs, those with words in one call of the model."""
        for arc in arcs:
            if not self.spoken[arc]:
                for place in places:
                    self._arrive(place, arc, place.row, 0.0)
        spoken = [arc for arc in arcs if self.spoken[arc]]
        if not spoken or not places:
            return
        words = np.tile(self.ids[spoken], len(places)).astype(np.int64)
        after, scores = self.model.extend(np.repeat(rows, len(spoken), axis=0), words)
        at = 0
        for place in places:
            for arc in spoken:
                self._arrive(place, arc, after[at], max(float(scores[at]), LOWEST))
                at += 1

    def _arrive(self, place: _Place, arc: int, row: Any, score: float) -> None:
        target = self.places.setdefault(int(self.given.targets[arc]), {})
        key = id(row) if self.objects else row.tobytes()  # equal rows have equal futures
        reached = target.get(key)
        if reached is None:
            reached = target[key] = _Place(row)
        total = place.best + float(self.without_new[arc]) + self.scale * score
        reached.best = max(reached.best, total)
        self.arcs.append((place, reached, arc, score))

    def _expanded(self) -> Lattice:
        given = self.given
        kept = [
            (source.number, target.number, arc, score)
            for source, target, arc, score in self.arcs
            if target.number >= 0
        ]
        columns = [np.array(column) for column in zip(*kept, strict=True)] if kept else []
        sources, targets, arcs, scores = columns or [np.zeros(0, np.int64)] * 4
        owners = [node for node, _ in self.kept]
        arcs = arcs.astype(np.int64)
        expanded = Lattice(
            given.utterance,
            0,
            sources,
            targets,
            [given.words[arc] for arc in arcs.tolist()],
            given.acoustic[arcs],
            given.old[arcs],
            {number: given.finals[owners[number]] for number in self.final_scores},
            given.has_old,
            scores.astype(np.float64),
            self.final_scores,
            None if given.rest is None else given.rest[arcs],
            {n: given.rest_finals.get(owners[n], 0.0) for n in self.final_scores},
            given.layout and given.layout.of(owners, arcs.tolist()),
        )
        return _trimmed(expanded)


def _rows(places: list[_Place], like: Array) -> Array:
    """The states of places as one array."""
    rows = np.empty((len(places), *like.shape[1:]), like.dtype)
    for at, place in enumerate(places):
        rows[at] = place.row
    return rows


def _trimmed(lattice: Lattice) -> Lattice:
    """Without the nodes from which no end is reached, as states left out leave behind."""
    useful = sorted(lattice.topological())
    if len(useful) == lattice.nodes:
        return lattice
    numbers = {node: number for number, node in enumerate(useful)}
    pairs = zip(lattice.sources.tolist(), lattice.targets.tolist(), strict=True)
    arcs = [arc for arc, (a, b) in enumerate(pairs) if a in numbers and b in numbers]
    return replace(
        lattice,
        sources=np.array([numbers[node] for node in lattice.sources[arcs].tolist()], np.int64),
        targets=np.array([numbers[node] for node in lattice.targets[arcs].tolist()], np.int64),
        words=[lattice.words[arc] for arc in arcs],
        acoustic=lattice.acoustic[arcs],
        old=lattice.old[arcs],
        new=None if lattice.new is None else lattice.new[arcs],
        finals={numbers[node]: value for node, value in lattice.finals.items()},
        new_finals={numbers[node]: value for node, value in lattice.new_finals.items()},
        rest=None if lattice.rest is None else lattice.rest[arcs],
        rest_finals={numbers[node]: value for node, value in lattice.rest_finals.items()},
        layout=lattice.layout and lattice.layout.of(useful, arcs),
    )
