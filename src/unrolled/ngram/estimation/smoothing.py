"""The smoothing methods: which counts each uses and how much it takes from them.

All of them but Katz and stupid back-off interpolate: p(w|h) = (c - D(c)) / N + gamma(h) p(w|h').
Sources: Chen and Goodman, "An empirical study of smoothing techniques for language modeling"
(1998); Katz (1987); Brants et al., "Large language models in machine translation" (2007).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

KATZ_LIMIT = 5  # Katz 1987 trusts counts above 5


class NoClosedFormError(Exception):
    """A discount's formula does not apply to these counts of counts; the text says which lacks."""


@dataclass(frozen=True)
class Smoothing:
    """One method.

    ``continuation``: lower orders count distinct words before instead of occurrences.
    ``discounts``: counts of counts (>= 5,) -> D(0..3+) in counts, or None to take nothing.
    ``types_weight``: mass for unseen words a kind of word seen (Witten-Bell).
    """

    title: str
    continuation: bool = False
    discounts: Callable[[Array], Array] | None = None
    types_weight: float = 0.0
    normalised: bool = True


def modified_discounts(totals: Array) -> Array:
    """Modified Kneser-Ney: Y = n1 / (n1 + 2 n2); D(k) = k - (k + 1) Y n_{k+1} / n_k, k = 1, 2, 3+.

    Chen and Goodman 1998, the section on modified Kneser-Ney.

    Args:
        totals: (>= 5,) counts of counts, totals[k] = n_k.

    Returns:
        (4,) float64 discounts of counts 0, 1, 2, and 3 or more.

    Raises:
        NoClosedFormError: some n_k is 0, or a discount falls outside 0 to k.

    >>> modified_discounts(np.array([0, 100, 40, 20, 12])).round(3).tolist()
    [0.0, 0.556, 1.167, 1.667]
    """
    _need(totals, (1, 2, 3))
    ratio = totals[1] / (totals[1] + 2 * totals[2])
    result = np.zeros(4)
    for k in (1, 2, 3):
        result[k] = k - (k + 1) * ratio * totals[k + 1] / totals[k]
        if not 0 <= result[k] <= k:
            raise NoClosedFormError(f"the discount of count {k} would be {result[k]:.3f}")
    return result


def absolute_discounts(totals: Array) -> Array:
    """One discount for all counts: D = n1 / (n1 + 2 n2) (Ney, Essen and Kneser 1994).

    >>> absolute_discounts(np.array([0, 100, 40, 20, 12])).round(3).tolist()
    [0.0, 0.556, 0.556, 0.556]
    """
    _need(totals, (1, 2))
    discount = totals[1] / (totals[1] + 2 * totals[2])
    return np.array([0.0, discount, discount, discount])


def katz_ratios(totals: Array) -> Array:
    """Good-Turing ratios d(r) = (r*/r - t) / (1 - t), t = (k + 1) n_{k+1} / n_1, for r <= k = 5.

    r* = (r + 1) n_{r+1} / n_r (Katz 1987).

    Returns:
        (7,) float64: the ratio for each count 0 to 5, and 1 for all above.

    Raises:
        NoClosedFormError: some n_k is 0, or a ratio falls outside 0 to 1.

    >>> katz_ratios(np.array([0, 120, 40, 20, 12, 8, 5])).round(3).tolist()
    [0.0, 0.556, 0.667, 0.733, 0.778, 0.667, 1.0]
    """
    _need(totals, tuple(range(1, KATZ_LIMIT + 2)))
    tail = (KATZ_LIMIT + 1) * totals[KATZ_LIMIT + 1] / totals[1]
    if tail >= 1:
        raise NoClosedFormError(f"counts above {KATZ_LIMIT} leave none of count 1")
    ratios = np.ones(KATZ_LIMIT + 2)
    ratios[0] = 0
    for r in range(1, KATZ_LIMIT + 1):
        ratios[r] = ((r + 1) * totals[r + 1] / (r * totals[r]) - tail) / (1 - tail)
        if not 0 < ratios[r] <= 1:
            raise NoClosedFormError(f"the ratio of count {r} would be {ratios[r]:.3f}")
    return ratios


def _need(totals: Array, counts: tuple[int, ...]) -> None:
    for count in counts:
        if totals[count] == 0:
            raise NoClosedFormError(f"no n-gram has the count {count}")


SMOOTHINGS = {
    "modified-kneser-ney": Smoothing("modified Kneser-Ney", True, modified_discounts),
    "kneser-ney": Smoothing("Kneser-Ney, one discount", True, absolute_discounts),
    "absolute": Smoothing("absolute discounting", False, absolute_discounts),
    "witten-bell": Smoothing("Witten-Bell", types_weight=1.0),
    "katz": Smoothing("Katz with Good-Turing"),
    "additive": Smoothing("additive"),
    "maximum-likelihood": Smoothing("maximum likelihood"),
    "stupid-backoff": Smoothing("stupid back-off", normalised=False),
}
