"""Broken ARPA files: each a sentence with the file and the line, and no memory or time lost."""

from __future__ import annotations

import random
import re
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.fuzz_arpa import attempt
from tests.fuzz.mutations import mutate
from tests.ngram.arpa_files import GOOD, SECTIONS, changed, read

from unrolled.errors import FormatError, SettingError
from unrolled.ngram.arpa.files import read_arpa


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lm.arpa"


REST = GOOD[GOOD.index("\\1-grams:") :]
BIG = "9" * 19
BROKEN: dict[str, tuple[str | bytes, str]] = {
    # the whole file
    "empty": ("", r"lm.arpa: is not an ARPA file: no line \\data\\ is in its first 65536 bytes"),
    "blank": ("\n\n", "is not an ARPA file"),
    "other text": ("the cat sat\n", "is not an ARPA file"),
    "the mark inside a line": ("see \\data\\ below\n" + GOOD[7:], "is not an ARPA file"),
    "a KenLM binary": (b"mmap lm http://kheafield.com/code format version 5\n\0", "a KenLM binary"),
    "UTF-16": (GOOD.encode("utf-16"), "is not an ARPA file but UTF-16 text.*iconv"),
    "a safetensors file": (b"\x10\0\0\0\0\0\0\0{}              ", "is not an ARPA file"),
    "zeros": (bytes(5000), "is not an ARPA file but only zeros"),
    "a web page": ("<!DOCTYPE html>\n<html>", "is not an ARPA file but a web page"),
    "a header without end": ("# more\n" * 20_000 + GOOD, "is not an ARPA file"),
    "only the mark": ("\\data\\\n", r"lm.arpa:2: the file ends without \\end\\"),
    "no counts": ("\\data\\\n\n" + REST, "lm.arpa:3: no count such as 'ngram 1=5' stands between"),
    "only marks": ("\\data\\\n\\end\\\n", "lm.arpa:2: no count"),
    "no unigrams": ("\\data\\\nngram 1=0\n\\end\\\n", "lm.arpa: there are no unigrams"),
    "no end": (
        GOOD.replace("\\end\\\n", ""),
        r"lm.arpa:21: the file ends without \\end\\, so some",
    ),
    "half an end": (GOOD[:-3], r":21: '\\\\en' is neither \\end\\ nor a heading"),
    "a second file behind": (GOOD + GOOD, r"lm.arpa:22: '\\\\data\\\\' stands after \\end\\"),
    "text behind": (GOOD + "\nmore\n", "lm.arpa:23: 'more' stands after"),
    "cut in a line": (GOOD[: GOOD.index("cat </s>")], "lm.arpa:17: the file ends without"),
    "old Mac line ends": (GOOD.replace("\n", "\r"), "is not an ARPA file"),
    "a NUL": (changed("the cat\t", "the\0cat\t"), "lm.arpa:15: the line holds a NUL byte"),
    "zeros in the middle": (GOOD[:150] + "\0" * 50 + GOOD[200:], "the line holds a NUL byte"),
    # counts
    "a negative count": (changed("2=3", "2=-3"), "lm.arpa:3: 'ngram 2=-3' is not a count such as"),
    "a count in words": (changed("2=3", "2=three"), "lm.arpa:3: .* is not a count"),
    "a count with a point": (changed("2=3", "2=3.0"), "lm.arpa:3: .* is not a count"),
    "a count of many digits": (changed("2=3", "2=" + "3" * 5000), r"lm.arpa:3: .*\.\.\. is not a"),
    "no count": (changed("2=3", "2="), "lm.arpa:3: 'ngram 2=' is not a count"),
    "no equals sign": (changed("2=3", "2 3"), "lm.arpa:3: 'ngram 2 3' is not a count"),
    "a sentence among the counts": (changed("2=3", "2=3\nhello"), "lm.arpa:4: 'hello' is not a co"),
    "a comment among the counts": (changed("2=3", "2=3\n# hello"), "lm.arpa:4: '# hello' is not"),
    "an indented heading": (changed("\\2-g", " \\2-g"), r":13: '\\\\2-grams:' is not a number"),
    "order 0": (changed("1=5", "0=1\nngram 1=5"), "lm.arpa:2: the order 0 is not one of 1 to 100"),
    "order 101": (changed("3=1", "101=1"), "lm.arpa:4: the order 101 is not one of 1 to 100"),
    "a huge order": (changed("3=1", "99999999999=1"), "lm.arpa:4: .* is not a count"),
    "an order twice": (changed("2=3", "1=3"), "lm.arpa:3: 'ngram 1=3' is the second count of 1-g"),
    "an order left out": (changed("ngram 2=3\n", ""), ":5: the header counts 3-grams and not 2-gr"),
    "no count of unigrams": (changed("ngram 1=5\n", ""), "the header counts 3-grams and not 1-gra"),
    "too many unigrams declared": (
        changed("1=5", "1=6"),
        "lm.arpa:6: the header declares 6 1-grams and their section has 5",
    ),
    "too few declared": (
        changed("1=5", "1=4"),
        "lm.arpa:6: the header declares 4 1-grams and .* 5",
    ),
    "too many bigrams declared": (changed("2=3", "2=4"), "lm.arpa:13: the header declares 4 2-gr"),
    "too few trigrams declared": (changed("3=1", "3=0"), "lm.arpa:18: the header declares 0 3-gra"),
    "a huge count": (
        changed("3=1", f"3={BIG}"),
        f":18: the header declares {BIG} 3-grams and .* 1",
    ),
    "a huge count of unigrams": (changed("1=5", f"1={BIG}"), f":6: the header declares {BIG} 1-gr"),
    "a section missing": (
        changed("\\3-grams:\n-0.125\t<s> the cat\n", ""),
        "lm.arpa: the header declares 1 3-grams and there is no section of them",
    ),
    "unigrams missing": (
        GOOD.replace(SECTIONS[0], ""),
        "lm.arpa: the header declares 5 1-grams and there is no section of them",
    ),
    # headings
    "an undeclared section": (
        changed("\\end", "\\4-grams:\n\\end"),
        r"lm.arpa:21: '\\\\4-grams:' begins a section that the header does not declare",
    ),
    "section 0": (changed("\\2-g", "\\0-g"), ":13: .* begins a section that the header does not d"),
    "a section twice": (
        changed("\\end", "\\2-grams:\n\\end"),
        r"lm.arpa:21: '\\\\2-grams:' stands in line 13 already",
    ),
    "a heading without colon": (changed("2-grams:", "2-grams"), r":13: .* is neither \\end\\ nor"),
    "a heading of words": (changed("\\2-grams:", "\\bigrams:"), r":13: .*bigrams.* is neither"),
    "a second \\data\\": (changed("\\2-grams", "\\data\\\n\\2-grams"), r":13: .*data.* is neither"),
    # lines
    "no number": (
        changed("-0.375\tthe cat\t0", "the cat"),
        ":15: 'the' is not a number, and a log-",
    ),
    "a number in words": (changed("-0.375\t", "minus\t"), "lm.arpa:15: 'minus' is not a number"),
    "a decimal comma": (changed("-0.375\t", "-0,375\t"), "lm.arpa:15: '-0,375' is not a number"),
    "a hexadecimal number": (changed("-0.375\t", "-0x1p-2\t"), ":15: '-0x1p-2' is not a number"),
    "underscores": (changed("-0.375\t", "-0_0.375\t"), "lm.arpa:15: '-0_0.375' is not a number"),
    "two points": (changed("-0.375\t", "-0.37.5\t"), "lm.arpa:15: '-0.37.5' is not a number"),
    "only a sign": (changed("-0.375\t", "-\t"), "lm.arpa:15: '-' is not a number"),
    "only a point": (changed("-0.375\t", "-.\t"), "lm.arpa:15: '-.' is not a number"),
    "half an exponent": (changed("-0.375\t", "-1e\t"), "lm.arpa:15: '-1e' is not a number"),
    "a number run into the word": (
        changed("-0.375\t", "-0.375"),
        ":15: '-0.375the' is not a numbe",
    ),
    "Arabic digits": (changed("-0.375\t", "-٣\t"), "lm.arpa:15: .* is not a number"),
    "nan": (changed("-0.375\t", "nan\t"), r"lm.arpa:15: a log-probability is not a number \(NaN\)"),
    "-NaN": (changed("-0.375\t", "-NaN\t"), r"lm.arpa:15: a log-probability is not a number"),
    "inf": (changed("-0.375\t", "inf\t"), "lm.arpa:15: the log-probability 'inf' is above 0"),
    "a positive number": (
        changed("-0.375\t", "0.375\t"),
        ":15: the log-probability '0.375' is abo",
    ),
    "above what rounding does": (changed("-0.375\t", "0.000011\t"), "'0.000011' is above 0"),
    "a probability, no logarithm": (
        changed("-0.375\t", "1\t"),
        ":15: the log-probability '1' is a",
    ),
    "too few words": (
        changed("\tthe cat\t0", "\tthe"),
        ":15: a 2-gram needs .* and this line has 1",
    ),
    "no words": (changed("\tthe cat\t0", ""), "lm.arpa:15: a 2-gram .* this line has no words"),
    "too many words": (
        changed("the cat\t0", "the cat the cat\t0"),
        ":15: 5 words and numbers stan",
    ),
    "a word too many": (
        changed("\tthe cat\t0", "\tthe cat the"),
        "lm.arpa:15: 'the' is not a number, and after 2 words a back-off weight must stand there",
    ),
    "a number too many": (changed("the cat\t0", "the cat\t0\t0"), "allowed are 3"),
    "a back-off weight of nan": (changed("\tthe cat\t0", "\tthe cat\tnan"), ":15: .*NaN"),
    "a back-off weight of inf": (
        changed("\tthe cat\t0", "\tthe cat\tinf"),
        ":15: .*'inf' is above",
    ),
    "a huge back-off weight": (
        changed("cat\t0", "cat\t300"),
        ":15: the back-off weight '300' is ab",
    ),
    "a back-off weight at the top": (
        changed("<s> the cat", "<s> the cat\t-0.1"),
        ":19: a back-off weight of '-0.1' stands at the highest order, 3, where none is used",
    ),
    "an unknown word": (
        changed("\tthe cat\t0", "\tthe dog\t0"),
        "lm.arpa:15: the word 'dog' is not among the unigrams",
    ),
    "an unknown long word": (
        changed("\tthe cat\t0", "\tthe dogdogdogdog\t0"),
        ":15: .*dogdogdogdog",
    ),
    "<UNK> next to <unk>": (
        changed("\tthe cat\t0", "\tthe <UNK>\t0"),
        ":15: the word '<UNK>' is no",
    ),
    "a word in other letters": (changed("\tthe cat\t0", "\tThe cat\t0"), ":15: the word 'The' is"),
    "a bigram among unigrams": (
        changed("-1\tcat\t-0.5", "-1\tthe cat\t-0.5"),
        ":11: 3 words and|:11",
    ),
    "a heading lost": (changed("\\2-grams:\n", ""), ":13: 3 words|:13: '.*' is not a number"),
    "a comment": (changed("-0.375\tthe", "# a comment\n-0.375\tthe"), ":15: '#' is not a number"),
    "a unigram twice": (
        changed("1=5", "1=6", "-1\tcat", "-2\tthe\n-1\tcat"),
        "lm.arpa:11: the word 'the' stands in line 10 already",
    ),
    "<s> twice": (
        changed("1=5", "1=6", "-1\tcat", "-2\t<s>\n-1\tcat"),
        "lm.arpa:11: the word '<s>' stands in line 8 already",
    ),
    "a bigram twice": (
        changed("2=3", "2=4", "-0.5\tcat </s>", "-0.5\tthe cat\n\n-0.5\tcat </s>"),
        "lm.arpa:16: the n-gram 'the cat' stands in line 15 already",
    ),
    "a trigram twice": (
        changed("3=1", "3=2", "\\end", "-1\t<s>  the cat\n\\end"),
        "lm.arpa:21: the n-gram '<s> the cat' stands in line 19 already",
    ),
    "Latin-1": (
        changed("cat", "chât").encode("latin-1"),
        "lm.arpa:11: the word is not UTF-8.*iconv",
    ),
    "a character cut in two": (
        changed("cat", "c\0", "the", "\1t")
        .encode()
        .replace(b"\0", b"\xc3")
        .replace(b"\1", b"\xa2"),
        "lm.arpa:1[01]: the word is not UTF-8",
    ),
    "bad UTF-8 in a longer n-gram": (
        GOOD.encode().replace(b"\tthe cat", b"\tthe c\xfft"),
        r"lm.arpa:15: the word 'c\\\\xfft' is not among the unigrams",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(path: Path, name: str) -> None:
    text, pattern = BROKEN[name]
    with pytest.raises(FormatError) as caught:
        read(path, text)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))
    assert re.search(pattern, message), message


