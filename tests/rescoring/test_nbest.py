"""N-best lists of every format: read, written again, and refused with the file and the line."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from unrolled.errors import SettingError, TextError
from unrolled.rescoring.nbest import nbest_lines, read_nbest, read_references, score_lines

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
    assert lines[0] == f"-110.000000 {-1 / math.log(10):.6f} 2 a cat"
    for name, part in (("u1", lines[:2]), ("u2", lines[2:])):
        write(f"again/{name}.nbest", "\n".join(part))
    again = read_nbest(str(tmp_path / "again"), "srilm")
    np.testing.assert_allclose(again.acoustic, lists.acoustic[order], atol=1e-5)
    np.testing.assert_allclose(again.old, new[order], atol=1e-5)


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
