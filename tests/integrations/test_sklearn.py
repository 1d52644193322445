from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

from unrolled.errors import MissingExtraError, SettingError, TextError
from unrolled.integrations.sklearn import TaggerEstimator
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.scoring.scores import score_spans
from unrolled.tagging.training import train_tagger

SMALL = {"hidden": 8, "embedding": 8, "characters": "none", "epochs": 12, "rate": 0.05,
         "warmup": 0, "threads": 1}  # fmt: skip
NAMES = ["Ann", "Bob", "Cat", "Dan"]


def data(size=24):
    words = [[NAMES[n % 4], "saw", NAMES[(n + 1) % 4] if n % 3 else "it"] for n in range(size)]
    tags = [[("B-PER" if word in NAMES else "O") for word in sentence] for sentence in words]
    return words, tags


def test_it_predicts_what_the_tagger_it_trains_predicts():
    X, y = data()
    estimator = TaggerEstimator(**SMALL).fit(X, y)
    settings = {name: value for name, value in SMALL.items() if name != "threads"}
    same = train_tagger(
        [TaggedSentence(tuple(w), tuple(t)) for w, t in zip(X, y, strict=True)],
        threads=1,
        **settings,
    )
    assert estimator.predict(X) == same.predict(X)
    assert estimator.score(X, y) == score_spans(y, estimator.predict(X)).f1 > 0.9


def test_the_last_sentences_can_choose_the_epoch():
    X, y = data()
    estimator = TaggerEstimator(**SMALL, valid_share=0.25).fit(X, y)
    curve = estimator.tagger_.settings["curve"]
    assert curve[-1]["score"] is not None
    assert TaggerEstimator(**SMALL).fit(X, y).tagger_.settings["curve"][-1]["score"] is None


def test_plain_labels_are_scored_by_accuracy():
    X, y = [["the", "dog"], ["a", "cat"]] * 8, [["DT", "NN"]] * 16
    estimator = TaggerEstimator(**SMALL).fit(X, y)
    assert estimator.score(X, y) == 1
    assert estimator.score([["the", "dog"]], [["DT", "XX"]]) == 0.5
    estimator.set_params(metric_for_score="f1")
    assert estimator.get_params()["metric_for_score"] == "f1"


def test_cross_validation_and_grid_search_of_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.base import clone

    X, y = data()
    estimator = TaggerEstimator(**SMALL)
    assert clone(estimator).get_params() == estimator.get_params()
    scores = selection.cross_val_score(estimator, X, y, cv=3)
    assert len(scores) == 3
    assert scores.min() > 0.8
    search = selection.GridSearchCV(estimator, {"epochs": [1, 12]}, cv=2).fit(X, y)
    assert search.best_params_ == {"epochs": 12}
    assert search.predict(X[:1]) == estimator.fit(X, y).predict(X[:1])


def test_scikit_learn_is_not_imported_by_what_does_not_need_it():
    code = (
        "import sys; from unrolled.integrations.sklearn import TaggerEstimator\n"
        "e = TaggerEstimator(hidden=4); e.get_params()\n"
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_scikit_learn_its_functions_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.utils", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'unrolled\[sklearn\]'"):
        TaggerEstimator().__sklearn_tags__()


def test_what_was_given_is_shown():
    assert repr(TaggerEstimator(hidden=4)) == "TaggerEstimator(hidden=4)"


def test_mistakes_are_refused():
    X, y = data(4)
    with pytest.raises(SettingError, match="there is no setting 'hiden'. Did you mean hidden"):
        TaggerEstimator(hiden=3)
    with pytest.raises(SettingError, match="was not trained. Call fit first"):
        TaggerEstimator().predict(X)
    with pytest.raises(SettingError, match="valid_share is 1, allowed are 0 to below 1"):
        TaggerEstimator(valid_share=1).fit(X, y)
    with pytest.raises(SettingError, match="metric_for_score is 'x'. Allowed are auto, f1, acc"):
        TaggerEstimator(metric_for_score="x").fit(X, y)
    with pytest.raises(TextError, match="sentence 1: this is a text"):
        TaggerEstimator().fit(["Ann saw"], [["O", "O"]])
    with pytest.raises(TextError, match="there are 4 sentences and tags for 3"):
        TaggerEstimator().fit(X, y[:3])
    with pytest.raises(TextError, match="sentence 1: 1 tags for 3 words"):
        TaggerEstimator().fit(X[:1], [["O"]])


