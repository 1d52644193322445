"""A small comparison of models for tests of the report."""

from __future__ import annotations

import math

from unrolled.comparison.compare import Comparison, Row

EVIL = "<script>alert('x')</script> & \"$x_1$\" {{ 7 * 7 }}"
CURVE = [
    {"epoch": 1, "seconds": 5.0, "train_perplexity": 300.0, "valid_perplexity": 250.0},
    {"epoch": 2, "seconds": 9.5, "train_perplexity": None, "valid_perplexity": 180.0},
]


def row(name, test, **settings):
    tokens = [{"word": "the", "bits": 1.0, "oov": False}, {"word": EVIL, "bits": None, "oov": True}]
    given = {
        "name": name, "valid_perplexity": test, "test_perplexity": test, "line": f"ppl of {name}",
        "train_seconds": 75.0, "train_tokens_per_second": 1e5, "score_tokens_per_second": 2e6,
        "parameters": 12345, "file_bytes": 2_500_000, "peak_bytes": 9**9, "settings": {},
        "surprisals": [tokens] if test else [],
    }  # fmt: skip
    return Row(**{**given, **settings})


def small_comparison():
    """A few models, some of them without a perplexity, with names and words of all characters."""
    rows = [
        row(EVIL, 150.0, score_tokens_per_second=9e6, file_bytes=10**6),
        row("impossible", math.inf),
        row("stupid", None),
        row("net", 104.0, kind="net", curve=CURVE, score_tokens_per_second=1e4),
        row("both", 100.0, kind="mixture", settings={"how": "log-linear"}, file_bytes=4 * 10**6,
            weights=[{"model": "net", "weight": 0.9}, {"model": EVIL, "weight": 0.3}]),
        row("hopeless", 4000.0),
    ]  # fmt: skip
    texts = {"train": {"name": EVIL, "bytes": 1000, "crc32": "00c0ffee"}}
    return Comparison(rows, texts, {"cores": 2}, {"min_count": 2}, [f"the {EVIL}"])
