"""The packed trie: bit fields, directory, searches, and files that lie about it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Sentences, corpora, grams_of, model_of, orders, words_in, zipf_sentences
from fuzz import fuzz_trie
from unrolled.errors import FormatError
from unrolled.ngram.editing.quantization import quantize
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie import trie_kernels as kernels
from unrolled.ngram.trie.assembly import assemble
from unrolled.ngram.trie.layout import packed_size, spread_words, word_bits
from unrolled.ngram.trie.packed_trie import PackedTrie, pack
from unrolled.ngram.trie.packing import pack_fields, pack_words, unpack_words
from unrolled.ngram.trie.table import NgramTable
from unrolled.runtime.cached_kernels import CachedKernel
from unrolled.storage.loading import load
from unrolled.text.vocabulary import BOS, EOS

_find_child = CachedKernel("unrolled.ngram.trie.trie_kernels", "find_child", "u8[] i8 i8 i8 i8")


@numba.njit
def _spread(word: int, bits: int) -> Any:
    return kernels.spread(word, bits)


@numba.njit
def _field(packed: Any, bits: int, index: int) -> Any:
    return kernels.field(packed, bits, index)


@numba.njit
def _child_range(directory: Any, ends: Any, total: int, node: int) -> Any:
    return kernels.child_range(directory, ends, total, node)


FUZZ = Path(__file__).parents[2] / "fuzz" / "fuzz_trie.py"


# -- bit fields ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 17))
def test_spread_is_a_bijection(bits: int) -> None:
    words = np.arange(1 << bits)
    spread = spread_words(words, bits)
    assert np.array_equal(np.sort(spread), words)
    assert _spread(int(words[-1]), bits) == spread[-1]


@given(st.integers(1, 31), st.integers(0, 200), st.integers(0, 2**32 - 1), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_fields_come_back(bits: int, count: int, seed: int, threads: int) -> None:
    values = np.random.default_rng(seed).integers(0, 1 << bits, count).astype(np.int32)
    packed = pack_words(values, bits, threads)
    assert packed.size == packed_size(count, bits)
    assert np.array_equal(unpack_words(packed, bits, 0, count), values)
    start = count // 3
    assert np.array_equal(unpack_words(packed, bits, start, count), values[start:])
    plain = pack_fields(values, bits, threads=threads)
    assert [_field(plain, bits, place) for place in range(count)] == values.tolist()


def test_many_fields_come_back_from_slices() -> None:
    values = np.random.default_rng(1).integers(0, 1 << 19, 100_000).astype(np.int32)
    assert np.array_equal(unpack_words(pack_words(values, 19, threads=3), 19, 0, 100_000), values)


@pytest.mark.parametrize(("size", "bits"), [(3, 2), (4, 2), (5, 3), (2**20, 20), (2**20 + 1, 21)])
def test_bits_of_the_largest_word(size: int, bits: int) -> None:
    assert word_bits(size) == bits


# -- directory and searches ------------------------------------------------------------------------


def tables(sentences: Sentences, size: int, order: int, seed: int) -> NgramTable:
    """A table with all kinds of nodes: some without children have a weight, some with none."""
    table = model_of(sentences, size, order, smoothing="witten-bell").trie.unpack()
    draw = np.random.default_rng(seed)
    table.backoffs[:] = draw.choice([0.0, -np.inf, -0.7, 0.3], table.inner)
    return table


def check(table: NgramTable, *, closed: bool = True) -> None:
    """A packed table says the same by walking, by searching and when unpacked."""
    trie = pack(table)
    total, bits = int(table.levels[-1]), table.bits
    grams = grams_of(table)
    last = spread_words(np.array([gram[-1] for gram in grams]), bits)
    for node in range(table.inner):
        low, high = int(table.first[node]), int(table.first[node + 1])
        found = _child_range(trie.directory, trie.ends, total, node)
        assert found == (low, high) or (low == high and found[0] == found[1])
        for child in range(low, high):
            assert _find_child(trie.words, bits, low, high, int(last[child])) == child
        for key in {*range(min(1 << bits, 64))} - set(last[low:high].tolist()):
            assert _find_child(trie.words, bits, low, high, key) == -1
    again = trie.unpack()
    for name in ("levels", "words", "first", "log_probs", "backoffs"):
        assert np.array_equal(getattr(again, name), getattr(table, name)), name
    marked = (np.diff(table.first.astype(int)) > 0) | (table.backoffs != 0)
    assert trie.backoff_count == marked.sum()
    if not closed:
        return
    linked = pack(table, suffixes=table.link_suffixes())
    assert linked.linked == (table.order > 2 and total > table.levels[2])
    for other in (linked, linked.with_words):
        assert np.array_equal(other.unpack().words, table.words)


@given(corpora(), orders, st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_packing_keeps_every_child_weight_and_probability(
    corpus: tuple[Sentences, int], order: int, seed: int
) -> None:
    check(tables(*corpus, order, seed))


@pytest.mark.parametrize("step", [1, 2, 64])
def test_wide_nodes_are_searched_whatever_their_keys(step: int) -> None:
    """Words that lie densely, evenly or in clusters: guesses by interpolation go wrong."""
    size = 4000
    words = np.arange(3, size, step)
    crowd = spread_words(np.arange(size), 12).argsort()[3:900]  # neighbours by key
    rows = [(3, word) for word in words] + [(4, word) for word in set(crowd.tolist()) - {0, 1, 2}]
    bigrams = np.array(rows, np.int32)
    flat = np.full(len(rows), -1.0, np.float32)
    table = assemble(
        (np.full(size, -8.0, np.float32), np.zeros(size, np.float32)), [(bigrams, flat, None)]
    )
    trie = pack(table)
    for context in (3, 4):
        low, high = _child_range(trie.directory, trie.ends, int(table.levels[-1]), context)
        here = unpack_words(trie.words, trie.bits, low, high)
        known = dict(zip(spread_words(here, trie.bits).tolist(), range(low, high), strict=True))
        for key in range(1 << trie.bits):
            found = _find_child(trie.words, trie.bits, low, high, key)
            assert found == known.get(key, -1)


@given(corpora(), orders, st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_select_keeps_the_marked_n_grams_with_their_numbers(
    corpus: tuple[Sentences, int], order: int, seed: int
) -> None:
    table = tables(*corpus, order, seed)
    grams = grams_of(table)
    keep = np.random.default_rng(seed).random(len(grams)) < 0.6
    keep[: table.levels[1]] = True
    nodes = {gram: node for node, gram in enumerate(grams)}
    for node, gram in enumerate(grams):
        keep[node] &= len(gram) == 1 or keep[nodes[gram[:-1]]]
    selected = table.select(keep)
    kept = [node for node in range(len(grams)) if keep[node]]
    assert grams_of(selected) == [grams[node] for node in kept]
    assert np.array_equal(selected.log_probs, table.log_probs[kept])
    assert np.array_equal(selected.backoffs, table.backoffs[[k for k in kept if k < table.inner]])
    check(selected, closed=False)


@given(corpora(), orders)
@settings(max_examples=20, deadline=None)
def test_suffixes_parents_and_n_grams(corpus: tuple[Sentences, int], order: int) -> None:
    table = model_of(*corpus, order).trie.unpack()
    grams = grams_of(table)
    nodes = {gram: node for node, gram in enumerate(grams)}
    suffixes = table.link_suffixes()
    for length in range(1, order + 1):
        here = grams[table.level(length)]
        assert [tuple(row) for row in table.ngrams(length).tolist()] == here
        if length > 1:
            assert table.parents(length).tolist() == [nodes[gram[:-1]] for gram in here]
            assert suffixes[table.level(length)].tolist() == [nodes[gram[1:]] for gram in here]


# -- files that lie --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return model_of(zipf_sentences(2000, 40, seed=1), 40, 3)


def changed(model: NgramModel, name: str, value: Any) -> dict[str, Any]:
    return {**model.trie.arrays(), name: value}


def test_damaged_sizes_are_refused(model: NgramModel) -> None:
    arrays = model.trie.arrays()
    assert arrays["large_backoffs"].size == arrays["ends"].size > 0
    for name in arrays.keys() - {"large_backoffs"}:  # which models of earlier versions lack
        fewer = {key: array for key, array in arrays.items() if key != name}
        with pytest.raises(FormatError, match=f"^here: the model lacks its array '{name}'$"):
            PackedTrie.from_arrays(fewer, "here")
        with pytest.raises(FormatError, match=f"array '{name}' is complex64 with 1 axes, not "):
            PackedTrie.from_arrays(changed(model, name, np.zeros(3, np.complex64)), "here")
        with pytest.raises(FormatError, match=f"array '{name}' is .* with 2 axes, not .* with 1"):
            PackedTrie.from_arrays(changed(model, name, arrays[name][None]), "here")
    for name in ("words", "directory", "unigrams", "log_probs"):
        with pytest.raises(FormatError, match=f"array '{name}' has the shape"):
            PackedTrie.from_arrays(changed(model, name, arrays[name][:-1]), "here")
    for name in ("ends", "backoffs"):
        many = np.zeros(int(model.trie.levels[-2]) + 4, arrays[name].dtype)
        with pytest.raises(FormatError, match="more back-off weights or ends than contexts"):
            PackedTrie.from_arrays(changed(model, name, many), "here")
    for wrong in (arrays["large_backoffs"][:-1], np.zeros((2, 2), np.float32), np.zeros(3, int)):
        with pytest.raises(FormatError, match="large"):
            PackedTrie.from_arrays(changed(model, "large_backoffs", wrong), "here")


def test_books_of_another_shape_are_refused(model: NgramModel) -> None:
    coded = quantize(model)
    book = np.zeros((3, 256), np.float32)
    with pytest.raises(FormatError, match="array 'log_prob_book' has the shape"):
        PackedTrie.from_arrays(changed(coded, "log_prob_book", book), "here")


def test_links_of_another_number_are_refused(model: NgramModel) -> None:
    coded = quantize(model)
    fewer = coded.trie.arrays()
    del fewer["link_fields"]
    with pytest.raises(FormatError, match="lacks its array 'link_fields'"):
        PackedTrie.from_arrays(fewer, "here")
    shorter = changed(coded, "link_blocks", coded.trie.link_blocks[:-1])
    with pytest.raises(FormatError, match="array 'link_blocks' has the shape"):
        PackedTrie.from_arrays(shorter, "here")


def test_links_that_lead_nowhere_are_refused_when_all_is_read(model: NgramModel) -> None:
    coded = quantize(model)
    links = pack_fields(np.full(coded.trie.link_fields.size * 2 - 2, 2**31 - 1), 32)
    trie = PackedTrie.from_arrays(changed(coded, "link_fields", links), "here")
    with pytest.raises(FormatError, match="links lead to no n-gram: the file is damaged"):
        trie.unpack()


def test_weights_of_contexts_with_many_children_stand_apart(model: NgramModel) -> None:
    """Few values where there are one or two children, and any where there are more."""
    table, draw = model.trie.unpack(), np.random.default_rng(1)
    children = np.diff(table.first.astype(int))
    few, many = draw.choice([-1.5, -0.5], table.inner), draw.normal(size=table.inner)
    table.backoffs[:] = np.where(children > 2, many, np.where(children > 0, few, 0))
    trie = pack(table)
    assert (trie.backoff_book.size, trie.large_backoffs.size) == (2, (children > 2).sum())
    assert np.array_equal(trie.unpack().backoffs, table.backoffs)


def test_models_of_earlier_versions_are_read(model: NgramModel) -> None:
    """Back-off weights as numbers, or as 9-bit codes beside words."""
    table = model.trie.unpack()
    marked = (np.diff(table.first.astype(int)) > 0) | (table.backoffs != 0)
    plain = {n: a for n, a in model.trie.arrays().items() if "backoff" not in n}
    again = PackedTrie.from_arrays(plain | {"backoffs": table.backoffs[marked]}, "here")
    assert np.array_equal(again.unpack().backoffs, table.backoffs)
    coded = quantize(model).trie.with_words
    weights = coded.unpack().backoffs
    values, codes = np.unique(weights[marked], return_inverse=True)
    book = np.append(values, np.zeros(512 - values.size)).astype(np.float32)
    old = {n: a for n, a in coded.arrays().items() if "backoff" not in n}
    old |= {"backoffs": pack_fields(codes, 9), "backoff_book": book}
    assert np.array_equal(PackedTrie.from_arrays(old, "here").unpack().backoffs, weights)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "the order -1 is not 1 to 100"),
        ([0], "the order 0 is not 1 to 100"),
        ([0, *range(3, 104)], "the order 101 is not 1 to 100"),
        ([0, 2, 3], "do not ascend"),
        ([1, 40, 50], "do not ascend"),
        ([0, 40, 39], "do not ascend"),
        ([0, 40, 2**63 - 1, -(2**63), -1, 10], "do not ascend"),  # differences that overflow
        ([0, 40, 2**32], "4294967296 n-grams are more than 4294967295"),
    ],
)
def test_levels_that_cannot_be_are_refused(
    model: NgramModel, levels: list[int], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        PackedTrie.from_arrays(changed(model, "levels", np.array(levels, np.int64)), "here")


def opened(model: NgramModel, name: str, change: Any) -> PackedTrie:
    """The model's trie with one array changed in place."""
    array = np.array(model.trie.arrays()[name])
    change(array)
    return PackedTrie.from_arrays(changed(model, name, array), "here")


