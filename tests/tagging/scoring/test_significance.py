from __future__ import annotations

import math

import numpy as np
import pytest

from tag_sequences import pairs
from unrolled.errors import SettingError
from unrolled.tagging.scoring.overlap import count_overlap
from unrolled.tagging.scoring.scores import count_spans, score_spans
from unrolled.tagging.scoring.significance import paired_bootstrap


def mean(totals):
    return totals[..., 0] / totals[..., 1]


def rows(values):
    return np.stack([values, np.ones_like(values)], axis=1)


def test_a_system_does_not_differ_from_itself():
    counts = count_spans(*pairs(100, "BIO"))
    result = paired_bootstrap(counts.rows, counts.rows, counts.score, samples=200)
    assert (result.difference, result.p_value, result.low, result.high) == (0, 1, 0, 0)


def test_resamples_agree_with_a_plain_loop():
    gold, guess = pairs(30, "BIO", seed=3)
    _, other = pairs(30, "BIO", seed=4)
    other = [
        noise[: len(tags)] + tags[len(noise) :] for noise, tags in zip(other, gold, strict=True)
    ]
    first, second = count_spans(gold, guess), count_spans(gold, other)
    result = paired_bootstrap(first.rows, second.rows, first.score, samples=3000)
    random = np.random.default_rng(99)
    differences = []
    for _ in range(500):
        draw = random.integers(30, size=30)
        a = score_spans([gold[i] for i in draw], [guess[i] for i in draw]).f1
        b = score_spans([gold[i] for i in draw], [other[i] for i in draw]).f1
        differences.append(b - a)
    low, high = np.quantile(differences, (0.025, 0.975))
    spread = np.std(differences)
    assert result.low == pytest.approx(low, abs=0.3 * spread)
    assert result.high == pytest.approx(high, abs=0.3 * spread)
    assert result.difference == pytest.approx(
        score_spans(gold, other).f1 - score_spans(gold, guess).f1, abs=1e-12
    )


def test_the_p_value_of_a_mean_is_that_of_a_paired_t_test():
    # For means of many rows both are the same normal integral: 2 (1 - Phi(d / s)), here by erf.
    random = np.random.default_rng(5)
    a, step = random.normal(size=400), random.normal(0.1, 1, size=400)
    result = paired_bootstrap(rows(a), rows(a + step), mean, samples=20_000)
    z = step.mean() / (step.std() / 20)
    assert 0.001 < result.p_value < 0.9
    assert result.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=0.02)


def test_equal_systems_are_called_different_as_often_as_stated():
    random = np.random.default_rng(6)
    values = []
    for seed in range(300):
        a, b = random.normal(size=(2, 50))
        values.append(paired_bootstrap(rows(a), rows(b), mean, samples=200, seed=seed).p_value)
    assert 0.015 < np.mean(np.array(values) < 0.05) < 0.11
    assert 0.42 < np.mean(np.array(values) < 0.5) < 0.58


def test_documents_are_drawn_whole():
    # One document holds all that differs: drawing documents the interval must reach 0.
    a = np.zeros(40)
    b = np.r_[np.ones(20), np.zeros(20)]
    groups = ["x"] * 20 + ["y"] * 10 + ["z"] * 10
    by_sentence = paired_bootstrap(rows(a), rows(b), mean, samples=500)
    by_document = paired_bootstrap(rows(a), rows(b), mean, groups=groups, samples=500)
    assert (by_sentence.units, by_document.units) == (40, 3)
    assert by_sentence.low > 0.3
    assert by_document.low == 0
    assert by_document.difference == 0.5


def test_the_same_seed_gives_the_same_numbers_in_any_chunks(monkeypatch):
    first, second = (count_overlap(*pairs(30, "BIO", seed=seed)) for seed in (1, 2))
    given = first.rows, second.rows, first.score
    once = paired_bootstrap(*given, samples=100, seed=7)
    monkeypatch.setattr("unrolled.tagging.scoring.significance._CHUNK", 30 * 7)
    assert paired_bootstrap(*given, samples=100, seed=7) == once
    assert paired_bootstrap(*given, samples=100, seed=8) != once
    assert "resamples of 30)" in once.line()
    assert once.as_dict()["samples"] == 100


def test_statistics_that_do_not_fit_are_refused():
    with pytest.raises(SettingError, match=r"shapes \(3, 2\) and \(2, 2\)"):
        paired_bootstrap(np.ones((3, 2)), np.ones((2, 2)), mean)
    with pytest.raises(SettingError, match="samples is 0"):
        paired_bootstrap(np.ones((3, 2)), np.ones((3, 2)), mean, samples=0)
    with pytest.raises(SettingError, match="2 groups for 3 sentences"):
        paired_bootstrap(np.ones((3, 2)), np.ones((3, 2)), mean, groups=["a", "b"])
