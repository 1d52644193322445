"""The delta of additive smoothing against texts with each word left out in turn."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Sentences, corpora, counts_of, model_of, zipf_sentences
from oracle import NgramOracle, log_likelihood_left_out
from unrolled import count_ngrams, evaluate, read_corpus, train_ngram, train_on_counts, write_counts
from unrolled.errors import TextError, UnrolledWarning
from unrolled.ngram.estimation.config import NgramConfig
from unrolled.ngram.estimation.estimator import estimate
from unrolled.ngram.estimation.leave_one_out import (
    LEAST_DELTA,
    MOST_DELTA,
    Histogram,
    WholeHistories,
    leave_one_out_delta,
)


@given(corpora(), st.sampled_from([1, 2, 3, 5]), st.booleans(), st.sampled_from([0, 0, 90]))
@settings(max_examples=25, deadline=None)
def test_no_other_delta_makes_a_text_likelier(
    corpus: tuple[Sentences, int], order: int, closed: bool, pad: int
) -> None:
    sentences, size = corpus
    chosen: dict[str, Any] = {"smoothing": "additive", "closed": closed, "vocabulary_pad": pad}
    deltas = model_of(sentences, size, order, **chosen).provenance["deltas"]
    uniform = NgramOracle(sentences, order, size, **chosen).uniform
    assert [delta is None for delta in deltas] == [
        length < 2 <= order for length in range(1, order + 1)
    ]
    for length, delta in enumerate(deltas, 1):
        if delta is not None and (weight := least_weight(sentences, order, length)):

            def likelihood(other: float, length: int = length, weight: int = weight) -> float:
                return log_likelihood_left_out(
                    sentences, order, length, other, uniform, weight=weight
                )

            grid = list(map(likelihood, weight * np.geomspace(LEAST_DELTA, MOST_DELTA, 40)))
            if delta == 1 and max(grid) in (grid[0], grid[-1]):
                continue  # there is no maximum
            near = max(likelihood(delta * 0.99), likelihood(delta / 0.99))
            assert likelihood(delta) >= max(*grid, near) - 1e-9


def least_weight(sentences: Sentences, order: int, length: int) -> int:
    """The greatest divisor of the counts of all n-grams that end ``length`` words of history."""
    events = (
        tuple(sentence[max(place - order + 1, 0) : place + 1])
        for sentence in sentences
        for place in range(1, len(sentence))
    )
    return math.gcd(*Counter(event for event in events if len(event) == length).values())


def lines_of(sentences: Sentences) -> list[str]:
    return [" ".join(f"w{word}" for word in sentence[1:-1]) for sentence in sentences]


def test_held_out_text_agrees(tmp_path: Path) -> None:
    lines = lines_of(zipf_sentences(60_000, 2000, seed=3)[:-50])
    train, held_out = lines[:-300], lines[-300:]
    (tmp_path / "held-out.txt").write_text("\n".join(held_out))
    for order in (1, 2, 3):
        given: dict[str, Any] = {"texts": train, "order": order, "smoothing": "additive"}
        model = train_ngram(**given)
        scored = evaluate(model, tmp_path / "held-out.txt").perplexity
        center = model.provenance["deltas"][-1]
        others = [
            evaluate(train_ngram(**given, delta=delta), tmp_path / "held-out.txt").perplexity
            for delta in center * np.geomspace(1 / 16, 16, 9)
        ]
        assert scored < 1.02 * min(others)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_counts_and_weights_choose_as_their_text(tmp_path: Path, order: int) -> None:
    text, counts = tmp_path / "text", tmp_path / "counts"
    text.write_text("\n".join(lines_of(zipf_sentences(2000, 60, seed=8))))
    corpus = read_corpus(text)
    write_counts(count_ngrams(corpus.ids, order, len(corpus.vocabulary)), corpus.vocabulary, counts)
    chosen: dict[str, Any] = {"order": order, "smoothing": "additive"}
    model, more = (train_ngram(text, **chosen, weights=[weight]) for weight in (1, 3))
    for own, again in (
        (model, train_on_counts(counts, **chosen)),
        (more, train_on_counts(counts, **chosen, weights=[3])),
    ):
        assert own.provenance["deltas"] == again.provenance["deltas"]
        for name, array in own.arrays().items():
            assert again.arrays()[name].tobytes() == array.tobytes()
    one, three = (np.array(made.provenance["deltas"], float) for made in (model, more))
    assert three == pytest.approx(3 * one, nan_ok=True)
    assert more.arrays()["trie.log_probs"] == pytest.approx(model.arrays()["trie.log_probs"])
    assert "deltas" not in train_ngram(text, **chosen, delta=1.0).provenance


@pytest.mark.parametrize(
    "sentences",
    [
        [[1, 3, 2]],  # all equally likely: each context comes once
        [[1, 3, 2]] * 9,
        [[1, 3, 2], [1, 4, 2]],  # all n-grams come once: the larger the likelier
        [[1, 3, 2]] * 9 + [[1, 4, 2]] * 2,  # the smaller the likelier
    ],
)
def test_texts_that_choose_none_are_reported_or_refused(sentences: Sentences) -> None:
    config = NgramConfig(order=2, smoothing="additive")
    message = "order 2: no delta is likeliest by leave-one-out"
    with pytest.warns(UnrolledWarning, match=f"^{message}; using delta 1$"):
        made = estimate(counts_of(sentences, 5, 2), config)
    assert made.record["deltas"] == [None, 1.0]
    config = NgramConfig(order=2, smoothing="additive", strict=True)
    with pytest.raises(TextError, match=message):
        estimate(counts_of(sentences, 5, 2), config)


def test_a_vocabulary_of_one_word() -> None:
    counts = counts_of([[1, 2], [1, 2], [1, 2]], 3, 1)
    with pytest.warns(UnrolledWarning, match="using delta"):
        made = estimate(counts, NgramConfig(order=1, smoothing="additive", closed=True))
    assert np.exp(made.table.log_probs).tolist() == [0.0, 0.0, 1.0]


def test_histograms_of_large_counts_add_up() -> None:
    rng = np.random.default_rng(0)
    counts = rng.choice(np.array([0, 1, 2, 65535, 65536, 2**31, 2**32 - 1], np.uint32), 500)
    whole = Histogram.of(counts)
    values, numbers = np.unique(counts[counts > 0], return_counts=True)
    assert whole.values.tolist() == values.tolist()
    assert whole.numbers.tolist() == numbers.tolist()
    merged = Histogram.merged(Histogram.of(part) for part in np.array_split(counts, 7))
    assert merged.values.tolist() == values.tolist()
    assert merged.numbers.tolist() == numbers.tolist()


def test_sums_of_contexts_go_past_32_bits() -> None:
    counts = np.array([2**32 - 1, 2**32 - 1, 1, 4], np.uint32)
    found = WholeHistories.of(np.array([0, 2, 2, 0], np.uint32), counts)
    assert found.contexts.values.tolist() == [5, 2**33 - 2]
    assert leave_one_out_delta(found, 3) is not None
