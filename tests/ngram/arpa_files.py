"""A small ARPA file that the tests change, and what it must give."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from unrolled.ngram.arpa.files import read_arpa
from unrolled.ngram.model import NgramModel

LN10 = math.log(10.0)
GOOD = """\
\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

\\1-grams:
-1.25\t<unk>\t0
-99\t<s>\t-0.25
-0.75\t</s>\t0
-0.875\tthe\t-0.125
-1\tcat\t-0.5

\\2-grams:
-0.25\t<s> the\t-0.0625
-0.375\tthe cat\t0
-0.5\tcat </s>\t0

\\3-grams:
-0.125\t<s> the cat

\\end\\
"""
# p(the | <s>) p(cat | <s> the) p(</s> | cat), and a sentence that backs off everywhere
THE_CAT = -0.25 - 0.125 - 0.5
CAT_THE = (-0.25 - 1) + (-0.5 - 0.875) + (-0.125 - 0.75)
SECTIONS = re.findall(r"\\\d-grams:\n(?:[^\\\n]+\n)+", GOOD)


def read(path: Path, text: str | bytes, **options: Any) -> NgramModel:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_arpa(path, **options)


def log10(model: NgramModel, sentence: str) -> float:
    return model.score(sentence) / LN10


def changed(*edits: str) -> str:
    """GOOD with pairs of old and new parts; an old part must be there."""
    text = GOOD
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text, old
        text = text.replace(old, new)
    return text
