"""Mixtures of taggers: against products of probabilities, and in files."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from tagging.small_taggers import sentences, small_tagger
from unrolled.errors import FormatError, SettingError, TextError
from unrolled.storage.model_file import read_model, write_model
from unrolled.tagging.data.columns import TaggedSentence
from unrolled.tagging.mixture import TaggerMixture
from unrolled.tagging.model import Tagger

KINDS: dict[str, dict[str, Any]] = {
    "crf": {},
    "softmax": {"output_layer": "softmax"},
}
WEIGHTS = (0.7, 0.3)


def unlike_taggers(kind: str, epochs: int = 2) -> list[Tagger]:
    """Two that know other words and have other nets."""
    given = {**KINDS[kind], "epochs": epochs}
    return [
        small_tagger(count=30, **given),
        small_tagger(count=60, hidden=7, embedding=5, cell="gru", seed=2, **given),
    ]


@pytest.fixture(scope="module", params=KINDS)
def taggers(request: pytest.FixtureRequest) -> list[Tagger]:
    return unlike_taggers(request.param)


def every_sequence(tagger: Tagger, words: Sequence[str]) -> np.ndarray[Any, Any]:
    """(K, ..., K) the probability of each sequence of tags, by its own scores alone."""
    (_, scores, _) = next(tagger._scored([TaggedSentence(tuple(words), ())]))
    sequences = list(itertools.product(range(len(tagger.tags)), repeat=len(words)))
    total = np.array(
        [sum(float(scores[place, tag]) for place, tag in enumerate(tags)) for tags in sequences]
    )
    if tagger.crf is not None:
        transitions, start, end = (part.detach().double().numpy() for part in tagger.crf.scores())
        for number, tags in enumerate(sequences):
            total[number] += start[tags[0]] + end[tags[-1]]
            total[number] += sum(transitions[pair] for pair in itertools.pairwise(tags))
    shares = np.exp(total - total.max())
    result: np.ndarray[Any, Any] = shares / shares.sum()
    return result.reshape([len(tagger.tags)] * len(words))


def test_probabilities_are_the_products_of_those_of_its_taggers(taggers: list[Tagger]) -> None:
    words = ["Ann", "Jones", "met"]
    mixture = TaggerMixture(taggers, WEIGHTS)
    product = np.prod(
        [every_sequence(tagger, words) ** a for tagger, a in zip(taggers, WEIGHTS, strict=True)],
        axis=0,
    )
    product /= product.sum()
    np.testing.assert_allclose(every_sequence(mixture, words), product, rtol=1e-4, atol=1e-9)
    (found,) = mixture.tag([words])
    best = np.unravel_index(product.argmax(), product.shape)
    marginals = [product.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    expected = [own[tag] for own, tag in zip(marginals, best, strict=True)]
    np.testing.assert_allclose(found.confidences, expected, rtol=1e-4)
    assert mixture.find([TaggedSentence(tuple(words), ())]).ids.tolist() == list(best)
    if mixture.crf is not None:
        probability, _ = mixture.n_best(words, 1)[0]
        assert probability == pytest.approx(product.max(), rel=1e-4)


def test_weights_are_equal_by_default_and_decide(taggers: list[Tagger]) -> None:
    given = sentences(20, seed=9)
    assert TaggerMixture(taggers).weights.tolist() == [0.5, 0.5]
    for number, tagger in enumerate(taggers):
        alone = TaggerMixture(taggers, [1 - number, number])
        for one, other in zip(alone.tag(given), tagger.tag(given), strict=True):
            assert one.tags == other.tags
            np.testing.assert_allclose(one.confidences, other.confidences, rtol=1e-5)


def test_a_file_holds_all_of_it(taggers: list[Tagger], tmp_path: Path) -> None:
    inner = TaggerMixture(taggers, WEIGHTS)
    mixture, path = TaggerMixture([inner, taggers[0]]), tmp_path / "t.safetensors"
    mixture.save(path)
    given = sentences(30, seed=3)
    for loaded in (Tagger.load(path), unrolled.load(path), pickle.loads(pickle.dumps(mixture))):
        assert isinstance(loaded, TaggerMixture)
        assert loaded.tag(given) == mixture.tag(given)
        assert loaded.name == mixture.name
        assert loaded.parameters == mixture.parameters
        assert loaded.weights.tolist() == [0.5, 0.5]
        assert list(loaded.vocabulary) == list(mixture.vocabulary)
        assert [model.path for model in loaded.models] == [None, None]
    read_model(path, verify=True)
    facts = unrolled.load(path).info()
    assert [model["weight"] for model in facts["models"]] == [0.5, 0.5]
    assert facts["tags"] == mixture.tags.names


def test_names_say_how_many_of_each_there_are(taggers: list[Tagger]) -> None:
    one, other = taggers
    mixture = TaggerMixture([TaggerMixture([one, one]), other])
    assert mixture.name == f"(2 x {one.name}) + {other.name}"
    assert mixture.parameters > 2 * one.parameters + other.parameters


def test_columns_sentences_without_words_and_devices() -> None:
    of_columns = [small_tagger(columns=(0,), epochs=2, seed=seed) for seed in (1, 2)]
    mixture = TaggerMixture(of_columns).to("cpu")
    given = [*sentences(5, seed=8), TaggedSentence((), (), ((), ()))]
    assert [len(found.tags) for found in mixture.tag(given)] == [len(one.words) for one in given]
    with pytest.raises(TextError, match="reads column 0"):
        mixture.tag([["Ann"]])


def test_a_tagger_of_weight_0_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, unasked = (small_tagger(count=10, epochs=1, seed=seed) for seed in (1, 2))
    monkeypatch.delattr(unasked, "net")
    assert TaggerMixture([asked, unasked], [1, 0]).predict([["Ann"]]) == asked.predict([["Ann"]])


def test_a_sentence_has_the_same_tags_whatever_is_tagged_with_it(taggers: list[Tagger]) -> None:
    mixture, given = TaggerMixture(taggers), sentences(50, seed=4)
    for sentence, among_others in zip(given, mixture.tag(given), strict=True):
        (alone,) = mixture.tag([sentence])
        assert alone.tags == among_others.tags
        np.testing.assert_allclose(alone.confidences, among_others.confidences, rtol=1e-5)


def test_taggers_that_do_not_fit_together_are_refused() -> None:
    crf, softmax = (small_tagger(count=10, epochs=1, **KINDS[kind]) for kind in KINDS)
    # A softmax has the scheme of the data.
    finer = small_tagger(count=10, epochs=1, output_layer="softmax", scheme="IOBES")
    of_finer = small_tagger(count=10, epochs=1, scheme="IOBES")
    for models, weights, message in (
        ([], None, "one tagger or more, not 0"),
        ([crf, softmax], None, "the taggers have other tags: O, .*S-PER.* and O, .*B-PER"),
        ([finer, of_finer], None, "a tagger with a CRF and one without"),
        ([crf, crf], [1.0], "1 weights were given for 2 models"),
        ([crf, crf], [1.0, 1.0], "must sum to 1"),
    ):
        with pytest.raises(SettingError, match=message):
            TaggerMixture(models, weights)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": [1.0]},
        {"weights": None},
        {"models": 3},
        {"models": []},
        {"models": [{}]},
        {"weights": [10**400, 1]},
        {"config": None},
        {"provenance": 3},
        {"kind": "net"},
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    mixture = TaggerMixture([small_tagger(count=10, epochs=1, seed=seed) for seed in (1, 2)])
    contents = mixture.contents()
    config = contents["config"]
    if change.keys() <= config.keys():
        config |= change
    else:
        config["models"][1] |= change
    write_model(tmp_path / "t.safetensors", **contents)
    with pytest.raises(FormatError):
        Tagger.load(tmp_path / "t.safetensors")
