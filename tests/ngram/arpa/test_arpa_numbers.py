"""Every number and every model survives reading and writing, and means what a slow reader finds."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ngram.arpa_files import LN10, log10, read

from unrolled.ngram.arpa.files import read_arpa, write_arpa
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.assembly import assemble
from unrolled.ngram.trie.packed_trie import pack
from unrolled.text.vocabulary import Vocabulary

DECIMALS = st.one_of(
    st.builds("{}.{}".format, st.integers(0, 99), st.text("0123456789", min_size=1, max_size=22)),
    st.builds(
        "{}{}e{}".format,
        st.integers(0, 10**20),
        st.sampled_from(["", ".", ".5", ".25"]),
        st.integers(-50, 30),
    ),
    st.floats(0, 98, width=32).map(repr),
    st.floats(0, 98).map(repr),
    st.integers(0, 98).map(str),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(DECIMALS, min_size=1, max_size=60))
def test_numbers_are_read_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[str]
) -> None:
    path = tmp_path_factory.mktemp("numbers") / "n.arpa"
    weights = [number if float(number) <= 99 else "0" for number in numbers]
    rows = [f"-{n} w{i} {w}" for i, (n, w) in enumerate(zip(numbers, weights, strict=True))]
    specials = ["-1 <unk>", "-1 <s>", "-1 </s>"]
    bigrams = [f"-1 w{i} w{i}" for i in range(len(rows))]  # so that back-off weights are kept
    count = len(rows)
    head = ["\\data\\", f"ngram 1={count + 3}", f"ngram 2={count}", "\\1-grams:", *specials]
    model = read(path, "\n".join([*head, *rows, "\\2-grams:", *bigrams, "\\end\\"]))
    with np.errstate(over="ignore"):
        expected = np.array([-float(number) * LN10 for number in numbers]).astype(np.float32)
        expected_weights = np.array([float(weight) * LN10 for weight in weights]).astype(np.float32)
    table = model.trie.unpack()
    assert np.array_equal(table.log_probs[3 : 3 + count], expected)
    assert np.array_equal(table.backoffs[3:], expected_weights)


def small_model(log_probs: list[float], backoffs: list[float]) -> NgramModel:
    """A bigram model whose unigrams, after the special words, have the given numbers."""
    words = [f"w{n}" for n in range(len(log_probs))]
    first = np.float32([-1, -np.inf, -1])
    unigrams = np.append(first, np.float32(log_probs)), np.append(np.zeros(3), backoffs)
    ids = np.arange(3, 3 + len(words), dtype=np.int32)
    longer = [(np.stack([ids, ids], axis=1), np.float32(log_probs), None)]
    return NgramModel(pack(assemble(unigrams, longer)), Vocabulary.from_words(words))


FLOATS = st.floats(max_value=0, width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = st.floats(max_value=200, width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(FLOATS, WEIGHTS), min_size=1, max_size=60))
def test_every_float32_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[float, float]]
) -> None:
    path = tmp_path_factory.mktemp("floats") / "n.arpa"
    model = small_model([p for p, _ in pairs], [b for _, b in pairs])
    write_arpa(model, path)
    again = read_arpa(path)
    assert np.array_equal(again.trie.unigrams[2:], model.trie.unigrams[2:])
    assert np.array_equal(again.trie.log_probs, model.trie.log_probs)
    assert np.array_equal(again.trie.unpack().backoffs, model.trie.unpack().backoffs)
    for line in path.read_text().splitlines():
        for number in line.split("\t")[::2] if "\t" in line else ():
            assert re.fullmatch(r"-?\d{1,6}(\.\d{0,14}[1-9])?(e[+-]\d\d)?", number), number
            assert number == "0" or float(number) != 0


GRAMS = st.lists(st.lists(st.integers(3, 7), min_size=1, max_size=5).map(tuple), max_size=40)


@settings(max_examples=50, deadline=None)
@given(GRAMS, st.randoms(use_true_random=False))
def test_files_mean_what_a_slow_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, picked: list[tuple[int, ...]], rng: random.Random
) -> None:
    """Random n-grams in random layout, scored by a dictionary; then written and read again."""
    # Weights of at most one, as an n-gram that is added must not get a probability above one.
    path = tmp_path_factory.mktemp("slow") / "n.arpa"
    names = ["<unk>", "<s>", "</s>", "a", "bb", "ccccccccc", "ddddddddd", "é"]
    grams = {(id,) for id in range(8)} | {gram[:k] for gram in picked for k in range(1, 6)}
    grams |= {(1, *gram[:3]) for gram in picked}
    values = {g: (-rng.uniform(0, 3), rng.uniform(-1, 0)) for g in sorted(grams)}
    order = max(map(len, grams))
    sections = []
    for length in range(1, order + 1):
        rows = [gram for gram in values if len(gram) == length]
        rng.shuffle(rows)
        blank = rng.choice([" ", "\t", "  ", "\t \t"])
        lines = [f"\\{length}-grams:"]
        for gram in rows:
            columns = [f"{values[gram][0]:.7g}", *(names[id] for id in gram)]
            if length < order:
                columns.append(f"{values[gram][1]:.7g}")
            lines.append(blank.join(columns))
        sections.append(lines)
    counts = [f"ngram {n}={len(lines) - 1}" for n, lines in enumerate(sections, 1)]
    rng.shuffle(sections)
    ends = rng.choice(["\n", "\r\n", "\n\n"])
    text = ends.join(["\\data\\", *counts, *itertools.chain(*sections), "\\end\\", ""])
    model = read(path, text)
    sentence = rng.choices(range(3, 8), k=8)
    expected = slow_score(values, order, [1, *sentence, 2])
    assert log10(model, " ".join(names[id] for id in sentence)) == pytest.approx(expected, abs=1e-4)
    write_arpa(model, path)
    again = read_arpa(path)
    assert again.vocabulary == model.vocabulary
    for name, array in model.trie.arrays().items():
        assert np.array_equal(again.trie.arrays()[name], array), name


def slow_score(
    values: dict[tuple[int, ...], tuple[float, float]], order: int, ids: list[int]
) -> float:
    total = 0.0
    for end in range(1, len(ids)):
        begin = max(end - order + 1, 0)
        while tuple(ids[begin : end + 1]) not in values:
            total += values.get(tuple(ids[begin:end]), (0, 0))[1]
            begin += 1
        total += values[tuple(ids[begin : end + 1])][0]
    return total
