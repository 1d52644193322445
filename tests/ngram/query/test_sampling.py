"""Random sentences of n-gram models: the distribution is exact, and seeds decide alone."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from chain_model import TEXTS
from unrolled import NgramModel, generate_lines, train_ngram
from unrolled.language_models.protocol import LanguageModel
from unrolled.ngram.query.sampling import SamplingTables, sample
from unrolled.text.vocabulary import BOS, EOS, UNK

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")

ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-0.3010300\t<unk>\t0
-99\t<s>\t-0.6989700
-0.6989700\t</s>\t0
-0.6989700\ta\t-0.3521825
-1.0000000\tb\t0

\\2-grams:
-0.0457575\t<s> <unk>
-0.2218487\ta b

\\end\\
"""
DRAWN = 40_000


def texts(count: int = 60, seed: int = 1) -> list[str]:
    """Sentences over six words, frequent and rare ones."""
    random = np.random.default_rng(seed)
    words = np.array(["a", "b", "c", "d", "e", "f"])
    shares = np.array([0.4, 0.25, 0.15, 0.1, 0.07, 0.03])
    return [" ".join(random.choice(words, random.integers(1, 7), p=shares)) for _ in range(count)]


def model_of(name: str, folder: Path) -> NgramModel:
    made: dict[str, Any] = {
        "pruned": lambda: train_ngram(texts=texts(), order=3, prune=[0, 0, 1]),
        "entropy": lambda: unrolled.entropy_prune(train_ngram(texts=texts(), order=4), 1e-3),
        "quantized": lambda: unrolled.quantize(train_ngram(texts=texts(), order=3)),
        "unknown": lambda: train_ngram(texts=texts(), order=3, min_count=20),
        "padded": lambda: train_ngram(texts=texts(), order=3, vocabulary_pad=50),
        "closed": lambda: train_ngram(texts=texts(), order=2, closed=True),
        "order 1": lambda: train_ngram(texts=texts(), order=1),
        "order 7": lambda: train_ngram(texts=texts(), order=7),
    }  # fmt: skip
    if name == "arpa":
        path = folder / "a.arpa"
        path.write_text(ARPA, encoding="utf-8")
        return unrolled.load(path)  # type: ignore[return-value]
    result: NgramModel = made.get(
        name, lambda: train_ngram(texts=texts(), order=5, smoothing=name)
    )()
    return result


