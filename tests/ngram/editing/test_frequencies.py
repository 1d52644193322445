"""Expected frequencies of contexts against a chain of words that is followed step by step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.ngram.backoff_oracle import BackoffModel, sentences, small_model

from unrolled import train_ngram
from unrolled.ngram.editing import frequencies
from unrolled.ngram.editing.trie_editing import opened

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


def linked(model):
    table = opened(model)
    return table, table.link_suffixes()


def by_context(model, found):
    table = model.trie.unpack()
    rows = [row for length in range(1, model.order) for row in table.ngrams(length)]
    grams = [tuple(model.vocabulary.words(row)) for row in rows]
    return dict(zip(grams, found, strict=True))


@pytest.mark.parametrize("smoothing", ["witten-bell", "modified-kneser-ney", "katz"])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_text_drawn_from_the_model_has_the_stationary_frequencies(order, smoothing, monkeypatch):
    monkeypatch.setattr(frequencies, "STEPS", 100)
    model = small_model(order=order, smoothing=smoothing, words=4)
    oracle = BackoffModel.of(model)
    share = {("<s>",): 1.0}  # of each history: up to order - 1 words since <s>
    for _ in range(100):
        after: Counter[tuple[str, ...]] = Counter()
        for history, mass in share.items():
            for word in oracle.words:
                longer = ("<s>",) if word == "</s>" else (*history, word)[1 - order :]
                after[longer] += mass * oracle.p(word, history)
        share = after
    found = by_context(model, frequencies.own_frequencies(*linked(model)))
    for context, value in found.items():
        *rest, last = context
        if last == "</s>":
            within = {h: m for h, m in share.items() if h[len(h) - len(rest) :] == tuple(rest)}
            expected = sum(mass * oracle.p("</s>", h) for h, mass in within.items())
        else:
            expected = sum(m for h, m in share.items() if h[-len(context) :] == context)
        assert value == pytest.approx(expected, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_chain_rule_multiplies(order):
    model = small_model(order=order)
    oracle = BackoffModel.of(model)
    found = by_context(model, frequencies.own_frequencies(*linked(model), "chain"))
    for context, value in found.items():
        if "<s>" not in context[1:]:
            assert value == pytest.approx(oracle.chain(context), rel=1e-5)


def test_kneser_ney_models_know_how_often_words_come():
    # w0 comes in few contexts but often, which the chain rule cannot see.
    text = [f"{line} w0 w0 w0 w0 w0 end" for line in sentences(7, 200)]
    model = train_ngram(texts=text, order=3)
    words = Counter(word for line in text for word in [*line.split(), "</s>"])
    total = sum(words.values())
    table, suffixes = linked(model)

    def error(way):
        found = by_context(model, frequencies.own_frequencies(table, suffixes, way))
        return sum(abs(found[word,] - count / total) for word, count in words.items())

    assert error("chain") > 0.9
    assert error("stationary") < 0.1


def test_a_model_by_itself_and_as_the_history_of_itself_agree():
    model = small_model(order=3)
    table, suffixes = linked(model)
    own = frequencies.own_frequencies(table, suffixes, "chain")
    foreign = frequencies.foreign_frequencies(table, suffixes, model.vocabulary, model)
    np.testing.assert_allclose(foreign, own, rtol=1e-6)


def test_order_one_has_no_contexts():
    assert frequencies.own_frequencies(*linked(small_model(order=1))).size == 0