def test_damaged_contents_are_refused_when_all_is_read(model: NgramModel) -> None:
    levels, bits = model.trie.levels, model.trie.bits
    words = unpack_words(model.trie.words, bits, 0, int(levels[-1]))

    def swapped(low: int, high: int, value: int) -> PackedTrie:
        other = words.copy()
        other[low:high] = value
        return PackedTrie.from_arrays(changed(model, "words", pack_words(other, bits)), "here")

    for trie, message in [
        (opened(model, "directory", lambda a: a.fill(0)), "directory contradicts its sizes"),
        (opened(model, "ends", lambda a: a.fill(0)), "directory contradicts its sizes"),
        (swapped(levels[1], levels[2], 63), "words of order 2 are out of place"),
        (swapped(0, levels[1], 5), "words of order 1 are out of place"),
        (opened(model, "log_probs", lambda a: a.fill(1)), "above 0 or NaN"),
        (opened(model, "unigrams", lambda a: a.fill(np.nan)), "above 0 or NaN"),
        (opened(model, "backoff_book", lambda a: a.fill(np.nan)), r"weights above e\^500"),
        (opened(model, "backoff_book", lambda a: a.fill(np.inf)), r"weights above e\^500"),
    ]:
        with pytest.raises(FormatError, match=message):
            trie.unpack()
    with pytest.raises(FormatError, match="n-grams of order 3 lack the shorter n-gram"):
        swapped(int(levels[2]), int(levels[3]), EOS).unpack().link_suffixes()


