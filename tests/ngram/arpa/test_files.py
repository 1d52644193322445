"""ARPA files: what is read, plain and odd ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.ngram.arpa_files import CAT_THE, GOOD, LN10, SECTIONS, THE_CAT, changed, log10, read

from unrolled import load
from unrolled.errors import FormatError, UnrolledWarning
from unrolled.ngram.arpa import sections as arpa_text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lm.arpa"


# -- plain files -----------------------------------------------------------------------------------


def test_a_plain_file(path: Path) -> None:
    model = read(path, GOOD)
    assert (model.order, model.name, model.normalised) == (3, "arpa-3", True)
    assert list(model.vocabulary) == ["<unk>", "<s>", "</s>", "the", "cat"]
    assert log10(model, "the cat") == pytest.approx(THE_CAT, abs=1e-6)
    assert log10(model, "cat the") == pytest.approx(CAT_THE, abs=1e-6)
    assert log10(model, "dog") == pytest.approx(-0.25 - 1.25 - 0.75, abs=1e-6)
    assert model.provenance == {"arpa": "lm.arpa"}


def test_load_and_pickle_take_it_too(path: Path) -> None:
    path.write_text(GOOD)
    model = pickle.loads(pickle.dumps(load(path)))
    assert log10(model, "the cat") == pytest.approx(THE_CAT, abs=1e-6)


def test_ids_go_by_the_order_of_the_file_after_the_special_words(path: Path) -> None:
    unigrams = ["-1 b", "-1 </s>", "-1 a", "-2 <unk>", "-1 é", "-99 <s>"]
    model = read(path, "\n".join(["\\data\\", "ngram 1=6", "\\1-grams:", *unigrams, "\\end\\"]))
    assert list(model.vocabulary) == ["<unk>", "<s>", "</s>", "b", "a", "é"]
    assert model.trie.unigrams[0] == np.float32(-2 * LN10)


def zstandard_compressed(data: bytes) -> bytes:
    compressed: bytes = pytest.importorskip("zstandard").compress(data)
    return compressed


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "Zstandard": zstandard_compressed,
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_compression_is_known_by_content(path: Path, name: str) -> None:
    data = COMPRESSORS[name](GOOD.encode())
    assert log10(read(path, data), "the cat") == pytest.approx(THE_CAT, abs=1e-6)
    for end in (len(data) - 1, len(data) // 2, 12):
        with pytest.raises(
            FormatError, match=f"lm.arpa: the {name} file (ends too early|is broken)"
        ):
            read(path, data[:end])
    with pytest.raises(FormatError, match="broken|ends too early|not an ARPA"):
        read(path, data[:20] + b"\xff\x00\xff" + data[23:])


def test_a_file_is_read_the_same_in_blocks_of_any_size(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = changed("-0.5\tcat </s>\t0", "-0.5\tcat dog\t0")
    expected = read(path, GOOD).trie.arrays()
    monkeypatch.setattr(arpa_text, "HEAD_BYTES", 40)
    for size in (1, 2, 7, 30, 31, 100):
        monkeypatch.setattr(arpa_text, "BLOCK_BYTES", size)
        for threads in (1, 3):
            for text in (GOOD, GOOD.replace("\n", "\n \n\n")):  # blank lines are no rows
                found = read(path, text, threads=threads).trie.arrays()
                assert all(np.array_equal(found[name], expected[name]) for name in expected)
            with pytest.raises(
                FormatError, match="lm.arpa:16: the word 'dog' is not among the uni"
            ):
                read(path, broken, threads=threads)


def test_a_line_without_end_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arpa_text, "MAX_LINE", 1000)
    monkeypatch.setattr(arpa_text, "BLOCK_BYTES", 100)
    monkeypatch.setattr(arpa_text, "HEAD_BYTES", 40)
    with pytest.raises(FormatError, match="a line has more than 1000 bytes"):
        read(path, changed("cat </s>\t0\n", "cat " + "x" * 2000))


def test_progress_adds_up_to_the_size_of_the_file(path: Path) -> None:
    for data in (GOOD.encode(), gzip.compress(GOOD.encode())):
        steps: list[int] = []
        read(path, data, progress=steps.append)
        assert sum(steps) == len(data)


# -- odd files with one meaning --------------------------------------------------------------------

ODD: dict[str, str | bytes] = {
    "spaces": GOOD.replace("\t", " "),
    "runs of blanks": GOOD.replace(" ", "  \t")
    .replace("\t", " \t  ")
    .replace("ngram  \t", "ngram "),
    "blanks at both ends": re.sub(r"(?m)^(-.*)$", r" \t\1 \t", GOOD),
    "CRLF": GOOD.replace("\n", "\r\n"),
    "no newline at the end": GOOD[:-1],
    "no blank lines": GOOD.replace("\n\n", "\n"),
    "blank lines everywhere": GOOD.replace("\n", "\n \n\n"),
    "a UTF-8 signature": b"\xef\xbb\xbf" + GOOD.encode(),
    "text before": "made by hand\n# on a Monday\n\\1-grams: follow\n\n" + GOOD,
    "a long text before": "comment\n" * 8000 + GOOD,
    "blanks round the marks": GOOD.replace("\\data\\", "\\data\\ ").replace("\\end\\", "\\end\\\t"),
    "capital marks": GOOD.replace("-grams:", "-GRAMS:").replace("\\end\\", "\\END\\"),
    "singular headings": GOOD.replace("-grams:", "-gram:"),
    "blank lines after the end": GOOD + "\n\n  \n",
    "loose counts": GOOD.replace("ngram 1=5", "  ngram   1 =  5 "),
    "counts in another order": changed("1=5", "x", "3=1", "1=5", "x", "3=1"),
    "leading zeros in counts": changed("1=5", "01=0005"),
    "sections backwards": GOOD[: GOOD.index("\\1-grams:")]
    + "\n".join(SECTIONS[::-1])
    + "\\end\\\n",
    "unigrams in the middle": GOOD[: GOOD.index("\\1-grams:")]
    + "\n".join([SECTIONS[1], SECTIONS[0], SECTIONS[2]])
    + "\\end\\\n",
    "no back-off weight where it is 0": GOOD.replace("\t0\n", "\n"),
    "a back-off weight of 0 at the top": changed("<s> the cat", "<s> the cat\t0"),
    "a back-off weight of -0.0 at the top": changed("<s> the cat", "<s> the cat\t-0.0"),
    "a plus": changed("\tthe cat\t0", "\tthe cat\t+0"),
    "exponents": changed(
        "-0.375\t", "-3.75e-1\t", "-0.125\t<s>", "-1250E-4\t<s>", "\t-0.5", "\t-5.e-01"
    ),
    "no digit before the point": GOOD.replace("-0.", "-."),
    "no digit after the point": changed("-1\tcat", "-1.\tcat"),
    "many digits": GOOD.replace("-0.375", "-0.3750000000000000000000000000000001"),
    "17 digits": GOOD.replace("-0.375", "-0.37500000000000006").replace(
        "-0.5", "-0.49999999999999994"
    ),
    "many zeros": GOOD.replace("-0.", "-00000000000000000000000."),
    "negative zero": GOOD.replace("\t0\n", "\t-0\n"),
    "a tiny positive number": changed("-99\t<s>", "0.000009\t<s>"),
    "<UNK>": GOOD.replace("<unk>", "<UNK>"),
    "<s> with probability one": changed("-99\t<s>", "0\t<s>"),
    "<s> with -inf": changed("-99\t<s>", "-inf\t<s>"),
    "<s> with -Infinity": changed("-99\t<s>", "-Infinity\t<s>"),
    "an order without n-grams": changed("3=1", "3=1\nngram 4=0"),
    "an order without n-grams and its heading": changed(
        "3=1", "3=1\nngram 4=0", "\\end", "\\4-grams:\n\n\\end"
    ),
    "orders up to 100": changed("3=1", "3=1\n" + "\n".join(f"ngram {n}=0" for n in range(4, 101))),
    "unigrams in another order": changed(
        "-1.25\t<unk>\t0\n", "", "-0.5\n", "-0.5\n-1.25\t<unk>\t0\n"
    ),
    "a word that is a number": GOOD.replace("cat", "-0.5"),
    "a word that begins with a backslash": GOOD.replace("cat", "\\2-grams:"),
    "a word with other Unicode spaces": GOOD.replace("cat", "c\u2028a\u00a0t\v\f"),
    "a long word": GOOD.replace("cat", "c" * 100_000),
    "long words that begin alike": GOOD.replace("cat", "a" * 16 + "1").replace(
        "the", "a" * 16 + "2"
    ),
    "short words that begin alike": GOOD.replace("cat", "aaaaaaa").replace("the", "aaaaaaaa"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_with_one_meaning(path: Path, name: str) -> None:
    model = read(path, ODD[name])
    cat = model.vocabulary.word(int(np.flatnonzero(model.trie.unigrams == np.float32(-LN10))[0]))
    the = model.vocabulary.word(
        int(np.flatnonzero(model.trie.unigrams == np.float32(-0.875 * LN10))[0])
    )
    words = {"the": the, "cat": cat}
    for sentence, expected in (("the cat", THE_CAT), ("cat the", CAT_THE)):
        text = [words[word] for word in sentence.split()]
        assert model.score(text) / LN10 == pytest.approx(expected, abs=1e-6)
    assert len(model.vocabulary) == 5
    assert model.score(["dog"]) / LN10 == pytest.approx(-0.25 - 1.25 - 0.75, abs=1e-6)


def test_log_zero(path: Path) -> None:
    """-99 is log zero for <s> only; for others it is the number it is, and -inf log zero."""
    model = read(path, changed("-0.875\tthe", "-99\tthe", "-1\tcat", "-inf\tcat"))
    assert model.trie.unigrams[1:].tolist() == pytest.approx(
        [-math.inf, -0.75 * LN10, -99 * LN10, -math.inf]
    )
    assert read(path, changed("-0.875\tthe", "-1e39\tthe")).trie.unigrams[3] == -math.inf


def test_both_spellings_of_unk_are_two_words(path: Path) -> None:
    model = read(path, changed("1=5", "1=6", "-1\tcat", "-2\t<UNK>\n-1\tcat"))
    assert list(model.vocabulary) == ["<unk>", "<s>", "</s>", "the", "<UNK>", "cat"]
    assert model.trie.unigrams[0] == np.float32(-1.25 * LN10)


def test_the_other_unk_in_longer_ngrams(path: Path) -> None:
    text = GOOD.replace("<unk>", "<UNK>").replace("the cat\t0", "the <UNK>\t0")
    model = read(path, text.replace("<s> the cat", "<s> the <UNK>"))
    assert log10(model, "the dog") == pytest.approx(-0.25 - 0.125 - 0.75, abs=1e-6)


SPECIAL_LINES = {
    "<unk>": "-1.25\t<unk>\t0\n",
    "<s>": "-99\t<s>\t-0.25\n",
    "</s>": "-0.75\t</s>\t0\n",
}


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("<unk>", "lm.arpa: there is no <unk>; it was added with a log10 probability of -100"),
        ("<s>", "lm.arpa: there is no <s>; it was added without a back-off weight"),
        ("</s>", "lm.arpa: there is no </s>; it was added as likely as <unk>"),
    ],
)
def test_missing_special_words_are_added(path: Path, missing: str, said: str) -> None:
    unigrams = "".join(line for word, line in SPECIAL_LINES.items() if word != missing)
    text = f"\\data\\\nngram 1=3\nngram 2=0\n\\1-grams:\n{unigrams}-0.5 a\n\\end\\\n"
    with pytest.warns(UnrolledWarning, match=re.escape(said)):
        model = read(path, text)
    assert list(model.vocabulary) == ["<unk>", "<s>", "</s>", "a"]
    unk = -100.0 if missing == "<unk>" else -1.25
    eos = unk if missing == "</s>" else -0.75
    assert model.trie.unigrams[[0, 2]].tolist() == pytest.approx([unk * LN10, eos * LN10])
    assert model.trie.unigrams[1] == -math.inf


def test_missing_contexts_and_suffixes_change_no_probability(path: Path) -> None:
    text = changed("2=3", "2=2", "-0.375\tthe cat\t0\n", "", "-0.25\t<s> the\t-0.0625\n", "")
    with pytest.raises(FormatError, match="declares 2 2-grams and their section has 1"):
        read(path, text)
    model = read(path, text.replace("2=2", "2=1"))
    assert np.diff(model.trie.levels).tolist() == [5, 3, 1]
    after_s = model.advance(model.start(), model.vocabulary.id("the"))
    assert log10(model, "the") == pytest.approx(-0.25 - 0.875 - 0.125 - 0.75, abs=1e-6)
    assert model.next_log_probs(after_s)[4] / LN10 == pytest.approx(-0.125, abs=1e-6)
    assert model.next_log_probs(after_s)[0] / LN10 == pytest.approx(-0.125 - 1.25, abs=1e-6)


def test_no_warning_on_a_good_file(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(path, GOOD)
