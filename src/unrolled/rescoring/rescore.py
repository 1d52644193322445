"""N-best lists rescored with a new language model; weights tuned by minimum error rate training.

The total of a hypothesis is
``acoustic + lm_scale * ((1 - mix) * old + mix * new) + word_penalty * words``,
in natural logarithms. The weights that make fewest word errors on a development list are found by
exact line searches: along a line the total of each hypothesis is linear, so the errors change at
finitely many places, which are all visited (Och 2003, "Minimum error rate training").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.scoring import score_sentences
from unrolled.rescoring.nbest import NbestLists
from unrolled.rescoring.word_errors import WordErrors, edit_counts, total_errors

Array = np.ndarray[Any, Any]

LOWEST = -1e5  # a sentence that is impossible for the new model
_BATCH = 4096


@dataclass(frozen=True)
class RescoringWeights:
    """How scores are combined; see the module.

    Attributes:
        lm_scale: of the language models' logarithms beside the acoustic score, at least 0.
        mix: the new model's share of them, 0 to 1; it counts as 1 where there is no old score.
        word_penalty: added for each word; negative ones favour short hypotheses.

    Raises:
        SettingError: a weight that is not allowed.
    """

    lm_scale: float = 1.0
    mix: float = 0.5
    word_penalty: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.lm_scale) and self.lm_scale >= 0):
            raise SettingError(f"lm_scale {self.lm_scale} must be at least 0 and finite")
        if not 0 <= self.mix <= 1:
            raise SettingError(f"mix {self.mix} must be from 0 to 1")
        if not np.isfinite(self.word_penalty):
            raise SettingError(f"word_penalty {self.word_penalty} must be finite")

    def line(self) -> str:
        """The weights as the command line takes them."""
        return (
            f"--lm-scale {self.lm_scale:.6g} --mix {self.mix:.6g} "
            f"--word-penalty {self.word_penalty:.6g}"
        )


def new_scores(lists: NbestLists, model: LanguageModel) -> Array:
    """(H,) float64 log-probability of each hypothesis, </s> included; equal texts scored once."""
    texts, places = np.unique(np.array(lists.texts, dtype=object), return_inverse=True)
    scores = np.concatenate(
        [
            score_sentences(model, texts[low : low + _BATCH].tolist())
            for low in range(0, len(texts), _BATCH)
        ]
    )
    result: Array = np.maximum(scores, LOWEST)[places]
    return result


def totals(lists: NbestLists, new: Array, weights: RescoringWeights) -> Array:
    """(H,) float64 total score of each hypothesis under the weights."""
    result: Array = lists.acoustic + _features(lists, new) @ _plain(lists, weights)
    return result


def ranked(lists: NbestLists, scores: Array) -> Array:
    """(H,) hypotheses by falling score within each utterance, equal ones as they came."""
    order: Array = np.lexsort((-scores, lists.owners))
    return order


def errors_of_best(lists: NbestLists, scores: Array, references: Sequence[str]) -> WordErrors:
    """Word errors of the best hypothesis of each utterance."""
    best = ranked(lists, scores)[lists.starts[:-1]]
    counts = edit_counts(references, [lists.texts[at] for at in best], np.arange(len(best)))
    return total_errors(counts, references)


def oracle_errors(lists: NbestLists, references: Sequence[str]) -> WordErrors:
    """Word errors of the best choice that the lists allow."""
    counts = edit_counts(references, lists.texts, lists.owners)
    return errors_of_best(lists, -counts.sum(axis=1).astype(np.float64), references)


def tune_rescoring(
    lists: NbestLists,
    new: Array,
    references: Sequence[str],
    *,
    start: RescoringWeights | None = None,
    restarts: int = 10,
    seed: int = 0,
) -> RescoringWeights:
    """Weights with fewest word errors on a development list.

    Args:
        new: (H,) the new model's scores, see `new_scores`.
        references: (N,) what was said, one for each utterance.
        start: first weights; ``restarts`` more are drawn at random with ``seed``.

    Raises:
        TextError: references without a word.
    """
    counts = edit_counts(references, lists.texts, lists.owners)
    total_errors(counts, references)
    search = _Search(lists, _features(lists, new), counts.sum(axis=1))
    random = np.random.default_rng(seed)
    first = _plain(lists, start or RescoringWeights())
    points = [first]
    for _ in range(restarts):
        drawn = np.exp(random.normal(0, 2, first.size))
        drawn[-1] = random.normal(0, 2)
        points.append(drawn)
    found = [search.descend(point, random) for point in points]
    return _from_plain(lists, min(found, key=lambda pair: pair[0])[1])


class _Search:
    """Descent in word errors over the plain weights: old, new, words (or new, words)."""

    def __init__(self, lists: NbestLists, features: Array, errors: Array) -> None:
        self.lists, self.features, self.errors = lists, features, errors

    def descend(self, point: Array, random: np.random.Generator) -> tuple[int, Array]:
        """Line searches from a point to a local minimum: word errors and weights."""
        errors = self.at(point)
        while True:
            before = errors
            lines = [*np.eye(point.size), *random.normal(size=(4, point.size))]
            for direction in lines:
                tried = self._best_on_line(point, direction)
                reached = self.at(tried)
                if reached < errors:
                    point, errors = tried, reached
            if errors == before:
                return errors, point

    def at(self, point: Array) -> int:
        """Word errors under these weights."""
        scores = self.lists.acoustic + self.features @ point
        best = ranked(self.lists, scores)[self.lists.starts[:-1]]
        return int(self.errors[best].sum())

    def _best_on_line(self, point: Array, direction: Array) -> Array:
        """The middle of the widest interval with fewest errors on the line."""
        from unrolled.rescoring.edit_distance_kernels import error_changes

        base = self.lists.acoustic + self.features @ point
        slope = self.features @ direction
        places, changes = np.empty(base.size), np.empty(base.size, np.int64)
        found, first = error_changes(base, slope, self.errors, self.lists.starts, places, changes)
        low, high = _allowed(point, direction)
        order = np.argsort(places[:found], kind="stable")
        edges = np.clip(np.concatenate([[low], places[:found][order], [high]]), low, high)
        errors = np.concatenate([[first], first + np.cumsum(changes[:found][order])])
        widths = np.diff(edges)
        errors = np.where(widths > 0, errors, np.iinfo(np.int64).max)
        best = np.flatnonzero(errors == errors.min())
        at = best[np.argmax(widths[best])]
        moved: Array = point + 0.5 * (edges[at] + edges[at + 1]) * direction
        return moved


def _allowed(point: Array, direction: Array) -> tuple[float, float]:
    """The interval of the line where language model weights are at least 0, and none is huge."""
    low, high = -100.0, 100.0
    for value, step in zip(point[:-1], direction[:-1], strict=True):
        if step > 0:
            low = max(low, -value / step)
        elif step < 0:
            high = min(high, -value / step)
    return low, high


def _features(lists: NbestLists, new: Array) -> Array:
    """(H, 3) old, new, words; (H, 2) without old."""
    columns = [] if lists.old is None else [lists.old]
    return np.stack([*columns, new, lists.words], axis=1)


def _plain(lists: NbestLists, weights: RescoringWeights) -> Array:
    """Weights of the columns of `_features`."""
    if lists.old is None:
        return np.array([weights.lm_scale, weights.word_penalty])
    old = weights.lm_scale * (1 - weights.mix)
    return np.array([old, weights.lm_scale * weights.mix, weights.word_penalty])


def _from_plain(lists: NbestLists, point: Array) -> RescoringWeights:
    scale = float(np.maximum(point[:-1], 0).sum())
    mix = 1.0 if lists.old is None or scale == 0 else float(max(point[1], 0) / scale)
    return RescoringWeights(scale, min(mix, 1.0), float(point[-1]))
