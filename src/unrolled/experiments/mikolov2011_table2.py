"""Counts, a feed-forward net and recurrent nets, each alone and mixed with a 5-gram model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unrolled.experiments.texts import texts_for
from unrolled.ladder import climb, format_table
from unrolled.rungs import Rung, mixture_rung, net_rung, ngram_rung

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

# The nets have the paper's 200 hidden units, with tanh for its sigmoid, and classes of words; they
# are trained by Adam with dropout, in few passes. Settings were chosen on the validation text.
_NET = {
    "hidden": 200, "classes_by": "bigrams", "batch": 32, "rate": 0.006, "state_rate": 0.15,
}  # fmt: skip
_FEED_FORWARD = {**_NET, "dropout_input": 0.2, "dropout_output": 0.35}
_RECURRENT = {**_NET, "dropout_input": 0.3, "dropout_output": 0.5}
_EPOCHS = {"smoke": 1, "laptop": 10, "paper": 20}


def rungs(size: str) -> list[Rung]:
    """The models of the table."""
    epochs = {"epochs": _EPOCHS[size]}
    recurrent = [f"RNN by BPTT, seed {seed}" for seed in (1, 2, 3, 4)]
    nets = [
        net_rung("feed-forward net", **_FEED_FORWARD, **epochs, cell="feed-forward"),
        net_rung("RNN by BP", **_RECURRENT, **epochs, cell="elman", bptt=1),
        *(
            net_rung(name, **_RECURRENT, **epochs, cell="elman", seed=seed)
            for seed, name in enumerate(recurrent, 1)
        ),
    ]
    mixed = [mixture_rung(f"{net.name} + 5-gram", net.name, "5-gram") for net in nets[:3]]
    four = mixture_rung("4 RNNs by BPTT + 5-gram", *recurrent, "5-gram")
    return [ngram_rung("5-gram", 5), *nets, *mixed, four]


def run(
    data: Path | None, size: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Climb the table; test perplexities by name, alone and mixed."""
    texts = texts_for(data, size, folder)
    result = climb(
        texts.train, texts.valid, texts.test, output=folder / "mikolov2011-table2",
        rungs=rungs(size), min_count=0, report=report,
    )  # fmt: skip
    report(format_table(result))
    found = {row.name: row.test_perplexity for row in result.rows}
    return {
        "table": {
            "5-gram": {"alone": found["5-gram"]},
            **{
                name: {"alone": found[own], "mixed": found[f"{own} + 5-gram"]}
                for name, own in _ROWS.items()
            },
            "4 RNNs by BPTT": {"mixed": found["4 RNNs by BPTT + 5-gram"]},
        },
        "rows": [asdict(row) for row in result.rows],
    }


_ROWS = {
    "feed-forward net": "feed-forward net",
    "RNN by BP": "RNN by BP",
    "RNN by BPTT": "RNN by BPTT, seed 1",
}
