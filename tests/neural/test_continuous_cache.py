"""The continuous cache against its sum written out, in the whole distribution and in scores."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from small_nets import small_model, write_text
from unrolled.cli import main
from unrolled.errors import SettingError
from unrolled.language_models.evaluation import evaluate
from unrolled.neural import continuous_cache
from unrolled.neural.continuous_cache import ContinuousCacheModel
from unrolled.text.vocabulary import BOS, EOS

NETS: list[dict[str, Any]] = [
    {"cell": "lstm"},
    {"cell": "gru", "output_layer": "full", "reset_state_per_sentence": True},
    {"cell": "elman", "embedding": 5, "output_layer": "adaptive"},
    {"cell": "feed-forward", "order": 3},
]
random = np.random.default_rng(2)
IDS = np.concatenate(
    [[BOS, *random.choice([0, 3, 4, 5, 6], size), EOS] for size in (3, 9, 0, 40, 12, 30)]
).astype(np.int32)


def by_hand(past: list[tuple[Any, int]], h: Any, base: Any, cache: ContinuousCacheModel) -> Any:
    """p(w) of all words from (output, next word) pairs, oldest first."""
    p = np.exp(base.astype(np.float64))
    kept = past[-cache.window :]
    if kept:
        shares = [math.exp(cache.theta * float(h @ key)) for key, _ in kept]
        p *= 1 - cache.weight
        for share, (_, word) in zip(shares, kept, strict=True):
            p[word] += cache.weight * share / sum(shares)
    return p


@pytest.mark.parametrize("settings", NETS)
@pytest.mark.parametrize(("window", "theta"), [(7, 0.5), (500, 0.0), (1, 2.0)])
@pytest.mark.parametrize("running", [True, False])
def test_probabilities_are_the_sum(
    settings: dict[str, Any], window: int, theta: float, running: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(continuous_cache, "CHUNK_STEPS", 16)
    model = small_model(**settings)
    cache = ContinuousCacheModel(model, window=window, weight=0.3, theta=theta)
    scores = cache.text_log_probs(IDS) if running else cache.log_probs(IDS)
    inner: Any = None
    state: Any = None
    past: list[tuple[Any, int]] = []
    for place, (word, score) in enumerate(zip(IDS.tolist(), scores.tolist(), strict=True)):
        if word == BOS:
            assert score == 0
            carried = running and place and not model.net.config.reset_state_per_sentence
            inner = model.advance(inner, BOS) if carried else model.start()
            state = cache.advance(state, BOS) if running and place else cache.start()
            past = past if running else []
            continue
        wanted = by_hand(past, inner[-1][0].numpy(), model.next_log_probs(inner), cache)
        whole = np.exp(cache.next_log_probs(state).astype(np.float64))
        np.testing.assert_allclose(whole, wanted, atol=1e-5)
        assert whole.sum() == pytest.approx(1, abs=1e-5)
        assert score == pytest.approx(math.log(wanted[word]), abs=1e-4), place
        past.append((inner[-1][0].numpy(), word))
        state = cache.advance(state, word)
        if word != EOS:
            inner = model.advance(inner, word)


def test_without_weight_it_is_the_net() -> None:
    model = small_model()
    cache = ContinuousCacheModel(model, weight=0)
    np.testing.assert_allclose(cache.text_log_probs(IDS), model.text_log_probs(IDS), atol=1e-5)


def test_ids_outside_the_vocabulary_are_unknown() -> None:
    cache = ContinuousCacheModel(small_model())
    ids, plain = np.array([BOS, 99, -1, 3, EOS]), np.array([BOS, 0, 0, 3, EOS])
    np.testing.assert_array_equal(cache.log_probs(ids), cache.log_probs(plain))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window is 0, allowed are 1 and more"),
        ({"weight": 1}, "weight is 1, allowed are 0 to below 1"),
        ({"theta": -1}, "theta is -1, allowed are 0 and more"),
    ],
)
def test_settings_that_are_not_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ContinuousCacheModel(small_model(), **settings)


def test_the_command_takes_nets_only_and_repeated_words_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model()
    model.save(tmp_path / "net")
    counts = unrolled.train_ngram(texts=["a b", "b c"], order=2, smoothing="witten-bell")
    counts.save(tmp_path / "ngram")
    text = write_text(tmp_path, 40)

    def run(name: str, *options: str) -> tuple[str, str]:
        words = ["unrolled", "evaluate", str(tmp_path / name), text, *options]
        monkeypatch.setattr(sys, "argv", words)
        with contextlib.suppress(SystemExit):
            main()
        out, err = capsys.readouterr()
        return out, err

    cache = ContinuousCacheModel(model, window=50, weight=0.5, theta=0.1)
    wanted = evaluate(cache, text)
    out, _ = run("net", "--cache", "50", "--cache-weight", "0.5", "--cache-theta", "0.1")
    assert out.strip() == wanted.line()
    assert "| lstm-12-cache-50 |" in out
    assert wanted.perplexity < 0.9 * evaluate(model, text).perplexity
    out, err = run("ngram", "--cache", "50")
    assert (out, "a cache over outputs needs a net, and witten" in err) == ("", True)
