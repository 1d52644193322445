"""A tied LSTM of 2 x 1,500 units with the full softmax, for a GPU."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from unrolled.comparison.compare import Row
from unrolled.comparison.model_specs import ModelSpec, net_spec
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.texts import compare, words_per_second

SOURCE = (
    "PyTorch's example word_language_model: LSTM of 2 x 1,500 units, tied, 40 epochs (Penn "
    "Treebank, test perplexity)."
)
PUBLISHED = {"LSTM": {"alone": 72.30}}

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
    """Train it; its test perplexity, words a second, and what share of a GPU's rate that is."""
    result = compare(setup, models(setup.size))
    row = result.rows[0]
    speed = words_per_second(row)
    found = {
        "alone": row.test_perplexity,
        "minutes": row.train_seconds / 60,
        "words_per_second": speed,
        **_share_of_device(row, speed),
    }
    setup.report_row("LSTM", found)
    return {"table": {"LSTM": found}, "rows": [asdict(row)]}


def _share_of_device(row: Row, speed: float) -> dict[str, float]:
    """Operations a second of training beside those of a large product on the same GPU.

    A word costs two operations a weight of a product forward, and four backward. Tied vectors are
    one product's weights, the output's.
    """
    import torch

    if not torch.cuda.is_available():
        return {}
    operations = 6 * row.parameters * speed / 1e12
    rate = _product_rate() / 1e12
    return {"tflops": operations, "tflops_of_device": rate, "share_of_device": operations / rate}


def _product_rate(size: int = 8192, times: int = 20) -> float:
    """Operations a second of a bfloat16 product of two large matrices of random numbers."""
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        left @ right
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        left @ right
    torch.cuda.synchronize()
    return times * 2 * size**3 / (time.perf_counter() - began)
