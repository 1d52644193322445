"""The defaults of the protocol, on a model made by hand, and scores that no model could give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chain_model import CHAIN, Chain
from unrolled.errors import FormatError, SettingError
from unrolled.language_models.cache import CacheModel
from unrolled.language_models.evaluation import evaluate
from unrolled.language_models.generation import generate, predict
from unrolled.language_models.mixture import Mixture
from unrolled.language_models.mixture_tuning import mix_models
from unrolled.language_models.scoring import rank, score_sentences, surprisals
from unrolled.text.vocabulary import BOS, EOS, UNK

IDS = np.array([1, 3, 4, 2, 1, 2, 1, 0, 2], np.int32)  # a b; nothing; an unknown word


def test_unknown_words_are_the_first_id() -> None:
    assert (UNK, BOS, EOS) == (0, 1, 2)


def test_defaults_follow_from_log_probs_and_next_log_probs() -> None:
    chain = Chain(CHAIN)
    scores = chain.log_probs(IDS)
    rows = np.concatenate(list(chain.all_log_probs(IDS)))
    np.testing.assert_array_equal(rows[np.arange(IDS.size), IDS], scores)
    np.testing.assert_array_equal(chain.text_log_probs(IDS), scores)
    counted: list[int] = []
    np.testing.assert_array_equal(chain.text_scorer(counted.append)(IDS), scores)
    assert counted == [6]
    asked = chain.token_scores(["a b", "", "zzz"])
    np.testing.assert_array_equal(asked.log_probs, scores)
    assert (asked.ids.tolist(), asked.starts.tolist()) == (IDS.tolist(), [0, 4, 6, 9])
    assert asked.lengths is None
    assert chain.score("a b") == pytest.approx(scores[:4].sum())
    np.testing.assert_allclose(chain.scores(["a b", ""]), [scores[:4].sum(), scores[5]])
    assert chain.normalised and not chain.carries_context
    with chain.use_threads(3) as at_once:
        assert at_once == 3


def test_a_model_that_cannot_be_stored(tmp_path: Path) -> None:
    chain = Chain(CHAIN)
    with pytest.raises(SettingError, match="chain cannot be stored in a file"):
        chain.save(tmp_path / "chain.safetensors")
    with pytest.raises(SettingError, match="chain cannot be stored"):
        Mixture([chain, Chain(CHAIN)], [0.5, 0.5]).save(tmp_path / "mixture.safetensors")
    assert chain.info()["vocabulary"] == 5


NO_SCORES = [np.nan, 1.0, np.inf, -5.5e30, -1.1e6]
ASKED: list[Any] = [
    lambda model: evaluate(model, texts=["a"]),
    lambda model: score_sentences(model, ["a"]),
    lambda model: model.token_scores(["a"]),
    lambda model: model.score("a"),
    lambda model: list(surprisals(model, ["a"])),
    lambda model: rank(model, ["a"]),
    lambda model: predict(model, ""),
    lambda model: generate(model, seed=1),
    lambda model: evaluate(mixed(model, "linear"), texts=["a"]),
    lambda model: evaluate(mixed(model, "log-linear"), texts=["a"]),
    lambda model: predict(mixed(model, "linear"), ""),
    lambda model: score_sentences(mixed(model, "log-linear"), ["a"]),
]


def mixed(model: Chain, how: str) -> Mixture:
    """The model beside a sound one, whose scores would hide those that are too low."""
    return Mixture([CacheModel(model.vocabulary), model], [0.5, 0.5], how=how)


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("value", NO_SCORES)
def test_scores_that_no_model_could_give(ask: Any, value: float) -> None:
    chain = Chain(CHAIN)
    chain.rows[:] = value
    with pytest.raises(FormatError, match=r"chain gives a token the log-probability [-\w.+]+, "):
        ask(chain)


@pytest.mark.parametrize("how", ["linear", "log-linear"])
def test_weights_are_not_tuned_on_such_scores(tmp_path: Path, how: str) -> None:
    chain = Chain(CHAIN)
    chain.rows[:] = -5.5e30
    (tmp_path / "text").write_text("a b\n")
    with pytest.raises(FormatError, match="which no model can give"):
        mix_models([CacheModel(chain.vocabulary), chain], tmp_path / "text", how=how)


def test_scores_that_a_model_could_give() -> None:
    chain = Chain(CHAIN)
    for value in (-np.inf, 0.0, 1e-7, -9e5):
        values = np.array([-1.0, value], np.float32)
        assert chain.checked(values) is values
    assert chain.checked(np.zeros((0, 3))).size == 0
