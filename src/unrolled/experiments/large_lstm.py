"""A tied LSTM of 1,500 units with the full softmax, for a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unrolled.experiments.texts import texts_for
from unrolled.ladder import climb, format_table
from unrolled.rungs import Rung, net_rung

SOURCE = (
    "PyTorch's example word_language_model: LSTM of 2 x 1,500 units, tied, 40 epochs (Penn "
    "Treebank, test perplexity)."
)
PUBLISHED = {"LSTM": {"alone": 72.30}}

_HIDDEN = {"smoke": 32, "laptop": 200, "paper": 1500}
_EPOCHS = {"smoke": 1, "laptop": 6, "paper": 40}


def rungs(size: str) -> list[Rung]:
    """The one net."""
    return [
        net_rung(
            "LSTM", layers=2, hidden=_HIDDEN[size], epochs=_EPOCHS[size], output="full", batch=20,
            optimiser="sgd", rate=20.0, schedule="halving", warmup=0, clip_norm=0.25,
            dropout_input=0.65, dropout_layers=0.65, dropout_output=0.65,
        )
    ]  # fmt: skip


def run(
    data: Path | None, size: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Train it; its test perplexity and its words a second."""
    texts = texts_for(data, size, folder)
    result = climb(
        texts.train, texts.valid, texts.test, output=folder / "large-lstm", rungs=rungs(size),
        min_count=0, report=report,
    )  # fmt: skip
    report(format_table(result))
    table = {
        row.name: {
            "alone": row.test_perplexity,
            "words_per_second": sum(point["tokens"] for point in row.curve)
            / sum(point["seconds"] for point in row.curve),
        }
        for row in result.rows
    }
    return {"table": table, "rows": [asdict(row) for row in result.rows]}