def test_every_truncation_is_refused(path: Path) -> None:
    data = GOOD.encode()
    for end in range(len(data) - 1):
        with pytest.raises(FormatError):
            read(path, data[:end])


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="absent.arpa: there is no such file"):
        read_arpa(tmp_path / "absent.arpa")
    with pytest.raises(FormatError, match="is a folder, a device or a pipe"):
        read_arpa(tmp_path)
    with pytest.raises(FormatError, match="is a folder, a device or a pipe"):
        read_arpa("/dev/zero")
    with pytest.raises(FormatError, match="cannot be read"):
        read_arpa("a\0b")
    with pytest.raises(SettingError, match="threads is 0"):
        read_arpa(tmp_path, threads=0)


def test_declared_sizes_and_missing_parts_fill_no_memory(path: Path) -> None:
    """Counts allocate nothing, and a few long n-grams cannot ask for millions of shorter ones."""
    words = [f"w{n}" for n in range(100)]
    rng = random.Random(0)
    rows = ["-1 " + " ".join(rng.choices(words, k=100)) for _ in range(1200)]
    unigrams = [f"-1 {word}" for word in ["<unk>", "<s>", "</s>", *words]]
    counts = [f"ngram {n}=0" for n in range(2, 100)]
    head = ["\\data\\", "ngram 1=103", *counts, "ngram 100=1200", "\\1-grams:", *unigrams]
    long = "\n".join([*head, "\\100-grams:", *rows, "\\end\\"])
    huge = "".join(f"ngram {n}={BIG}\n" for n in range(1, 101))
    for text in (long, f"\\data\\\n{huge}\\1-grams:\n-1 a\n\\end\\\n"):
        began = time.monotonic()
        tracemalloc.start()
        with pytest.raises(FormatError, match="so many contexts and suffixes|declares 99999"):
            read(path, text)
        assert tracemalloc.get_traced_memory()[1] < 200e6
        tracemalloc.stop()
        assert time.monotonic() - began < 10


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_mutations_are_refused_or_read_as_a_model(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """The fuzz target's rounds: nothing but FormatError, and no score that is not a number."""
    path = tmp_path_factory.mktemp("fuzz") / "n.arpa"
    path.write_bytes(mutate(GOOD.encode(), random.Random(seed)))
    attempt(path)
