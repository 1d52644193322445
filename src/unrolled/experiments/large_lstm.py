"""A tied LSTM of 2 x 1,500 units with the full softmax, for a GPU."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unrolled.comparison.model_specs import ModelSpec, net_spec
from unrolled.experiments.checks import NOT_COMPARED, Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.texts import compare, words_per_second

SOURCE = (
    "PyTorch's example word_language_model: LSTM of 2 x 1,500 units, tied, 40 epochs (Penn "
    "Treebank, test perplexity)."
)
PUBLISHED = {"LSTM": {"alone": 72.30}}
SPREAD = {
    "alone": Spread(relative=0.03),
    **dict.fromkeys(
        ("minutes", "words_per_second", "tflops", "tflops of device", "share of device"),
        NOT_COMPARED,
    ),
}

# The example's net, trained another way: Adam along a cosine in place of SGD, three times as many
# sequences a batch, which a GPU processes in nearly the same time, and dropout with one mask for
# all steps, also of recurrent weights (Merity et al. 2018; Melis et al. 2018).
_TRAINING: dict[str, Any] = {
    "layers": 2, "output_layer": "full", "batch": 64, "bptt": 70, "rate": 0.002, "warmup": 200,
    "weight_decay": 0.15, "clip_norm": 0.5, "dropout_input": 0.65, "dropout_layers": 0.55,
    "dropout_output": 0.75, "dropout_words": 0.2, "dropout_recurrent": 0.6,
}  # fmt: skip
_HIDDEN = {"smoke": 32, "laptop": 200, "paper": 1500}
_EPOCHS = {"smoke": 1, "laptop": 6, "paper": 78}


def models(size: str) -> list[ModelSpec]:
    """The one net."""
    return [net_spec("LSTM", **_TRAINING, hidden=_HIDDEN[size], epochs=_EPOCHS[size])]


def run(setup: Setup) -> Results:
    """Train it; its test perplexity, time and words a second."""
    result = compare(setup, models(setup.size))
    row = result.rows[0]
    found = {
        "alone": row.test_perplexity,
        "minutes": row.train_seconds / 60,
        "words_per_second": words_per_second(row),
    }
    setup.report_row("LSTM", found)
    return {"table": {"LSTM": found}, "rows": [asdict(row)]}
