"""Count files: what is read equals what the text gives, and what is broken has its line."""

from __future__ import annotations

import gzip
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ngram.backoff_oracle import sentences

from unrolled import Vocabulary, read_corpus, train_ngram
from unrolled.errors import FormatError, SettingError, TextError, UnrolledError
from unrolled.ngram.counts.count_files import (
    combine_counts,
    read_counts,
    write_counts,
)
from unrolled.ngram.counts.counting import count_ngrams
from unrolled.ngram.training import train_on_counts
from unrolled.ngram.trie.assembly import arrange

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.UnrolledWarning")


def counted(lines, order):
    """By hand: every n-gram of up to ``order`` words, sentences marked."""
    found = Counter()
    for line in lines:
        words = ["<s>", *line.split(), "</s>"]
        for length in range(1, order + 1):
            for place in range(len(words) - length + 1):
                found[tuple(words[place : place + length])] += 1
    return found


def of_text(lines, order, folder):
    path = folder / "text.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    corpus = read_corpus(path)
    return count_ngrams(corpus.ids, order, len(corpus.vocabulary)), corpus.vocabulary


def as_dict(counts, vocabulary):
    """Everything that occurs, from the arrays of `NgramCounts`."""
    from unrolled.ngram.trie.table import NgramTable

    nothing = np.empty(0, np.float32)
    table = NgramTable(counts.levels, counts.words, counts.bits, counts.first, nothing, nothing)
    found = {}
    for length in range(1, counts.order + 1):
        for row, count in zip(table.ngrams(length), counts.counts(length), strict=True):
            if count:
                found[tuple(vocabulary.words(row))] = int(count)
    return found


def assert_same(one, other):
    for name in ("levels", "words", "first"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(
        one.suffixes[one.vocabulary_size :], other.suffixes[one.vocabulary_size :]
    )
    for length in range(1, one.order + 1):
        np.testing.assert_array_equal(one.counts(length), other.counts(length))
        np.testing.assert_array_equal(one.adjusted_counts(length), other.adjusted_counts(length))


def write(path, text):
    path.write_text(text)
    return path


# -- what is written ---------------------------------------------------------------------------


def test_a_small_file_letter_by_letter(tmp_path):
    counts, words = of_text(["a b a", "b"], 2, tmp_path)
    write_counts(counts, words, tmp_path / "c")
    assert (tmp_path / "c").read_text().splitlines()[:5] == [
        "<unk>\t0", "<s>\t2", "</s>\t2", "a\t2", "b\t2"
    ]  # fmt: skip
    assert sorted((tmp_path / "c").read_text().splitlines()[5:]) == [
        "<s> a\t1", "<s> b\t1", "a </s>\t1", "a b\t1", "b </s>\t1", "b a\t1"
    ]  # fmt: skip


@pytest.mark.parametrize("order", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["counts", "counts.gz"])
def test_files_list_what_counting_by_hand_finds(tmp_path, order, name):
    lines = [*sentences(0), "", "été 東京 été", "x" * 300]
    write_counts(*of_text(lines, order, tmp_path), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith("gz") else data).decode()
    rows = [line.rsplit("\t", 1) for line in text.splitlines()]
    assert {tuple(words.split(" ")): int(count) for words, count in rows if count != "0"} == dict(
        counted(lines, order)
    )
    assert len(rows) == len({words for words, _ in rows})


def test_files_larger_than_a_block_come_out_whole(tmp_path, monkeypatch):
    counts, words = of_text(sentences(1, 200), 4, tmp_path)
    write_counts(counts, words, tmp_path / "one")
    monkeypatch.setattr("unrolled.ngram.trie.lines.BLOCK_BYTES", 40)
    seen = []
    write_counts(counts, words, tmp_path / "two", progress=seen.append)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert seen[-1] == counts.levels[-1]
    assert seen == sorted(seen)


def test_nothing_is_left_behind_when_the_folder_is_missing(tmp_path):
    with pytest.raises(SettingError, match="does not exist"):
        write_counts(*of_text(["a"], 2, tmp_path), tmp_path / "no" / "counts")


# -- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "witten-bell", "katz"])
def test_models_equal_those_of_the_text_bit_for_bit(tmp_path, order, smoothing):
    lines = [*sentences(2, 60), "", "once", ""]
    write_counts(*of_text(lines, order, tmp_path), tmp_path / "c.gz")
    one = train_ngram(tmp_path / "text.txt", order=order, smoothing=smoothing)
    two = train_on_counts(tmp_path / "c.gz", order=order, smoothing=smoothing)
    assert one.vocabulary == two.vocabulary
    for name, array in one.trie.arrays().items():
        np.testing.assert_array_equal(two.trie.arrays()[name], array)


def test_cut_offs_work_on_counts_too(tmp_path):
    lines = sentences(2, 60)
    write_counts(*of_text(lines, 3, tmp_path), tmp_path / "c")
    one = train_ngram(tmp_path / "text.txt", order=3, prune=(0, 0, 1))
    two = train_on_counts(tmp_path / "c", order=3, prune=(0, 0, 1))
    np.testing.assert_array_equal(one.trie.log_probs, two.trie.log_probs)


words = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0\t\n\r "),
    min_size=1,
    max_size=4,
).filter(lambda word: word not in ("<s>", "</s>"))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(words, max_size=6).map(" ".join), min_size=1, max_size=8),
       st.integers(1, 5))  # fmt: skip
