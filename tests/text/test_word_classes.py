"""Classes of words: masses, the exchange against a slow oracle, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from unrolled.errors import SettingError
from unrolled.text import word_class_kernels
from unrolled.text import word_classes as word_classes_module
from unrolled.text.word_classes import CLASSINGS, TABLE, word_classes

RANDOM = np.random.default_rng(2)


def _log_likelihood(ids: list[int], class_of: np.ndarray) -> float:
    """F of the exchange algorithm, from the pairs of classes; </s> stands for <s> on the left."""
    pairs: dict[tuple[int, int], int] = {}
    for left, right in itertools.pairwise(ids):
        if right != 1:
            key = int(class_of[2 if left == 1 else left]), int(class_of[right])
            pairs[key] = pairs.get(key, 0) + 1
    lefts: dict[int, int] = {}
    rights: dict[int, int] = {}
    for (left, right), count in pairs.items():
        lefts[left] = lefts.get(left, 0) + count
        rights[right] = rights.get(right, 0) + count
    total = sum(count * np.log(count) for count in pairs.values())
    return total - sum(count * np.log(count) for side in (lefts, rights) for count in side.values())


def test_frequency_classes_have_equal_mass() -> None:
    counts = np.sort(RANDOM.integers(1, 100, 500))[::-1].copy()
    for by, mass in (("frequency", counts.astype(float)), ("sqrt-frequency", np.sqrt(counts))):
        classes = word_classes(counts, 20, by=by)
        masses = np.bincount(classes, np.where(np.arange(500) == 1, 0, mass))
        assert masses.size == 20
        assert masses.max() < masses.sum() / 20 + mass.max()
        falling = classes[[0, *range(2, 500)]]
        assert np.all(np.diff(falling) >= 0)


@pytest.mark.parametrize("by", CLASSINGS)
@pytest.mark.parametrize("classes", [1, 3, 100])
def test_no_class_is_empty_and_the_start_mark_is_never_alone(by: str, classes: int) -> None:
    ids = np.array([1, 3, 4, 2, 1, 5, 5, 2, 1, 3, 6, 2])
    counts = np.bincount(ids, minlength=9)  # words 0, 7 and 8 never come
    found = word_classes(counts, classes, by=by, ids=ids)
    assert found.shape == (9,)
    assert set(found.tolist()) == set(range(int(found.max()) + 1))
    assert found[1] == found[0]
    assert found.max() < classes


def _text_of_four_groups() -> list[int]:
    """Twelve words, three to a group, of which one tells the next; some stand beside themselves."""
    groups = np.random.default_rng(3).integers(0, 4, 1500)
    return [3 + 3 * (group if step % 2 else 3 - group) % 12 + int(RANDOM.integers(0, 3))
            for step, group in enumerate(groups)]  # fmt: skip


def _stuttered(text: list[int]) -> list[int]:
    return [word for word in text for _ in range(1 + word % 3)]


@pytest.mark.parametrize("change", [list, _stuttered])
def test_the_exchange_ends_where_no_single_move_helps(change: Any) -> None:
    text = change(_text_of_four_groups())
    ids = [1, *text, 2]
    counts = np.bincount(ids)
    found = word_classes(counts, 4, by="bigrams", ids=np.array(ids))
    best = _log_likelihood(ids, found)
    for word in [2, *sorted(set(text))]:
        for other in range(4):
            moved = found.copy()
            moved[word] = other
            if len(set(moved[np.array([0, 2, *text])])) == 4:
                assert _log_likelihood(ids, moved) <= best + 1e-6
    by_count = word_classes(counts, 4, by="frequency")
    assert best > _log_likelihood(ids, by_count)


def test_counts_beyond_the_table_of_logarithms_give_the_same_classes() -> None:
    ids = np.array([1, *_text_of_four_groups(), 2])
    times = 700  # which F of every classing is multiplied by, too
    assert 1500 * times / 16 > TABLE
    found = word_classes(np.bincount(ids), 4, by="bigrams", ids=ids)
    many = np.tile(ids, times)
    assert np.array_equal(word_classes(np.bincount(many), 4, by="bigrams", ids=many), found)


def test_words_in_the_same_company_share_a_class() -> None:
    lines = "the cat sat . a dog sat . the dog ran . a cat ran . the cow ran . a cow sat ."
    text = lines.split()
    words = sorted(set(text))
    ids = [3 + words.index(word) for word in text * 20]
    found = word_classes(np.bincount(ids), 4, by="bigrams", ids=np.array(ids))
    group = {word: int(found[3 + place]) for place, word in enumerate(words)}
    assert group["cat"] == group["dog"] == group["cow"]
    assert group["the"] == group["a"]
    assert group["sat"] == group["ran"]
    assert len({group["cat"], group["the"], group["sat"], group["."]}) == 4


def test_settings_that_cannot_be() -> None:
    with pytest.raises(SettingError, match="classes is -1, allowed are 0 and more"):
        word_classes(np.ones(5), -1)
    with pytest.raises(SettingError, match="by 'brown' are unknown, allowed are frequency, sqrt"):
        word_classes(np.ones(5), 2, by="brown")
    with pytest.raises(SettingError, match="need the training text"):
        word_classes(np.ones(5), 2, by="bigrams")


@pytest.mark.parametrize(("words", "classes"), [(5000, 100), (40_000, 200)])
def test_many_words_have_more_classes(words: int, classes: int) -> None:
    found = word_classes(np.ones(words, np.int64), 0, by="frequency")
    assert found.max() + 1 == classes


def test_trying_words_in_several_calls_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(3).zipf(1.5, 4000).clip(max=60) + 2
    counts = np.bincount(ids)
    tried: list[int] = []
    kernel = word_class_kernels.exchange

    def exchange(*given: Any) -> int:
        tried.append(given[6].size)
        return int(kernel(*given))

    monkeypatch.setattr(word_class_kernels, "exchange", exchange)
    whole = word_classes(counts, 6, by="bigrams", ids=ids)
    words, passes = tried[0], len(tried)
    tried.clear()
    monkeypatch.setattr(word_classes_module, "_WORDS", 7)
    assert np.array_equal(word_classes(counts, 6, by="bigrams", ids=ids), whole)
    assert max(tried) <= 7 and sum(tried) == words * passes
