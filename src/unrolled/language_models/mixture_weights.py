"""Weights of mixtures tuned on held-out text: linear by EM, log-linear by Newton's method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WeightFit:
    """What `em_weights` or `log_linear_weights` found.

    Attributes:
        weights: (M,) float64, at least 0; of sum 1 if linear.
        perplexities: of the held-out text with the first weights, and after each step; the last one
            is that of ``weights``. Infinite if there is a token that every model thinks impossible.
        impossible: tokens with probability 0 under every model (log-linear: under any model);
            they do not move the weights.
        tokens: on how many the weights were tuned.
    """

    weights: Array
    perplexities: list[float]
    impossible: int = 0
    tokens: int = 0


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
    is found from any start with weights above 0.

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
    return WeightFit(weights, perplexities, impossible, log_probs.shape[1])


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


def log_linear_weights(log_probs: Array, targets: Array) -> WeightFit:
    """Weights a, at least 0, that maximise the likelihood under prod_i p_i^a_i / Z.

    The log-likelihood sum_t [a . l_t(w_t) - log Z_t(a)] is concave in a. Its gradient is
    sum_t [l_t(w_t) - E_t l], its Hessian - sum_t Cov_t(l), both under the mixture itself; Newton's
    method on the weights above 0, with steps halved until the likelihood rises, takes about six
    steps. It stops after 50 of them, or when the perplexity falls by less than a millionth.

    Args:
        log_probs: (M, T, V) float32 natural log-probabilities of every word at T places.
        targets: (T,) the word that stands at each.

    Raises:
        TextError: no place, or none whose word all models think possible.

    >>> p = np.array([[[0.9, 0.1]] * 4, [[0.5, 0.5]] * 4], np.float32)
    >>> fit = log_linear_weights(np.log(p), np.array([0, 0, 0, 1]))
    >>> mixed = p[0, 0] ** fit.weights[0]
    >>> (mixed / mixed.sum()).round(3).tolist(), round(fit.perplexities[-1], 3)
    ([0.75, 0.25], 1.755)
    """
    models, places, _ = log_probs.shape
    if places == 0:
        raise TextError("the held-out text is empty")
    hit = log_probs[:, np.arange(places), targets].astype(np.float64)  # (M, T)
    possible = np.all(hit > -np.inf, axis=0)
    if not possible.any():
        raise TextError("there is no token of the held-out text that all models think possible")
    if not possible.all():
        log_probs, hit = log_probs[:, possible], hit[:, possible]
    weights = np.full(models, 1 / models)
    value, gradient, hessian = _log_linear_moments(log_probs, hit, weights)
    perplexities = [math.exp(min(-value, 700.0))]
    for _ in range(50):
        step = _newton_step(weights, gradient, hessian)
        for halving in range(30):
            tried = np.maximum(weights + step * 0.5**halving, 0)
            found = _log_linear_moments(log_probs, hit, tried)
            if found[0] >= value:
                break
        else:
            break
        weights, (value, gradient, hessian) = tried, found
        perplexities.append(math.exp(min(-value, 700.0)))
        if _settled(perplexities, 1e-6):
            break
    impossible = int(places - np.count_nonzero(possible))
    if impossible:
        perplexities = [math.inf] * len(perplexities)
    return WeightFit(weights, perplexities, impossible, places)


def _newton_step(weights: Array, gradient: Array, hessian: Array) -> Array:
    """The step towards the top of the parabola, over weights that may move; (M,) float64."""
    free = (weights > 0) | (gradient > 0)
    step = np.zeros_like(weights)
    if free.any():
        curve = hessian[np.ix_(free, free)]
        ridge = 1e-9 * max(float(np.trace(curve)), 1e-12)  # two equal models leave a flat line
        step[free] = np.linalg.solve(curve + ridge * np.eye(len(curve)), gradient[free])
    return step


def _log_linear_moments(log_probs: Array, hit: Array, weights: Array) -> tuple[float, Array, Array]:
    """Mean log-likelihood, its gradient (M,) and minus its Hessian (M, M), a few places a time."""
    models, places, words = log_probs.shape
    value, gradient, curve = 0.0, np.zeros(models), np.zeros((models, models))
    used = weights > 0
    rows = max((1 << 20) // words, 1)
    for low in range(0, places, rows):
        part = log_probs[:, low : low + rows].astype(np.float64)  # (M, t, V)
        scores = np.tensordot(weights[used], part[used], 1)  # (t, V)
        top = scores.max(axis=1, keepdims=True)
        shares = np.exp(scores - top)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        # A word that no mixture with this model can give counts for nothing, not as 0 * -inf.
        finite = np.where(np.isfinite(part), part, 0)
        means = np.einsum("tv,mtv->mt", shares, finite)
        value += float((weights @ hit[:, low : low + rows] - (top + np.log(total))[:, 0]).sum())
        gradient += (hit[:, low : low + rows] - means).sum(axis=1)
        curve += np.einsum("itv,jtv->ij", finite * shares, finite) - means @ means.T
    return value / places, gradient / places, curve / places
