"""All cells with about the same number of parameters, on one text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unrolled.comparison.model_specs import Rung, mixture_rung, net_rung, ngram_rung
from unrolled.experiments.ladders import climb_and_keep

SOURCE = "Our own comparison: nothing published sets these cells side by side at one size."
PUBLISHED: dict[str, Any] = {}

# Widths E of the vectors and H of the state, such that cell and projection have about 260,000
# parameters each; with tied vectors of one width the vocabulary costs all the same.
_WIDTHS = {"elman": 322, "irnn": 322, "gru": 190, "lstm": 160, "feed-forward": 262}
_WIDTH = 200
_EPOCHS = {"smoke": 1, "laptop": 4, "paper": 16}


def rungs(size: str) -> list[Rung]:
    """A net of each cell, the 5-gram model, and the best two kinds mixed."""
    nets = [
        net_rung(
            cell,
            cell=cell,
            hidden=hidden,
            embedding=_WIDTH,
            epochs=_EPOCHS[size],
            classes_by="bigrams",
        )
        for cell, hidden in _WIDTHS.items()
    ]
    return [ngram_rung("5-gram", 5), *nets, mixture_rung("lstm + 5-gram", "lstm", "5-gram")]


def run(
    data: Path | None, size: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Climb, and tell test perplexities and parameters."""
    result = climb_and_keep("ladder", rungs(size), data, size, folder, report)
    table = {
        row.name: {"alone": row.test_perplexity, "parameters": row.parameters}
        for row in result.rows
    }
    return {"table": table, "rows": [asdict(row) for row in result.rows]}
