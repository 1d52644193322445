"""The stand-in's module: names, settings, paths, pickles, and what it refuses, beside KenLM's."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from tests.integrations.kenlm_models import random_sentences, steps

import unrolled.integrations.kenlm as mine
from unrolled import train_ngram
from unrolled.errors import NotNormalisedError, SettingError
from unrolled.ngram.arpa.files import write_arpa


def test_it_has_all_names_of_the_module(kenlm, folder):
    def public(thing):
        return {name for name in dir(thing) if not name.startswith("_")} - {"os"}

    assert public(kenlm) <= public(mine)
    for name in ("State", "Config", "FullScoreReturn", "LoadMethod", "ARPALoadComplain"):
        assert public(getattr(kenlm, name)) <= public(getattr(mine, name))
    path = str(folder / "bigram.arpa")
    assert public(kenlm.Model(path)) <= public(mine.Model(path))
    for name in ("LoadMethod", "ARPALoadComplain"):
        for one in public(getattr(kenlm, name)):
            assert getattr(getattr(mine, name), one) == getattr(getattr(kenlm, name), one)


def test_settings_are_those_of_kenlm_and_accepted(kenlm, folder):
    for module in (kenlm, mine):
        config = module.Config()
        assert config.load_method == module.LoadMethod.POPULATE_OR_READ == 2
        assert (config.show_progress, config.arpa_complain) == (True, module.ARPALoadComplain.ALL)
        config.load_method = module.LoadMethod.LAZY
        config.show_progress = False
        config.arpa_complain = module.ARPALoadComplain.NONE
        assert module.Model(str(folder / "bigram.arpa"), config).order == 2
        assert module.Model(path=str(folder / "bigram.arpa"), config=config).order == 2


def test_paths(kenlm, folder, ngrams, monkeypatch, tmp_path):
    ngrams["trigram"].save(tmp_path / "ä.safetensors")
    write_arpa(ngrams["trigram"], tmp_path / "ä.arpa")
    monkeypatch.chdir(tmp_path)
    for path in ("ä.arpa", "ä.arpa".encode(), str(tmp_path / "ä.arpa")):
        model, wanted = mine.LanguageModel(path), kenlm.LanguageModel(path)
        assert (model.path, model.order, repr(model)) == (wanted.path, 3, repr(wanted))
        assert isinstance(model, mine.Model)
    model = mine.Model(tmp_path / "ä.safetensors")
    assert model.path == str(tmp_path / "ä.safetensors").encode()
    assert model.score("ba da") == mine.Model("ä.safetensors").score("ba da")
    with pytest.raises(AttributeError):
        model.order = 4


def test_pickled_by_path(folder, ngrams, tmp_path):
    model = mine.LanguageModel(str(folder / "trigram.arpa"))
    again = pickle.loads(pickle.dumps(model))
    assert (type(again), again.path) == (mine.Model, model.path)
    assert again.score("ba da") == model.score("ba da")
    in_memory = mine.Model.from_model(
        train_ngram(texts=["a b"], order=2, smoothing="additive", delta=1.0)
    )
    assert (in_memory.path, repr(in_memory)) == (b"", "<Model from b''>")
    with pytest.raises(SettingError, match=r"^a model is pickled by its path.* Save it to a file"):
        pickle.dumps(in_memory)


def test_full_score_returns_look_alike(kenlm, ours, theirs):
    returned = theirs["trigram"].BaseFullScore(kenlm.State(), "ba", kenlm.State())
    got = ours["trigram"].BaseFullScore(mine.State(), "ba", mine.State())
    assert repr(got).startswith(repr(returned)[: len("FullScoreReturn(-1.23")])
    assert repr(mine.FullScoreReturn(-0.5, 2, False)) == repr(kenlm.FullScoreReturn(-0.5, 2, False))
    with pytest.raises(AttributeError):
        got.oov = True


WRONG_CALLS = [
    lambda module, model: module.Model(3),
    lambda module, model: module.Model(None),
    lambda module, model: module.Model("x.arpa", 3),
    lambda module, model: model.score(3),
    lambda module, model: model.score(["ba"]),
    lambda module, model: model.score("\ud800"),
    lambda module, model: model.perplexity(None),
    lambda module, model: next(model.full_scores(3)),
    lambda module, model: 3 in model,
    lambda module, model: model.BaseScore(module.State(), b"ba", module.State()),
    lambda module, model: model.BaseScore(module.State(), 3, module.State()),
    lambda module, model: model.BaseScore(3, "ba", module.State()),
    lambda module, model: model.BaseFullScore(module.State(), "ba", "x"),
    lambda module, model: model.BaseScore(module.State(), "\ud800", module.State()),
    lambda module, model: model.BeginSentenceWrite(3),
    lambda module, model: model.NullContextWrite("x"),
    lambda module, model: model.score(),
]


@pytest.mark.parametrize("call", WRONG_CALLS)
def test_wrong_calls_raise_alike(kenlm, ours, theirs, call):
    with pytest.raises((TypeError, ValueError)) as wanted:
        call(kenlm, theirs["trigram"])
    with pytest.raises((TypeError, ValueError)) as got:
        call(mine, ours["trigram"])
    assert got.type == wanted.type
    text = str(wanted.value).replace("kenlm.", "")
    if text.startswith(("Cannot", "Argument", "'utf-8'")):
        assert str(got.value) == text


@pytest.mark.parametrize("content", [None, b"", b"\\data\\\nngram 1=oops\n", b"mmap lm http://kh"])
def test_files_that_are_no_models(kenlm, tmp_path, content):
    path = tmp_path / "bad.arpa"
    if content is not None:
        path.write_bytes(content)
    for module, name in itertools.product((kenlm, mine), (str(path), bytes(path))):
        with pytest.raises(OSError) as error:
            module.Model(name)
        assert str(error.value).startswith(f"Cannot read model '{name}' (")
        assert str(error.value).endswith(")")
        assert "\n" not in str(error.value)
        assert error.value.__cause__ is not None


def test_stupid_backoff_is_refused(tmp_path):
    ngram = train_ngram(texts=["a b", "b a"], order=2, smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="KenLM's interface needs probabilities"):
        mine.Model.from_model(ngram)
    ngram.save(tmp_path / "stupid.safetensors")
    with pytest.raises(OSError, match="Cannot read model .*needs probabilities"):
        mine.Model(str(tmp_path / "stupid.safetensors"))


def test_a_state_of_another_order_is_refused(ours):
    state, after = mine.State(), mine.State()
    ours["trigram"].BeginSentenceWrite(state)
    with pytest.raises(
        ValueError, match="in_state is of a model of order 3, and this one is of order 5"
    ):
        ours["5-gram"].BaseScore(state, "ba", after)
    assert after == mine.State()
    assert ours["5-gram"].BaseScore(after, "ba", state) < 0  # what it held does not matter
    assert state == steps(mine, ours["5-gram"], ["ba"], False)[0][-1]


def test_a_state_of_another_model_stays_inside_the_arrays(ours, ngrams):
    tiny = mine.Model.from_model(
        train_ngram(texts=["a b"], order=5, smoothing="additive", delta=1.0)
    )
    for sentence in random_sentences(7, 20):
        for state in steps(mine, ours["5-gram"], sentence.split(), True)[0]:
            assert tiny.BaseScore(state, "a", mine.State()) < 1


def test_the_arrays_of_a_model_outlive_it():
    texts = list(random_sentences(8, 300))
    model = mine.Model.from_model(train_ngram(texts=texts, order=3, smoothing="witten-bell"))
    wanted = [model.score(text) for text in texts]
    _ballast = [np.full(5000, 7, np.uint8) for _ in range(500)]  # takes what was given back
    assert [model.score(text) for text in texts] == wanted
