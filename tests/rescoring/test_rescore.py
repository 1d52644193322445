"""Rescoring: totals by hand, weights against a grid, a model that knows the answer."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import unrolled
from unrolled.errors import SettingError, TextError
from unrolled.rescoring.edit_distance_kernels import error_changes
from unrolled.rescoring.nbest import NbestLists
from unrolled.rescoring.rescore import (
    LOWEST,
    RescoringWeights,
    errors_of_best,
    new_scores,
    oracle_errors,
    ranked,
    totals,
    tune_rescoring,
)
from unrolled.rescoring.word_errors import edit_counts


def random_lists(seed, *, utterances=30, old=True):
    """Lists whose scores know something about how good a hypothesis is, and their references."""
    random = np.random.default_rng(seed)
    references, texts, owners = [], [], []
    for number in range(utterances):
        said = random.choice(list("abcdefgh"), random.integers(3, 9)).tolist()
        references.append(" ".join(said))
        for _ in range(random.integers(1, 12)):
            heard = [word if random.random() > 0.3 else "x" for word in said]
            keep = random.random(len(heard)) > 0.15
            texts.append(" ".join(word for word, kept in zip(heard, keep, strict=True) if kept))
            owners.append(number)
    owners = np.array(owners)
    starts = np.searchsorted(owners, np.arange(utterances + 1))
    lists = NbestLists(
        "rnnlm", [f"u{n}" for n in range(utterances)], starts, texts, np.zeros(len(texts)), None
    )
    wrong = edit_counts(references, texts, owners).sum(axis=1)
    noise = random.normal(size=(3, len(texts)))
    lists.acoustic[:] = -2 * wrong + 3 * noise[0]
    if old:
        lists = NbestLists(
            "rnnlm", lists.utterances, starts, texts, lists.acoustic, -0.3 * wrong + noise[1]
        )
    return lists, -0.8 * wrong + noise[2], references


def test_totals_are_those_of_the_formula_and_equal_ones_keep_their_order():
    lists, new, _ = random_lists(0)
    weights = RescoringWeights(3.0, 0.25, -0.5)
    expected = [
        lists.acoustic[at]
        + 3 * (0.75 * lists.old[at] + 0.25 * new[at])
        - 0.5 * len(lists.texts[at].split())
        for at in range(new.size)
    ]
    np.testing.assert_allclose(totals(lists, new, weights), expected)
    bare = random_lists(0, old=False)[0]
    np.testing.assert_allclose(
        totals(bare, new, weights), bare.acoustic + 3 * new - 0.5 * bare.words
    )
    order = ranked(lists, np.round(totals(lists, new, weights)))
    for start, stop in itertools.pairwise(lists.starts):
        part = order[start:stop]
        assert sorted(part) == list(range(start, stop))
        scores = np.round(totals(lists, new, weights))[part]
        for before, after in itertools.pairwise(range(part.size)):
            assert scores[before] > scores[after] or (
                scores[before] == scores[after] and part[before] < part[after]
            )


@pytest.mark.parametrize("seed", range(3))
def test_errors_along_a_line_are_those_of_choosing_at_each_place(seed):
    lists, new, references = random_lists(seed)
    errors = edit_counts(references, lists.texts, lists.owners).sum(axis=1)
    places, changes = np.empty(new.size), np.empty(new.size, np.int64)
    found, first = error_changes(lists.acoustic, new, errors, lists.starts, places, changes)
    for t in np.random.default_rng(seed).normal(0, 5, 200):
        best = ranked(lists, lists.acoustic + t * new)[lists.starts[:-1]]
        assert errors[best].sum() == first + changes[:found][places[:found] < t].sum()


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_no_weights_on_a_grid_are_better(seed, old):
    lists, new, references = random_lists(seed, old=old)
    tuned = tune_rescoring(lists, new, references)
    reached = errors_of_best(lists, totals(lists, new, tuned), references).errors
    grid = itertools.product(
        np.geomspace(0.1, 30, 12), np.linspace(0, 1, 6) if old else [1], np.linspace(-4, 4, 9)
    )
    best = min(
        errors_of_best(lists, totals(lists, new, RescoringWeights(*point)), references).errors
        for point in grid
    )
    assert oracle_errors(lists, references).errors <= reached <= best
    again = tune_rescoring(lists, new, references)
    assert again == tuned


def test_the_oracle_is_the_best_choice_of_each_list():
    lists, _, references = random_lists(4)
    errors = edit_counts(references, lists.texts, lists.owners).sum(axis=1)
    best = sum(errors[start:stop].min() for start, stop in itertools.pairwise(lists.starts))
    assert oracle_errors(lists, references).errors == best


class Counting:
    """A model that counts how many sentences it is asked for."""

    def __init__(self, model):
        self.model, self.asked = model, 0

    def token_scores(self, sentences, **given):
        self.asked += len(sentences)
        return self.model.token_scores(sentences, **given)


def test_equal_texts_are_scored_once():
    model = unrolled.train_ngram(
        texts=["the cat sat", "a dog sat"], order=2, smoothing="maximum-likelihood"
    )
    texts = ["the cat sat", "a dog sat", "the cat sat", "dog the"]
    starts = np.array([0, 2, 4])
    lists = NbestLists("rnnlm", ["u", "v"], starts, texts, np.zeros(4), None)
    counting = Counting(model)
    scores = new_scores(lists, counting)
    assert counting.asked == 3
    assert scores[0] == scores[2] == pytest.approx(model.score("the cat sat"))
    assert scores[3] == LOWEST


def test_weights_and_references_that_are_refused():
    for weights, message in [
        ({"lm_scale": -1}, "lm_scale -1 must be at least 0"),
        ({"lm_scale": math.inf}, "lm_scale inf"),
        ({"mix": 1.5}, "mix 1.5 must be from 0 to 1"),
        ({"word_penalty": math.nan}, "word_penalty nan must be finite"),
    ]:
        with pytest.raises(SettingError, match=message):
            RescoringWeights(**weights)
    lists, new, references = random_lists(0)
    with pytest.raises(TextError, match="no word"):
        tune_rescoring(lists, new, [""] * len(references))
    assert RescoringWeights(12.5, 0.25, -1).line() == "--lm-scale 12.5 --mix 0.25 --word-penalty -1"
