"""Weights by EM against a grid, and what the procedure promises."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unrolled.errors import SettingError, TextError
from unrolled.language_models.mixture_weights import em_weights


def perplexity(log_probs, weights):
    return math.exp(-np.log(np.array(weights) @ np.exp(log_probs)).mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("models", [2, 3])
def test_no_weights_on_a_grid_are_better(models, seed):
    random = np.random.default_rng(seed)
    log_probs = np.log(random.dirichlet(np.ones(5), (models, 200))[..., 0])
    fit = em_weights(log_probs, tolerance=1e-12, iterations=20_000)
    grid = [
        weights
        for weights in itertools.product(np.linspace(0, 1, 41), repeat=models)
        if abs(sum(weights) - 1) < 1e-9
    ]
    best = min(perplexity(log_probs, weights) for weights in grid)
    assert fit.perplexities[-1] <= best * (1 + 1e-6)
    assert fit.perplexities[-1] == pytest.approx(perplexity(log_probs, fit.weights))


log_prob_arrays = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(1, 30)),
    elements=st.floats(-700, 0) | st.just(-np.inf),
)


@given(log_prob_arrays)
def test_perplexity_never_rises_and_weights_sum_to_one(log_probs):
    if not np.any(log_probs > -np.inf):
        with pytest.raises(TextError, match="no model gives any token"):
            em_weights(log_probs)
        return
    fit = em_weights(log_probs, iterations=30)
    assert fit.weights.sum() == pytest.approx(1)
    assert np.all(fit.weights >= 0)
    for before, after in itertools.pairwise(fit.perplexities):
        assert after <= before * (1 + 1e-9) or after == before
    assert fit.impossible == np.count_nonzero(np.all(log_probs == -np.inf, axis=0))
    assert (fit.perplexities[-1] == math.inf) == (fit.impossible > 0)


@given(log_prob_arrays, st.randoms(use_true_random=False))
def test_the_order_of_models_and_tokens_does_not_matter(log_probs, random):
    if not np.any(log_probs > -np.inf):
        return
    rows = random.sample(range(log_probs.shape[0]), log_probs.shape[0])
    columns = random.sample(range(log_probs.shape[1]), log_probs.shape[1])
    one = em_weights(log_probs, iterations=10, tolerance=0)
    other = em_weights(log_probs[rows][:, columns], iterations=10, tolerance=0)
    np.testing.assert_allclose(other.weights, one.weights[rows], atol=1e-6)


def test_a_model_that_is_always_better_wins():
    fit = em_weights(np.log([[0.5] * 20, [0.1] * 20]), tolerance=1e-12)
    assert fit.weights == pytest.approx([1, 0], abs=1e-6)
    assert fit.perplexities[0] == pytest.approx(1 / 0.3)
    assert fit.perplexities[-1] == pytest.approx(2)


def test_float32_and_a_first_guess():
    log_probs = np.log(np.random.default_rng(0).random((3, 500)))
    one = em_weights(log_probs, tolerance=1e-12, iterations=9000)
    other = em_weights(
        log_probs.astype(np.float32), start=np.array([9, 1, 1]), tolerance=1e-12, iterations=9000
    )
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-3)
    assert len(em_weights(log_probs, iterations=0).perplexities) == 1


def test_refusals():
    with pytest.raises(SettingError, match=r"shape \(3,\), not \(models, tokens\)"):
        em_weights(np.zeros(3))
    with pytest.raises(TextError, match="held-out text is empty"):
        em_weights(np.zeros((2, 0)))
    with pytest.raises(SettingError, match="NaN or values above 0"):
        em_weights(np.array([[0.0, np.nan]]))
    with pytest.raises(SettingError, match="NaN or values above 0"):
        em_weights(np.array([[0.0, 0.5]]))
    with pytest.raises(SettingError, match=r"first weights \[1.0, 0.0\] are not 2 above 0"):
        em_weights(np.zeros((2, 3)), start=np.array([1, 0]))
    with pytest.raises(SettingError, match="first weights"):
        em_weights(np.zeros((2, 3)), start=np.ones(3))