def test_any_text_survives_its_counts(tmp_path_factory, lines, order):
    folder = tmp_path_factory.mktemp("any")
    (folder / "text.txt").write_bytes("".join(f"{line}\n" for line in lines).encode())
    corpus = read_corpus(folder / "text.txt")
    counts = count_ngrams(corpus.ids, order, len(corpus.vocabulary))
    write_counts(counts, corpus.vocabulary, folder / "counts")
    again, vocabulary = read_counts(folder / "counts", order=order)
    assert vocabulary == corpus.vocabulary
    assert_same(again, counts)


def test_order_of_lines_spacing_and_splitting_do_not_matter(tmp_path):
    lines = sentences(3)
    write_counts(*of_text(lines, 3, tmp_path), tmp_path / "c")
    rows = (tmp_path / "c").read_text().splitlines()
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    odd = []
    for number, row in enumerate(shuffled):
        text, count = row.rsplit("\t", 1)
        if number % 3 == 0 and int(count) > 1:
            odd += [f"{text} 1", f"  {text}\t\t{int(count) - 1} \r"]
        else:
            odd += ["", row.replace("\t", "   ")]
    assert as_dict(*read_counts(write(tmp_path / "odd", "\n".join(odd)))) == counted(lines, 3)


def test_a_folder_is_one_set_of_counts(tmp_path):
    lines = sentences(3)
    write_counts(*of_text(lines, 3, tmp_path), tmp_path / "c")
    rows = (tmp_path / "c").read_text().splitlines(keepends=True)
    (tmp_path / "parts").mkdir()
    for number in range(3):
        (tmp_path / "parts" / f"{number}").write_text("".join(rows[number::3]))
    assert as_dict(*read_counts(tmp_path / "parts")) == counted(lines, 3)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_shorter_ngrams_follow_from_the_longest(tmp_path, order):
    lines = [" ".join(line.split() * order) for line in sentences(4)]  # none shorter than order
    found = counted(lines, order)
    longest = {gram: count for gram, count in found.items() if len(gram) == order}
    text = "".join(f"{' '.join(gram)}\t{count}\n" for gram, count in longest.items())
    assert as_dict(*read_counts(write(tmp_path / "c", text))) == found


def test_missing_ngrams_are_derived_and_others_kept(tmp_path):
    lines = sentences(5)
    found = counted(lines, 4)
    random = np.random.default_rng(1)
    listed = {
        gram: count
        for gram, count in found.items()
        if len(gram) == 4 or gram[-1] == "</s>" or random.random() < 0.5
    }
    text = "".join(f"{' '.join(gram)}\t{count}\n" for gram, count in listed.items())
    assert as_dict(*read_counts(write(tmp_path / "c", text))) == found


