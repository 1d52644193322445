"""N-best lists of every format: read, written again, and refused with the file and the line."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from unrolled.errors import SettingError, TextError, UnrolledWarning
from unrolled.rescoring.nbest import (
    nbest_lines,
    read_nbest,
    read_references,
    score_lines,
    srilm_files,
)

MOSES = """\
0 ||| the cat ||| LM0= -5.5 2.0 TM0= -1 -2 ||| -3.25 ||| 0-0 1-1
0 ||| a cat ||| LM0= -6 2.0 TM0= -1 -3 ||| -4
1 ||| a dog ||| LM0= -7 1.0 TM0= 0 ||| -1
"""


@pytest.fixture
def write(tmp_path):
    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return put


def rewritten(lists, **settings):
    order = np.concatenate([np.arange(start, stop)[::-1] for start, stop in pairwise(lists.starts)])
    new = -1.0 * np.arange(len(lists.texts))
    return list(nbest_lines(lists, order, 10 * new, new, **settings)), order, new


def test_kaldi(write):
    path = write("text", "a-b-1 the  cat\na-b-2 \nu-1 a dog\n")
    acoustic = write("ac", "u-1 3\na-b-2 2.5\na-b-1 1\n")
    old = write("lm", "a-b-1 10\na-b-2 20\nu-1 30\nother-1 7\n")
    lists = read_nbest(path, "kaldi", acoustic=acoustic, old_lm=old)
    assert lists.utterances == ["a-b", "u"]
    assert lists.starts.tolist() == [0, 2, 3]
    assert lists.texts == ["the cat", "", "a dog"]
    assert lists.acoustic.tolist() == [-1, -2.5, -3]
    assert lists.old.tolist() == [-10, -20, -30]
    assert lists.owners.tolist() == [0, 0, 1]
    assert lists.words.tolist() == [2, 0, 2]
    assert rewritten(lists)[0] == ["a-b-1", "a-b-2 the cat", "u-1 a dog"]
    assert rewritten(lists, best=True)[0] == ["a-b", "u a dog"]
    bare = read_nbest(path, "kaldi")
    assert bare.old is None
    assert bare.acoustic.tolist() == [0, 0, 0]
    _, order, new = rewritten(lists)
    assert list(score_lines(lists, order, 10 * new, new)) == [
        "hypothesis\ttotal\tlm",
        "a-b-1\t-10.000000\t-1.000000",
        "a-b-2\t-0.000000\t-0.000000",
        "u-1\t-20.000000\t-2.000000",
    ]


def test_moses(write):
    lists = read_nbest(write("n", MOSES), "moses")
    assert lists.utterances == ["0", "1"]
    assert lists.acoustic.tolist() == [-3.25, -4, -1]
    assert lists.old.tolist() == [-5.5, -6, -7]
    assert rewritten(lists)[0] == [
        "0 ||| a cat ||| LM0= -6 2.0 TM0= -1 -3 unrolled= -1.000000 ||| -10.000000",
        "0 ||| the cat ||| LM0= -5.5 2.0 TM0= -1 -2 unrolled= -0.000000 ||| -0.000000 ||| 0-0 1-1",
        "1 ||| a dog ||| LM0= -7 1.0 TM0= 0 unrolled= -2.000000 ||| -20.000000",
    ]
    assert rewritten(lists, best=True)[0] == ["a cat", "a dog"]
    assert read_nbest(write("n", MOSES.replace("0=", "0:")), "moses").old.tolist() == [-5.5, -6, -7]
    assert read_nbest(write("n", MOSES), "moses", lm_label="").old is None
    assert read_references(write("ref", "the cat\na dog\n"), lists) == ["the cat", "a dog"]


def test_rnnlm(write):
    lists = read_nbest(write("n", "u1 the cat\nu1 a cat\n\nu2\n"), "rnnlm")
    assert lists.texts == ["the cat", "a cat", ""]
    assert lists.old is None
    assert rewritten(lists)[0] == ["u1 a cat", "u1 the cat", "u2"]


def test_srilm_a_folder_of_lists(write, tmp_path):
    write("lists/u1.nbest", "-100 -5 4 <s> the cat </s>\n-110 -4 2 a cat\n")
    write("lists/u2.nbest", "-1 -2 0\n")
    lists = read_nbest(str(tmp_path / "lists"), "srilm")
    assert lists.utterances == ["u1", "u2"]
    assert lists.texts == ["the cat", "a cat", ""]
    np.testing.assert_allclose(lists.acoustic, np.array([-100, -110, -1]) * math.log(10))
    np.testing.assert_allclose(lists.old, np.array([-5, -4, -2]) * math.log(10))
    lines, order, new = rewritten(lists)
    assert lines[0] == f"u1 -110.000000 {-1 / math.log(10):.6f} 2 a cat"
    named = read_nbest(write("named", "\n".join(lines)), "srilm")
    numbers = read_nbest(write("named", "\n".join(line[1:] for line in lines)), "srilm")
    assert (numbers.utterances, numbers.texts) == (["1", "2"], named.texts)
    plain = read_nbest(write("u", "-1.5 -2 1 3\n-1 -2 4 1 2 3 4\n"), "srilm")
    assert (plain.utterances, plain.texts) == (["u"], ["3", "1 2 3 4"])
    for name, part in srilm_files(lists, order, new):
        write(f"again/{name}", "\n".join(part))
    for again in (named, read_nbest(str(tmp_path / "again"), "srilm")):
        assert again.utterances == ["u1", "u2"]
        assert again.texts == ["a cat", "the cat", ""]
        np.testing.assert_allclose(again.acoustic, lists.acoustic[order], atol=1e-5)
        np.testing.assert_allclose(again.old, new[order], atol=1e-5)
    single = read_nbest(str(tmp_path / "lists" / "u2.nbest"), "srilm")
    assert rewritten(single)[0] == ["-1.000000 -0.000000 0"]


DECIPHER = """NBestList2.0
(-13) <s> ( st: 0 et: 5 g: 0 a: -1 ) the ( st: 6 et: 20 g: -30 a: -100 ) \
dh ( st: 6 et: 10 g: 0 a: -40 ) ax ( st: 11 et: 20 g: 0 a: -60 ) cat ( st: 21 et: 40 g: -50 a: -7 )
(-14) -pau- ( st: 0 et: 5 g: 0 a: -1 ) a ( st: 6 et: 20 g: -30 a: -100 )
"""


def test_lists_of_decipher(write):
    byte = 1024 * math.log(1.0001)
    first = read_nbest(write("u1.nbest", "NBestList1.0\n(-1234) the cat\n(-1300) a cat\n"), "srilm")
    assert (first.utterances, first.texts, first.old) == (["u1"], ["the cat", "a cat"], None)
    np.testing.assert_allclose(first.acoustic, np.array([-1234, -1300]) * byte)
    second = read_nbest(write("u2.nbest", DECIPHER.replace("\\\n", "")), "srilm")
    assert second.texts == ["the cat", "a"]  # without phones, pauses and borders
    np.testing.assert_allclose(second.acoustic, np.array([-108, -101]) * byte)
    np.testing.assert_allclose(second.old, np.array([-80, -30]) * byte)


def test_lists_without_names_are_noticed(write):
    for text in ("the cat sat\nthe cat sit\n", "a cat\nthe hat\n"):
        with pytest.warns(UnrolledWarning, match=r"n: the names of utterances are taken from"):
            read_nbest(write("n", text), "rnnlm")
    with pytest.raises(TextError, match="comes again after others. .* or put names there"):
        read_nbest(write("n", "the cat\na cat\nthe hat\n"), "rnnlm")


BAD = [
    ("kaldi", "u-1 a\nutt b\n", "n:2: begins with 'utt', not with an utterance and a number"),
    ("kaldi", "u-1 a\nu-x b\n", "n:2: begins with 'u-x'"),
    ("kaldi", "u-1 a\nu-1 b\n", "n:2: 'u-1' comes twice"),
    ("kaldi", "u-1 a\nv-1 b\nu-2 c\n", "n:3: utterance 'u' comes again"),
    ("kaldi", "\n", "n: holds no hypotheses"),
    ("moses", "0 ||| a ||| LM0= 1\n", "n:1: has 3 fields, not number"),
    ("moses", MOSES + "x ||| a ||| LM0= 1 ||| 2\n", "n:4: begins with 'x', not with a number"),
    ("moses", "0 ||| a ||| LM0= 1 ||| two\n", "n:1: the score is 'two', not a finite number"),
    ("moses", "0 ||| a ||| LM0= nan ||| 2\n", "n:1: the feature LM0 is 'nan'"),
    ("moses", "0 ||| a ||| TM0= 1 ||| 2\n", "n:1: has no feature LM0. Name another"),
    ("rnnlm", "u a\nv b\nu c\n", "n:3: utterance 'u' comes again"),
    ("srilm", "-1 -2\n", "n:1: has 2 fields, not acoustic"),
    ("srilm", "-1 x 1 a\n", "n:1: the language model's score is 'x'"),
    ("srilm", "NBestList1.0\n-1 a\n", "n:2: begins with '-1', not with a score such as (-1234)"),
    ("srilm", "NBestList2.0\n(-1) a b\n", "n:2: 'a' is followed by 'b', not by ( st: 1 et: 2"),
    ("srilm", "-inf -1 1 a\n", "n:1: the acoustic score is '-inf'"),
    ("xml", "", "the format is 'xml', allowed are kaldi, moses, rnnlm, srilm"),
]


@pytest.mark.parametrize(("format", "text", "message"), BAD)
def test_bad_lines_are_named(write, format, text, message):
    with pytest.raises((TextError, SettingError)) as caught:
        read_nbest(write("n", text), format)
    assert message in str(caught.value)


def test_bad_costs_and_references(write):
    path = write("n", "u-1 a\nu-2 b\n")
    for costs, message in [
        ("u-1 1\n", "n:2: 'u-2' has no cost in "),
        ("u-1 1 2\n", "ac:1: has 3 fields, not a key and a cost"),
        ("u-1 1\nu-1 2\n", "ac:2: 'u-1' comes twice"),
        ("u-1 one\n", "ac:1: the cost is 'one'"),
    ]:
        with pytest.raises(TextError) as caught:
            read_nbest(path, "kaldi", acoustic=write("ac", costs))
        assert message in str(caught.value)
    with pytest.raises(SettingError, match="belong to the format kaldi, and this is rnnlm"):
        read_nbest(path, "rnnlm", old_lm=path)
    lists = read_nbest(path, "kaldi")
    with pytest.raises(TextError, match="utterance 'u' has no reference"):
        read_references(write("ref", "v a\n"), lists)
    with pytest.raises(TextError, match="ref:2: 'u' comes twice"):
        read_references(write("ref", "u a\nu b\n"), lists)
    with pytest.raises(TextError, match="no such file"):
        read_nbest("nowhere", "moses")
