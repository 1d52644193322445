"""Counts, a feed-forward net and recurrent nets, each alone and mixed with a 5-gram model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unrolled.comparison.model_specs import ModelSpec, mixture_spec, net_spec, ngram_spec
from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.texts import compare, draw_comparison

SOURCE = (
    "T. Mikolov, S. Kombrink, L. Burget, J. Cernocky, S. Khudanpur. Extensions of recurrent "
    "neural network language model. ICASSP 2011, table 2 (Penn Treebank, test perplexity)."
)
PUBLISHED = {
    "5-gram": {"alone": 141},
    "feed-forward net": {"alone": 141, "mixed": 118},
    "RNN by BP": {"alone": 137, "mixed": 113},
    "RNN by BPTT": {"alone": 123, "mixed": 106},
    "4 RNNs by BPTT": {"mixed": 98},
}
SPREAD = {"alone": Spread(relative=0.03), "mixed": Spread(relative=0.03)}

# The nets have tanh or ReLU for the paper's sigmoid, more units than its 200, as dropout wants
# them, and classes of words; they are trained by Adam in few passes. Recurrent weights begin near
# the identity, as a memory that fades slowly: with tanh, valid perplexity after four passes was 128
# instead of 133. ReLU remembers more and overfits less: 114 at the end where tanh has 124, and by
# BP, which cannot learn to remember, 135 instead of 144. Settings were chosen on the validation
# text, before decay of weights was tried.
_NET = {
    "hidden": 400, "classes": 400, "classes_by": "bigrams", "batch": 64, "rate": 0.006,
    "weight_decay": 0.0, "dropout_input": 0.3, "dropout_output": 0.5,
}  # fmt: skip
_RECURRENT = {**_NET, "cell": "elman"}
_LITTLE = {"dropout_input": 0.1, "dropout_output": 0.3}
_SOME = {"dropout_input": 0.2, "dropout_output": 0.4}
# The same net from other seeds makes nearly the same mistakes: mixing four gained 2 %. Nets that
# are each a little worse, but differ in dropout, classes and nonlinearity, gain more together.
_FOUR: dict[str, dict[str, Any]] = {
    "RNN by BPTT": {"epochs": 9},
    "RNN by BPTT, dropped words": {**_SOME, "dropout_words": 0.1, "epochs": 8, "seed": 2},
    "RNN by BPTT, little dropout": {**_LITTLE, "classes": 200, "epochs": 6, "seed": 3},
    "RNN by BPTT, ReLU": {**_SOME, "nonlinearity": "relu", "rate": 0.004, "epochs": 8, "seed": 4},
}
_ALONE: dict[str, dict[str, Any]] = {
    "feed-forward net": {**_NET, "cell": "feed-forward", "hidden": 300, "epochs": 6},
    "RNN by BP": {
        **_RECURRENT, "nonlinearity": "relu", "rate": 0.004, "bptt": 1, "epochs": 8
    },
    "RNN by BPTT": {**_RECURRENT, **_FOUR["RNN by BPTT"]},
}  # fmt: skip
_PASSES = {"laptop": 1, "paper": 2}  # times the epochs above; a smoke run has one


def models(size: str) -> list[ModelSpec]:
    """The models of the table."""
    settings = {**_ALONE, **{name: {**_RECURRENT, **own} for name, own in _FOUR.items()}}
    passes = _PASSES.get(size, 0)
    nets = [
        net_spec(name, **{**own, "epochs": passes * own["epochs"] or 1})
        for name, own in settings.items()
    ]
    mixed = [mixture_spec(f"{name} + 5-gram", name, "5-gram") for name in _ALONE]
    four = mixture_spec("4 RNNs by BPTT + 5-gram", *_FOUR, "5-gram")
    return [ngram_spec("5-gram", 5), *nets, *mixed, four]


def run(setup: Setup) -> Results:
    """Test perplexities by name, alone and mixed."""
    result = compare(setup, models(setup.size))
    found = {row.name: row.test_perplexity for row in result.rows}
    return {
        "table": {
            "5-gram": {"alone": found["5-gram"]},
            **{name: {"alone": found[name], "mixed": found[f"{name} + 5-gram"]} for name in _ALONE},
            "4 RNNs by BPTT": {"mixed": found["4 RNNs by BPTT + 5-gram"]},
        },
        "rows": [asdict(row) for row in result.rows],
    }


def draw(results: Results) -> dict[str, str]:
    """Perplexity against speed, and the learning curves."""
    return draw_comparison(results)
