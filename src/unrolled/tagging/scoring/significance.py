"""Whether one tagger is better than another: a paired bootstrap over sentences or documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.tagging.scoring.scores import Floats

_CHUNK = 1 << 22  # draws at once: about 32 MB


@dataclass(frozen=True)
class Comparison:
    """The difference between two systems on the same sentences.

    Attributes:
        first: score of the first system.
        second: score of the second.
        difference: second - first.
        p_value: two-sided; how often chance alone would give so large a difference.
        low, high: the difference's 95 % interval.
        samples: resamples drawn.
        units: sentences, or documents, that were resampled.
    """

    first: float
    second: float
    difference: float
    p_value: float
    low: float
    high: float
    samples: int
    units: int

    def line(self) -> str:
        """One line for people, in per cent."""
        return (
            f"{100 * self.first:.2f} and {100 * self.second:.2f}: difference "
            f"{100 * self.difference:+.2f} (95 % interval {100 * self.low:+.2f} to "
            f"{100 * self.high:+.2f}, p = {self.p_value:.4f}, {self.samples} resamples of "
            f"{self.units})"
        )

    def as_dict(self) -> dict[str, Any]:
        """All numbers for JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def paired_bootstrap(
    first: Floats,
    second: Floats,
    score: Callable[[Floats], Floats],
    *,
    groups: Sequence[str] | None = None,
    samples: int = 10_000,
    seed: int = 1,
) -> Comparison:
    """Resample sentences with replacement, the same for both systems, and look at the difference.

    With d the difference of the scores on all sentences and d* that on a resample, the p-value is
    (1 + #{|d* - d| >= |d|}) / (1 + samples): the resamples' spread around d stands for that
    around 0 if the systems were equally good (Efron and Tibshirani 1993, chapter 16; one-sided in
    Berg-Kirkpatrick, Burkett and Klein 2012, section 2). The interval is that of the percentiles.

    Args:
        first: (S, K) statistics of each sentence for the first system.
        second: (S, K) of the same sentences for the second.
        score: (..., K) sums of statistics to (...) scores.
        groups: document of each sentence; then documents are drawn, since sentences of one
            document are alike and count for less than as many of different ones.
        samples: resamples to draw.
        seed: of the draws; the result depends on nothing else.

    Raises:
        SettingError: the shapes differ, there is no sentence, or samples is below 1.

    >>> from unrolled.tagging.scoring.scores import count_spans
    >>> gold = [["B-X", "O"], ["O", "B-X"]] * 20
    >>> first = count_spans(gold, [["O", "O"]] * 40)
    >>> second = count_spans(gold, [["B-X", "O"], ["O", "O"]] * 20)
    >>> result = paired_bootstrap(first.rows, second.rows, first.score)
    >>> round(result.second, 3), result.p_value < 0.01
    (0.667, True)
    """
    if first.shape != second.shape or first.ndim != 2 or not first.shape[0]:
        what = f"statistics have the shapes {first.shape} and {second.shape}, one row a sentence"
        raise SettingError(what, hint="Score both systems on the same sentences")
    if samples < 1:
        raise SettingError(f"samples is {samples}, allowed is 1 or more")
    both = np.stack([first, second], axis=1).astype(np.float64)  # (S, 2, K)
    if groups is not None:
        both = _by_group(both, groups)
    scores = score(both.sum(axis=0))
    observed = float(scores[1] - scores[0])
    drawn = _drawn_differences(both, score, samples, np.random.default_rng(seed))
    # The tolerance lets equal differences that are summed in another order count as equal.
    extreme = int(np.sum(np.abs(drawn - observed) >= abs(observed) - 1e-12))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Comparison(
        first=float(scores[0]),
        second=float(scores[1]),
        difference=observed,
        p_value=(1 + extreme) / (1 + samples),
        low=float(low),
        high=float(high),
        samples=samples,
        units=len(both),
    )


def mean_interval(
    parts: Sequence[tuple[Floats, Sequence[str]]],
    score: Callable[[Floats], Floats],
    *,
    samples: int = 2000,
    seed: int = 1,
) -> tuple[float, float]:
    """The 95 % interval of the mean score over parts, such as folds: percentiles of resamples.

    In each part documents are drawn with replacement.

    Args:
        parts: (S, K) statistics of the sentences of each, and their documents.
        score: (..., K) sums of statistics to (...) scores.
        samples, seed: see `paired_bootstrap`.

    >>> from unrolled.tagging.scoring.scores import count_spans
    >>> found = count_spans([["B-X", "O"]] * 40, [["B-X", "O"], ["O", "O"]] * 20)
    >>> low, high = mean_interval([(found.rows, [str(n) for n in range(40)])], found.score)
    >>> low < 2 / 3 < high
    True
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros(samples)
    for rows, groups in parts:
        units = _by_group(rows.astype(np.float64), groups)
        times = random.multinomial(len(units), np.full(len(units), 1 / len(units)), size=samples)
        drawn += score(times.astype(np.float64) @ units) / len(parts)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _drawn_differences(
    both: Floats, score: Callable[[Floats], Floats], samples: int, random: np.random.Generator
) -> Floats:
    units = len(both)
    flat = both.reshape(units, -1)  # (U, 2 K)
    step = max(1, _CHUNK // units)
    parts = []
    for start in range(0, samples, step):
        many = min(step, samples - start)
        draws = random.integers(units, size=(many, units))
        draws += np.arange(many)[:, None] * units
        times = np.bincount(draws.ravel(), minlength=many * units).reshape(many, units)
        totals = (times.astype(np.float64) @ flat).reshape(many, 2, -1)
        scores = score(totals)  # (many, 2)
        parts.append(scores[:, 1] - scores[:, 0])
    return np.concatenate(parts)


def _by_group(both: Floats, groups: Sequence[str]) -> Floats:
    if len(groups) != len(both):
        raise SettingError(f"there are {len(groups)} groups for {len(both)} sentences")
    names, rank = np.unique(np.asarray(groups), return_inverse=True)
    summed = np.zeros((len(names), *both.shape[1:]))
    np.add.at(summed, rank, both)
    return summed
