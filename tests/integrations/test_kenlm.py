"""The stand-in beside the real `kenlm`, value for value, on models that both read."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integrations.kenlm_models import MODELS, SPECIAL, WITHIN, WORDS, random_sentences, steps

import unrolled.integrations.kenlm as mine
from unrolled import train_ngram


def agree(mine_model, their_model, sentence, bos=True, eos=True):
    """Assert that all that is said of a sentence is the same."""
    got = list(mine_model.full_scores(sentence, bos, eos))
    wanted = list(their_model.full_scores(sentence, bos, eos))
    assert [row[1:] for row in got] == [row[1:] for row in wanted]
    assert [row[0] for row in got] == pytest.approx([row[0] for row in wanted], rel=WITHIN)
    wanted_sum = their_model.score(sentence, bos, eos)
    # Errors of a single-precision sum grow with its length.
    assert mine_model.score(sentence, bos, eos) == pytest.approx(wanted_sum, rel=WITHIN, abs=1e-6)
    assert sum(row[0] for row in got) == pytest.approx(mine_model.score(sentence, bos, eos))


@pytest.mark.parametrize("name", MODELS)
def test_sentences_score_alike(ours, theirs, name):
    for sentence in random_sentences(2, 150, SPECIAL):
        agree(ours[name], theirs[name], sentence)
        wanted = theirs[name].perplexity(sentence)
        assert ours[name].perplexity(sentence) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"log zero"}))
def test_scores_are_those_of_the_model_itself(ngrams, ours, name):
    for sentence in random_sentences(3, 50, ["unknown"]):
        wanted = ngrams[name].score(sentence) / math.log(10)
        assert ours[name].score(sentence) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("bos", "eos"), [*itertools.product([True, False], repeat=2)])
def test_with_and_without_marks(ours, theirs, bos, eos):
    for sentence in ["", *random_sentences(3, 40, SPECIAL)]:
        agree(ours["5-gram"], theirs["5-gram"], sentence, bos, eos)
        agree(ours["5-gram"], theirs["5-gram"], sentence.encode(), bos, eos)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*WORDS[:12], *SPECIAL]),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
            st.text(" \t\n\v\f\r", min_size=1, max_size=3),
        )
    ).flatmap(lambda parts: st.sampled_from(["".join(parts), " ".join(parts)]))
)
def test_any_text_is_cut_into_the_same_words(ours, theirs, sentence):
    agree(ours["trigram"], theirs["trigram"], sentence)
    wanted = theirs["trigram"].perplexity(sentence)
    assert ours["trigram"].perplexity(sentence) == pytest.approx(wanted, rel=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.binary().filter(lambda data: 0 not in data))
def test_any_bytes_are_taken(ours, theirs, data):
    agree(ours["trigram"], theirs["trigram"], data)
    assert (data in ours["trigram"]) == (data in theirs["trigram"])


def test_nul_is_white_space(ours):
    model = ours["trigram"]
    assert model.score("ba\0de fi") == model.score("ba de fi")
    assert len(list(model.full_scores(b"ba\0de fi"))) == 4
    assert model.perplexity("ba\0de fi") == model.perplexity("ba de fi")


def test_the_same_words_are_known(ours, theirs):
    for word in [*WORDS, *SPECIAL, "ba de", " ba", "ba ", "ba\n", "ba\v", "\v"]:
        assert (word in ours["trigram"]) == (word in theirs["trigram"]), word
        assert (word.encode() in ours["trigram"]) == (word.encode() in theirs["trigram"]), word
    assert "ba" in ours["trigram"]
    assert "<unk>" not in ours["trigram"]


def test_log_zero_is_a_number(ours):
    assert -600 < ours["log zero"].score("unknown unknown ba") < -99
    model = mine.Model.from_model(
        train_ngram(texts=["a b"], order=8, smoothing="maximum-likelihood")
    )
    assert -500 < model.score("b b b b") < -350
    assert 1e70 < model.perplexity("b b b b") < 1e100


def test_a_perplexity_beyond_all_numbers_is_infinite(ours, monkeypatch):
    monkeypatch.setattr(mine.Model, "full_scores", lambda *_: iter([(-500.0, 1, False)] * 2))
    assert ours["trigram"].perplexity("ba") == math.inf


@pytest.mark.parametrize("order", [1, 2, 9, 20])
def test_orders_that_kenlm_lacks(order):
    ngram = train_ngram(texts=["a b c", "a c", "b"], order=order, smoothing="witten-bell")
    model = mine.Model.from_model(ngram)
    assert model.order == order
    for sentence in ("", "a", "a b c", "c x a b", "a b c a b c a b c a b c a b c a b c a b c a b"):
        for bos in (True, False):
            wanted = ngram.score(sentence, bos=bos) / math.log(10)
            assert model.score(sentence, bos) == pytest.approx(wanted, rel=1e-6)
        before, total = mine.State(), 0.0
        model.BeginSentenceWrite(before)
        for word in [*sentence.split(), "</s>"]:
            total += model.BaseScore(before, word, before)
        assert total == pytest.approx(model.score(sentence))
    assert model.BaseFullScore(mine.State(), "a", mine.State()).ngram_length == 1


def test_threads_share_a_model(ours):
    sentences = [" ".join(random_sentences(seed, 200)) for seed in range(10, 30)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ours["5-gram"].score, sentences)) == [
            ours["5-gram"].score(sentence) for sentence in sentences
        ]


# -- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bos", [True, False])
def test_steps_score_alike_and_states_merge_alike(kenlm, ours, theirs, name, bos):
    states, their_states = [mine.State()], [kenlm.State()]
    for sentence in random_sentences(4, 12, ["<s>", "</s>", "<unk>", "unknown"]):
        words = [*sentence.split(), "</s>", "ba"]
        got = steps(mine, ours[name], words, bos)
        wanted = steps(kenlm, theirs[name], words, bos)
        for one, other in zip(got[1], wanted[1], strict=True):
            assert one.log_prob == pytest.approx(other.log_prob, rel=WITHIN)
            assert (one.ngram_length, one.oov) == (other.ngram_length, other.oov)
        states += got[0]
        their_states += wanted[0]
    for (a, theirs_a), (b, theirs_b) in itertools.product(
        zip(states, their_states, strict=True), repeat=2
    ):
        assert (a == b, a != b) == (theirs_a == theirs_b, theirs_a != theirs_b)
        assert (a < b, a <= b, a > b, a >= b) == (
            theirs_a < theirs_b,
            theirs_a <= theirs_b,
            theirs_a > theirs_b,
            theirs_a >= theirs_b,
        )
        assert a != b or hash(a) == hash(b)
    assert len(set(states)) == len(set(their_states)) > 5


def test_what_cannot_matter_is_forgotten(ours):
    model, null = ours["5-gram"], mine.State()
    for end in ("unknown", "</s>", "<unk>"):
        assert steps(mine, model, ["ba", "da", end], True)[0][-1] == null
    assert hash(null) == 0
    kept = 0
    for first, second in itertools.product(WORDS[:60:4], WORDS[::4]):
        states, scores = steps(mine, model, ["ba", first, second], False)
        alone = steps(mine, model, [second], False)[0][-1]
        if scores[-1].ngram_length == 1:
            assert states[-1] == alone
        kept += states[-1] != alone
    assert 20 < kept < 200


def test_equal_states_score_all_words_alike(ours):
    model = ours["cut-offs"]
    found: dict[mine.State, list[mine.State]] = {}
    for sentence in random_sentences(5, 60):
        for state in steps(mine, model, sentence.split(), True)[0]:
            found.setdefault(state, []).append(state)
    merged = [states for states in found.values() if len(states) > 1]
    assert len(merged) > 10
    for states in merged:
        for word in [*WORDS, "</s>", "unknown"]:
            scores = {model.BaseScore(state, word, mine.State()) for state in states[:4]}
            assert len(scores) == 1


def test_one_state_may_be_read_and_written(ours):
    model = ours["5-gram"]
    for sentence in random_sentences(6, 20, ["unknown", "<s>"]):
        words = sentence.split()
        states, scores = steps(mine, model, words, True)
        state = mine.State()
        model.BeginSentenceWrite(state)
        for word, after, score in zip(words, states[1:], scores, strict=True):
            assert model.BaseFullScore(state, word, state) == score
            assert state == after


def test_copies_are_independent(ours):
    model, state = ours["trigram"], mine.State()
    model.BeginSentenceWrite(state)
    copies = [copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))]
    assert copy.copy(mine.State()) == mine.State()
    model.BaseScore(state, "ba", state)
    assert all(copied != state for copied in copies)
    assert len({*copies, state}) == 2
    for copied in copies:
        assert model.BaseScore(copied, "ba", copied) < 0
        assert copied == state


def test_states_and_other_objects(ours):
    state = mine.State()
    assert state != None  # noqa: E711
    assert state != 0
    with pytest.raises(TypeError):
        _ = state < 0
