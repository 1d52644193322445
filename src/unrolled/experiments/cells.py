"""All cells with about the same number of parameters, on one text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unrolled.comparison.model_specs import ModelSpec, mixture_spec, net_spec, ngram_spec
from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.texts import compare, draw_comparison

SOURCE = "Our own comparison: nothing published compares these cells at one size."
PUBLISHED: dict[str, Any] = {}
SPREAD = {"alone": Spread(relative=0.03)}

# Widths E of the vectors and H of the state, such that cell and projection have about 260,000
# parameters each; with tied vectors of one width the vocabulary costs all the same.
_WIDTHS = {"elman": 322, "irnn": 322, "gru": 190, "lstm": 160, "feed-forward": 262}
_WIDTH = 200
_EPOCHS = {"smoke": 1, "laptop": 4, "paper": 16}


def models(size: str) -> list[ModelSpec]:
    """A net of each cell, the 5-gram model, and the best two kinds mixed."""
    nets = [
        net_spec(
            cell,
            cell=cell,
            hidden=hidden,
            embedding=_WIDTH,
            epochs=_EPOCHS[size],
            classes_by="bigrams",
        )
        for cell, hidden in _WIDTHS.items()
    ]
    return [ngram_spec("5-gram", 5), *nets, mixture_spec("lstm + 5-gram", "lstm", "5-gram")]


def run(setup: Setup) -> Results:
    """Test perplexities and parameters."""
    result = compare(setup, models(setup.size))
    table = {
        row.name: {"alone": row.test_perplexity, "parameters": row.parameters}
        for row in result.rows
    }
    return {"table": table, "rows": [asdict(row) for row in result.rows]}


def draw(results: Results) -> dict[str, str]:
    """Perplexity against speed, and the learning curves."""
    return draw_comparison(results)