def test_cut_off_counts_may_be_less_than_their_contexts(tmp_path):
    found = as_dict(*read_counts(write(tmp_path / "c", "a\t9\nb\t5\na b\t3\n")))
    assert found == {("a",): 9, ("b",): 5, ("a", "b"): 3}


def test_a_shorter_order_can_be_read(tmp_path):
    lines = sentences(6)
    whole, vocabulary = of_text(lines, 4, tmp_path)
    write_counts(whole, vocabulary, tmp_path / "c")
    for order in (1, 2, 3):
        expected, _ = of_text(lines, order, tmp_path)
        assert_same(read_counts(tmp_path / "c", order=order)[0], expected)


def test_an_order_that_no_sentence_has_can_be_read(tmp_path):
    counts, vocabulary = of_text(["a b", "", "b"], 6, tmp_path)
    write_counts(counts, vocabulary, tmp_path / "c")
    assert_same(read_counts(tmp_path / "c", order=6)[0], counts)
    assert train_on_counts(tmp_path / "c", order=6, smoothing="witten-bell").order == 6
    assert read_counts(tmp_path / "c")[0].order == 4


def test_a_given_vocabulary_makes_other_words_unknown(tmp_path):
    lines = sentences(7)
    write_counts(*of_text(lines, 3, tmp_path), tmp_path / "c")
    small = Vocabulary.from_words(["w2", "w0", "zebra", "w5"])
    expected = read_corpus(tmp_path / "text.txt", vocabulary=small)
    counts, vocabulary = read_counts(tmp_path / "c", vocabulary=small)
    assert vocabulary is small
    assert_same(counts, count_ngrams(expected.ids, 3, len(small)))


def test_weights_count_a_text_several_times(tmp_path):
    one, two = sentences(8, 30), [*sentences(9, 20), "other words"]
    for name, lines in (("one", one), ("two", two)):
        (tmp_path / name).mkdir()
        write_counts(*of_text(lines, 3, tmp_path / name), tmp_path / f"{name}.gz")
    paths = [tmp_path / "one.gz", tmp_path / "two.gz"]
    assert as_dict(*read_counts(paths)) == counted(one + two, 3)
    expected = counted(one * 2 + two * 3, 3)
    assert as_dict(*read_counts(paths, weights=[2, 3])) == expected
    counts, vocabulary = read_counts(paths, weights=[2, 3])
    single = counts.counts(1)[3:].tolist()
    assert single == sorted(single, reverse=True)
    assert vocabulary.id("other") > 0
    again = train_on_counts(paths[0], weights=[4], order=3, smoothing="maximum-likelihood")
    plain = train_on_counts(paths[0], order=3, smoothing="maximum-likelihood")
    np.testing.assert_allclose(again.scores(one), plain.scores(one), rtol=1e-5)


def test_counts_in_memory_combine(tmp_path):
    one, two = sentences(8, 30), sentences(9, 20)
    parts = [of_text(one, 3, tmp_path), of_text(two, 2, tmp_path)]
    expected = counted(one, 3) + counted(two, 2)
    combined = combine_counts(parts)
    assert as_dict(*combined) == expected
    small = Vocabulary.from_words(["w1", "w3"])
    found = as_dict(*combine_counts(parts, vocabulary=small))
    kept = {g for g in expected if set(g) <= {"<s>", "</s>", "w1", "w3"}}
    assert found == {gram: expected[gram] for gram in kept}


def test_counts_after_the_beginning_of_a_sentence_alone(tmp_path):
    write_counts(*of_text(sentences(1), 3, tmp_path), tmp_path / "c")
    counts, _ = read_counts(tmp_path / "c")
    for length in (1, 2, 3):
        low, high = counts.starting(length)
        start = counts.level(length).start
        np.testing.assert_array_equal(
            counts.counts(length, words=(1, 2)), counts.counts(length)[low - start : high - start]
        )


# -- what is broken ----------------------------------------------------------------------------

