"""Weights of a linear mixture of models, by expectation maximisation on held-out text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WeightFit:
    """What `em_weights` found.

    Attributes:
        weights: (M,) float64, at least 0, of sum 1.
        perplexities: of the held-out text with the first weights, and after each step; the last one
            is that of ``weights``. Infinite where every model gives some token probability 0.
        impossible: tokens that every model gives probability 0; they do not move the weights.
    """

    weights: Array
    perplexities: list[float]
    impossible: int = 0


def em_weights(
    log_probs: Array,
    *,
    start: Array | None = None,
    tolerance: float = 1e-6,
    iterations: int = 1000,
) -> WeightFit:
    """Weights w that maximise the likelihood of held-out tokens under sum_i w_i p_i.

    Each step sets w_i to the mean over tokens of w_i p_i / sum_j w_j p_j (Jelinek and Mercer 1980;
    Dempster, Laird and Rubin 1977). The likelihood is concave in w and never falls, so the maximum
    is found from any start that gives every model some weight.

    Args:
        log_probs: (M, T) natural log-probabilities that M models give T tokens, -inf allowed.
        start: (M,) first weights, all above 0; equal by default.
        tolerance: stop when the perplexity falls by a smaller share in one step.
        iterations: stop after so many steps.

    Raises:
        TextError: no token, or none that any model thinks possible.
        SettingError: an array of another shape, NaN or log-probabilities above 0 in it, or first
            weights that are not above 0.

    >>> fit = em_weights(np.log([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]]))
    >>> fit.weights.round(3).tolist(), round(fit.perplexities[-1], 3)
    ([0.708, 0.292], 1.89)
    """
    log_probs, weights = _checked(log_probs, start)
    best = log_probs.max(axis=0)
    possible = best > -np.inf
    impossible = int(best.size - np.count_nonzero(possible))
    if impossible == best.size:
        raise TextError("no model gives any token of the held-out text a probability above 0")
    shares = log_probs[:, possible] if impossible else log_probs
    best = best[possible].astype(np.float64)
    # Relative to the best model of each token, so that nothing underflows; at least one is 1.
    shares = np.exp(shares - best)
    perplexities = []
    for _ in range(iterations + 1):
        mixed = weights @ shares  # (T,)
        mean = float((np.log(mixed) + best).mean())
        perplexities.append(math.exp(min(-mean, 700.0)))
        if len(perplexities) > iterations or _settled(perplexities, tolerance):
            break
        weights = weights * (shares @ (1 / mixed)) / best.size
        weights /= weights.sum()
    if impossible:
        perplexities = [math.inf] * len(perplexities)
    return WeightFit(weights, perplexities, impossible)


def _settled(perplexities: list[float], tolerance: float) -> bool:
    return len(perplexities) > 1 and perplexities[-1] > perplexities[-2] * (1 - tolerance)


def _checked(log_probs: Array, start: Array | None) -> tuple[Array, Array]:
    log_probs = np.asarray(log_probs)
    if log_probs.ndim != 2 or log_probs.shape[0] == 0:
        raise SettingError(f"log_probs has the shape {log_probs.shape}, not (models, tokens)")
    if log_probs.shape[1] == 0:
        raise TextError("the held-out text is empty")
    if not log_probs.max() <= 1e-4:  # NaN too; rounding may leave a certain word just above 0
        raise SettingError("log_probs holds NaN or values above 0, which are no log-probabilities")
    count = log_probs.shape[0]
    weights = np.full(count, 1 / count) if start is None else np.asarray(start, np.float64)
    if weights.shape != (count,) or not weights.min() > 0 or not np.isfinite(weights).all():
        raise SettingError(f"the first weights {weights.tolist()} are not {count} above 0")
    return log_probs, weights / weights.sum()