def test_models_in_memory_and_in_files_are_read_by_the_same_kernels(tmp_path: Path) -> None:
    """A second compilation, for arrays that cannot be written, would double the first use."""
    model = model_of([[BOS, 3, 4, EOS], [BOS, 4, EOS]], 5, 3)
    model.save(tmp_path / "m.safetensors")
    readers: list[Any] = [kernels.read_directory, kernels.read_backoffs]
    model.trie.unpack()
    before = [len(reader.signatures) for reader in readers]
    load(tmp_path / "m.safetensors").trie.unpack()
    assert [len(reader.signatures) for reader in readers] == before


def test_opening_reads_no_array() -> None:
    """Two gigabytes of zeros that no one has touched take no time, and would to read."""
    vocabulary, inner, total = 40, 2**27, 2**28
    arrays = {
        "levels": np.array([0, vocabulary, inner, total]),
        "words": np.zeros(packed_size(total, 6), np.uint64),
        "directory": np.zeros(4 * inner // 64, np.uint64),
        "ends": np.zeros(inner, np.uint32),
        "unigrams": np.zeros(vocabulary, np.float32),
        "log_probs": np.zeros(total - vocabulary, np.float32),
        "backoffs": np.zeros(inner, np.float32),
    }
    words = words_in(vocabulary)
    before = time.perf_counter()
    assert NgramModel(PackedTrie.from_arrays(arrays, "here"), words).order == 3
    assert time.perf_counter() - before < 0.05


@pytest.fixture(scope="module")
def good_models() -> list[NgramModel]:
    return fuzz_trie.good_models()


@pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")
@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_damaged_models_end_in_answers_or_format_errors(
    good_models: list[NgramModel], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    fuzz_trie.one_round(good_models, seed, tmp_path_factory.mktemp("damaged"))


def test_kernels_stay_within_the_arrays_of_damaged_models(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """In a process of its own, in which every index is checked. See tests/fuzz/fuzz_trie.py."""
    cache = getattr(pytestconfig, "cache", None)  # without -p no:cacheprovider
    compiled = str(cache.mkdir("checked-kernels") if cache else tmp_path)
    seed = str(random.randrange(10**9))
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--seconds", "300", "--rounds", "100", "--seed", seed],
        capture_output=True,
        text=True,
        timeout=600,
        env={**_environment(), "NUMBA_CACHE_DIR": compiled},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout


def _environment() -> dict[str, str]:
    import os

    import unrolled

    source = str(Path(unrolled.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": source}


@pytest.mark.parametrize(
    "leave",
    [
        "kernels.unpack_words(np.zeros(1, np.uint64), 8, 1, 64, np.zeros(1, np.int32))",
        "njit(lambda array: at(array, 1))(np.zeros(1))",
        "njit(lambda array: put(array, -1, 2.0))(np.zeros(1))",
        "njit(lambda array: bits_from(array, 64))(np.zeros(1, np.uint64))",
    ],
)
def test_bounds_are_really_checked_there(leave: str) -> None:
    """The process above would notice: a kernel that leaves its array raises there."""
    code = (
        "import os, tempfile\n"
        "os.environ['NUMBA_BOUNDSCHECK'] = '1'\n"
        "os.environ['NUMBA_CACHE_DIR'] = tempfile.mkdtemp()\n"
        "import numpy as np\n"
        "from numba import njit\n"
        "from unrolled.runtime.intrinsics import at, bits_from, put\n"
        "from unrolled.ngram.trie import trie_kernels as kernels\n"
        f"{leave}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_environment()
    )
    assert "IndexError: index is out of bounds" in done.stderr


def test_sentences_begin_and_end_with_marks_of_the_vocabulary() -> None:
    assert (BOS, EOS) == (1, 2)  # the tests' corpora rely on it
