"""SRILM's report of perplexity, number by number, and read back as SRILM's own script reads it."""

from __future__ import annotations

import math
import re

import pytest
from tests.small_nets import small_model as small_net

import unrolled
from unrolled.errors import NotNormalisedError
from unrolled.language_models import srilm_report as module

ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-0.5\t<unk>
-99\t<s>\t-0.25
-1.5\t</s>
-0.7\ta\t-0.125
-2.00662\tb\t-0.5

\\2-grams:
-0.301029995663981\t<s> a
-0.835221\ta b
-0.804362\tb </s>

\\end\\
"""
# The numbers are sums by hand; the layout is that of SRILM 1.7's ngram -ppl -debug 2.
OPEN = """a b
\tp( a | <s> ) \t= [2gram] 0.5 [ -0.30103 ]
\tp( b | a ...) \t= [2gram] 0.146143 [ -0.835221 ]
\tp( </s> | b ...) \t= [2gram] 0.156905 [ -0.804362 ]
1 sentences, 2 words, 0 OOVs
0 zeroprobs, logprob= -1.94061 ppl= 4.43477 ppl1= 9.33913

zoo
\tp( <unk> | <s> ) \t= [1gram] 0.177828 [ -0.75 ]
\tp( </s> | zoo ...) \t= [1gram] 0.0316228 [ -1.5 ]
1 sentences, 1 words, 0 OOVs
0 zeroprobs, logprob= -2.25 ppl= 13.3352 ppl1= 177.828

file t.txt: 2 sentences, 3 words, 0 OOVs
0 zeroprobs, logprob= -4.19061 ppl= 6.88847 ppl1= 24.9385
"""
CLOSED = """zoo
\tp( <unk> | <s> ) \t= [OOV] 0 [ -inf ]
\tp( </s> | <unk> ...) \t= [1gram] 0.0316228 [ -1.5 ]
1 sentences, 1 words, 1 OOVs
0 zeroprobs, logprob= -1.5 ppl= 31.6228 ppl1= undefined

file t.txt: 1 sentences, 1 words, 1 OOVs
0 zeroprobs, logprob= -1.5 ppl= 31.6228 ppl1= undefined
"""


def srilm_report(model, texts, name, **settings):
    """All lines, of texts in batches of two."""
    batches = [texts[low : low + 2] for low in range(0, len(texts), 2)]
    return [
        line for lines in module.srilm_report(model, batches, name, **settings) for line in lines
    ]


@pytest.fixture
def model(tmp_path):
    (tmp_path / "m.arpa").write_text(ARPA)
    return unrolled.load(tmp_path / "m.arpa")


def test_numbers_and_layout(model):
    wanted = OPEN.replace("| zoo ...", "| <unk> ...")
    assert "\n".join(srilm_report(model, ["a b", "zoo"], "t.txt")) + "\n" == wanted
    found = "\n".join(srilm_report(model, ["zoo"], "t.txt", unknown="skip")) + "\n"
    assert found == CLOSED


def test_sentences_alone(model):
    lines = list(srilm_report(model, ["a b"], "t.txt", words=False))
    assert lines[:4] == [
        "a b",
        "1 sentences, 2 words, 0 OOVs",
        "0 zeroprobs, logprob= -1.94061 ppl= 4.43477 ppl1= 9.33913",
        "",
    ]


def test_words_without_probability(tmp_path):
    texts = ["a b", "a c"]
    model = unrolled.train_ngram(texts=texts, order=2, smoothing="maximum-likelihood")
    lines = list(srilm_report(model, ["b a"], "x"))
    assert any(re.search(r"\[\dgram\] 0 \[ -inf \]", line) for line in lines)
    assert " zeroprobs, logprob=" in lines[-1]
    assert not lines[-1].startswith("0 ")
    assert list(srilm_report(model, [], "x")) == [
        "file x: 0 sentences, 0 words, 0 OOVs",
        "0 zeroprobs, logprob= 0 ppl= undefined ppl1= undefined",
    ]


@pytest.mark.parametrize("unknown", ["class", "skip"])
@pytest.mark.parametrize("make", [lambda: small_net(cell="lstm"), None])
def test_read_back_as_srilm_does(make, unknown):
    """ppl-from-log.gawk: the tenth field of a line of a word; its totals are ours."""
    texts = ["the cat sat", "the cow sat on a mat .", ""]
    ngram = unrolled.train_ngram(texts=texts[:1], order=3, smoothing="witten-bell")
    model = make() if make else ngram
    lines = list(srilm_report(model, texts, "x", unknown=unknown))
    total, tokens = 0.0, 0
    for line in lines:
        fields = line.split()
        if line.startswith("\tp( "):
            value = fields[-2]
            if value != "-inf":
                total += float(value)
                tokens += 1
    shown = re.fullmatch(r"0 zeroprobs, logprob= (\S+) ppl= (\S+) ppl1= (\S+)", lines[-1])
    assert float(shown[1]) == pytest.approx(total, abs=1e-3)
    assert float(shown[2]) == pytest.approx(10 ** (-total / tokens), rel=1e-3)
    if unknown == "class":
        assert total * math.log(10) == pytest.approx(model.scores(texts).sum(), abs=1e-3)


def test_stupid_back_off_has_no_probabilities():
    model = unrolled.train_ngram(texts=["a b"], order=2, smoothing="stupid-backoff")
    with pytest.raises(NotNormalisedError, match="SRILM's report needs probabilities"):
        list(srilm_report(model, ["a"], "x"))