NAMES = [
    "modified-kneser-ney", "kneser-ney", "absolute", "witten-bell", "katz", "additive",
    "maximum-likelihood", "pruned", "entropy", "quantized", "unknown", "padded", "closed",
    "order 1", "order 7", "arpa",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_word_is_drawn_as_often_as_the_model_says(name: str, tmp_path: Path) -> None:
    """Chi-square of the words drawn after each history against next_log_probs."""
    model = model_of(name, tmp_path)
    tables = SamplingTables.of(model.trie)
    start = np.array([BOS], np.int32)
    rows, lengths = sample(model.trie, tables, start, range(DRAWN), seed=7, most=4)
    # Of the next word after each history of up to three words.
    after: dict[tuple[int, ...], Counter[int]] = {}
    for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
        words = [*row[1:length], EOS] if length < 5 else row[1:]
        for place, word in enumerate(words):
            after.setdefault(tuple(words[:place]), Counter())[word] += 1
    statistic, freedom = 0.0, 0
    for history, drawn in after.items():
        total = sum(drawn.values())
        expected = total * wanted(model, history)
        assert all(expected[word] > 0 for word in drawn)
        likely = expected >= 5
        if total < 50 or np.count_nonzero(likely) < 2:
            continue
        counts = np.array([drawn[word] for word in range(len(model.vocabulary))])
        rest = expected[~likely].sum()
        statistic += float((((counts - expected) ** 2)[likely] / expected[likely]).sum())
        if rest > 5:
            statistic += float((counts[~likely].sum() - rest) ** 2 / rest)
        freedom += np.count_nonzero(likely) - 1 + int(rest > 5)
    assert freedom >= (3 if name in {"order 1", "arpa"} else 5)
    # Wilson and Hilferty: the cube root is near normal.
    normal = ((statistic / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) * math.sqrt(4.5 * freedom)
    assert -4 < normal < 4


def wanted(model: LanguageModel, history: tuple[int, ...]) -> Any:
    """The distribution after a history, <unk> never drawn."""
    state = model.start()
    for word in history:
        state = model.advance(state, word)
    probabilities = np.exp(model.next_log_probs(state).astype(np.float64))
    probabilities[UNK] = 0
    return probabilities / probabilities.sum()


@pytest.mark.parametrize("name", ["modified-kneser-ney", "quantized", "order 1", "arpa"])
def test_whole_sentences_by_brute_force(name: str, tmp_path: Path) -> None:
    """All sentences of up to two words, by the probability of each."""
    model = model_of(name, tmp_path)
    rows, lengths = sample(
        model.trie, SamplingTables.none(), np.array([BOS], np.int32), range(5000), seed=3, most=2
    )
    drawn = Counter(
        tuple(row[1:length]) for row, length in zip(rows.tolist(), lengths.tolist(), strict=True)
    )
    expected: dict[tuple[int, ...], float] = {}
    first = wanted(model, ())
    for word in range(len(model.vocabulary)):
        if word == EOS:
            expected[()] = first[EOS]
            continue
        second = wanted(model, (word,)) if first[word] > 0 else np.zeros(len(model.vocabulary))
        for after in range(len(model.vocabulary)):
            sentence = (word,) if after == EOS else (word, after)
            expected[sentence] = first[word] * second[after]
    for sentence, share in expected.items():
        assert abs(drawn[sentence] - 5000 * share) <= 5 * math.sqrt(5000 * share) + 1
    assert sum(expected[sentence] > 0 for sentence in drawn) == len(drawn)


@pytest.mark.parametrize("name", NAMES)
def test_tables_save_time_only(name: str, tmp_path: Path) -> None:
    model = model_of(name, tmp_path)
    start = np.append(np.int32(BOS), model.vocabulary.ids(["a", "b"]))
    drawn = [
        sample(model.trie, tables, start, range(40, 240), seed=5, most=30)
        for tables in (SamplingTables.none(), SamplingTables.of(model.trie))
    ]
    assert drawn[0][1].tolist() == drawn[1][1].tolist()
    for one, other, length in zip(drawn[0][0], drawn[1][0], drawn[0][1], strict=True):
        assert one[:length].tolist() == other[:length].tolist()


def test_neither_threads_nor_the_number_of_sentences_changes_them() -> None:
    model = train_ngram(texts=texts(), order=4)
    text = b"".join(generate_lines(model, sentences=3000, seed=11, threads=1))
    assert b"".join(generate_lines(model, sentences=3000, seed=11, threads=3)) == text
    lines = text.splitlines(keepends=True)
    assert b"".join(generate_lines(model, sentences=7, seed=11)) == b"".join(lines[:7])
    assert next(generate_lines(model, seed=12)) != lines[0]
    assert len(set(lines)) > 1000
    cut = b"".join(generate_lines(model, tokens=5000, seed=11, max_words=50))
    assert text.startswith(cut)
    counts = [len(line.split()) + 1 for line in cut.splitlines()]
    assert sum(counts[:-1]) < 5000 <= sum(counts)


def test_a_context_begins_every_sentence() -> None:
    model = train_ngram(texts=TEXTS, order=3)
    lines = b"".join(generate_lines(model, sentences=30, context="the zebra", seed=1)).splitlines()
    assert all(line.startswith(b"the zebra") for line in lines)
    assert len(set(lines)) > 5


def test_probable_unknown_words_are_drawn_around() -> None:
    """Where <unk> has nearly all of the mass, the whole distribution is computed."""
    model = train_ngram(texts=["a <unk>"] * 9999 + ["a c"], order=2, smoothing="maximum-likelihood")
    drawn = set(b"".join(generate_lines(model, sentences=50, seed=1)).splitlines())
    assert drawn == {b"a c"}


def test_large_seeds_and_damaged_numbers() -> None:
    model = train_ngram(texts=texts(), order=3)
    assert next(generate_lines(model, seed=2**80 + 1)).endswith(b"\n")
    broken = model.trie.log_probs.copy()
    broken[:] = np.nan
    object.__setattr__(model.trie, "log_probs", broken)
    sampler = model.sampler(np.array([BOS], np.int32), seed=1, most=20, expected=10**9)
    rows, lengths = sampler(range(100))
    assert np.all((lengths >= 1) & (lengths <= 21))
    assert all(
        np.all((row[:length] >= 0) & (row[:length] < len(model.vocabulary)))
        for row, length in zip(rows, lengths.tolist(), strict=True)
    )