def test_probabilities_of_all_tags():
    X, y = data()
    estimator = TaggerEstimator(**SMALL).fit(X, y)
    assert estimator.classes_.tolist() == ["B-PER", "I-PER", "O"]
    found = estimator.predict_proba([*X[:3], []])
    assert [rows.shape for rows in found] == [(3, 3)] * 3 + [(0, 3)]
    for rows, tags in zip(found[:3], estimator.predict(X[:3]), strict=True):
        np.testing.assert_allclose(rows.sum(axis=1), 1)
        assert estimator.classes_[rows.argmax(axis=1)].tolist() == tags
    single = estimator.tagger_.tag(X[:1])[0]  # the chain's own marginals of the tags it chose
    assert single.confidences == pytest.approx(found[0].max(axis=1), abs=0.05)
    softmax = TaggerEstimator(**SMALL, output_layer="softmax").fit(X, y)
    np.testing.assert_allclose(softmax.predict_proba(X[:1])[0].sum(axis=1), 1)
    assert not hasattr(TaggerEstimator(), "classes_")


def test_a_pickle_holds_the_tagger(tmp_path):
    joblib = pytest.importorskip("joblib")
    X, y = data()
    estimator = TaggerEstimator(**SMALL).fit(X, y)
    joblib.dump(estimator, tmp_path / "e.joblib")
    again = joblib.load(tmp_path / "e.joblib")
    assert again.predict(X) == estimator.predict(X)
    assert again.get_params() == estimator.get_params()
    assert pickle.loads(pickle.dumps(TaggerEstimator(hidden=4))).get_params()["hidden"] == 4
    code = (
        "import joblib, sys; e = joblib.load(sys.argv[1])\n"
        "assert e.predict([['Ann', 'saw', 'it']]) == [['B-PER', 'O', 'O']]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "e.joblib")], check=True)


@pytest.mark.skipif(
    sys.__stdout__ is None or sys.__stderr__ is None,
    reason="joblib starts no process where standard output or error is closed",
)
def test_a_trained_estimator_is_cross_validated_by_several_processes():
    selection = pytest.importorskip("sklearn.model_selection")
    from sklearn.utils.validation import check_is_fitted

    X, y = data()
    estimator = TaggerEstimator(**SMALL).fit(X, y)
    check_is_fitted(estimator)
    two = selection.cross_val_score(estimator, X, y, cv=2, n_jobs=2)
    assert two.tolist() == selection.cross_val_score(estimator, X, y, cv=2).tolist()


def test_numpy_tags_are_strings_or_refused():
    X, y = data(8)
    settings = {**SMALL, "epochs": 1}
    expected = TaggerEstimator(**settings).fit(X, y).predict(X)
    arrays = [np.array(sentence) for sentence in X], [np.array(tags) for tags in y]
    assert TaggerEstimator(**settings).fit(*arrays).predict(arrays[0]) == expected
    objects = np.empty(8, object), np.empty(8, object)
    for array, given in zip(objects, (X, y), strict=True):
        array[:] = given
    assert TaggerEstimator(**settings).fit(*objects).predict(X) == expected
    for wrong, message in (
        ([[1, 0, 0]] * 8, "sentence 1: tags are strings, not int 1. Give their names"),
        (np.zeros((8, 3)), "sentence 1: tags are strings, not float64"),
        (np.zeros(8), "sentence 1: the tags are 0.0, and a list of tags is needed"),
    ):
        with pytest.raises(TextError, match=message):
            TaggerEstimator().fit(X, wrong)
    for features, message in (
        (
            [[{"word": "Ann"}]],
            "sentence 1: words are strings, not dict {'word': 'Ann'}. Give",
        ),
        ([{"word": "Ann"}], "sentence 1: the words are {'word': 'Ann'}, and a list of words is"),
    ):
        with pytest.raises(TextError, match=message):
            TaggerEstimator().fit(features, [["O"]])