BROKEN = {
    "a\t1\nb b\n": (2, "'b b' does not end in a count, a whole number of 0 or more"),
    "a\t1\n\na b\t2.5\n": (3, r"'a b\\t2.5' does not end in a count"),
    "a\t-1\n": (1, "does not end in a count"),
    "a\t1x\n": (1, "does not end in a count"),
    "a b c": (1, "does not end in a count"),
    "a\t1\n7\n": (2, "'7' has no words before its count"),
    "a\t99999999999999999999\n": (1, "is too large"),
    "a\t1\na <s>\t1\n": (2, "<s> may only begin an n-gram, and </s> only end one"),
    "<s> <s> a\t1\n": (1, "<s> may only begin"),
    "</s> a\t1\n": (1, "</s> only end"),
    "a\t4294967296\n": (1, "comes 4294967296 times, and at most 4294967295"),
    "a\t2\na a\t1\na b\t2\n": (1, "the n-gram 'a' comes 2 times, but longer ones that hold it "
                                   "come 3 times"),
    "x\t1\nb\t1\na b\t1\nb b\t1\n": (2, "the n-gram 'b' comes 1 times, but longer ones"),
    "a b\t1\nb\t5\nc a b\t2\n": (1, "the n-gram 'a b' comes 1 times"),
    " ".join("a" * 101) + "\t1\n": (1, "an n-gram has 101 words, allowed are 100"),
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_broken_files_are_told_with_their_line(tmp_path, text):
    line, message = BROKEN[text]
    path = write(tmp_path / "bad", text)
    with pytest.raises(FormatError, match=message) as caught:
        read_counts(path)
    assert caught.value.where == f"{path}:{line}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", " \r\n"])
def test_empty_files_are_refused(tmp_path, text):
    with pytest.raises(FormatError, match="there are no counts"):
        read_counts(write(tmp_path / "empty", text))


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(TextError, match="no such file"):
        read_counts(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"a\t1\nb\xff\t1\n")
    with pytest.raises(TextError, match=r"bad:2: byte 0xff at offset 5 is not UTF-8"):
        read_counts(tmp_path / "bad")


def test_refusals(tmp_path):
    path = write(tmp_path / "c", "a\t2\na a\t1\n")
    with pytest.raises(SettingError, match="order 3 is not between 1 and 2, the longest"):
        read_counts(path, order=3)
    with pytest.raises(SettingError, match="2 weights were given for 1 sets of counts"):
        read_counts(path, weights=[1, 2])
    for wrong in (0, -1, 1.5):
        with pytest.raises(SettingError, match="must be a whole number of at least 1"):
            read_counts(path, weights=[wrong])
    with pytest.raises(SettingError, match="no counts were given"):
        read_counts([])
    with pytest.raises(UnrolledError, match="4294967296 times, and at most 4294967295"):
        read_counts(path, weights=[2**31])
    with pytest.raises(SettingError, match="smoothing is 'kn', allowed are modified-kneser-ney"):
        train_on_counts(path, smoothing="kn")


@settings(max_examples=150, deadline=None)
@given(st.text("ab<s/>unk 019\t\n\r-.é\0", max_size=60))
def test_any_text_is_counts_or_an_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(text.encode())
    try:
        counts, vocabulary = read_counts(path)
    except (FormatError, TextError):
        return
    assert counts.vocabulary_size == len(vocabulary)
    assert all(counts.counts(length).size for length in range(1, 2))


# -- the numbering behind it -------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=4), max_size=20))
def test_ngrams_given_twice_merge(rows):
    grams = [
        np.array([row for row in rows if len(row) == length], np.int32).reshape(-1, length)
        for length in (2, 3, 4)
    ]
    shape = arrange([*grams], 6, merge=True)
    needed = {
        tuple(row[low:high])
        for row in rows
        for low, high in itertools.combinations(range(len(row) + 1), 2)
        if high - low > 1
    }
    assert int(shape.levels[-1]) - 6 == len(needed)
    for length, given_rows in enumerate(grams, 2):
        places, sources = shape.places[length - 1], shape.sources[length - 1]
        for number, row in enumerate(given_rows):
            first = next(n for n, other in enumerate(given_rows) if np.array_equal(other, row))
            assert sources[places[number]] == first
