"""How many classes: perplexity and speed of a recurrent net by the number of its classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unrolled.comparison.model_specs import Rung, mixture_rung, net_rung, ngram_rung
from unrolled.experiments.ladders import climb_and_keep

SOURCE = (
    "T. Mikolov, S. Kombrink, L. Burget, J. Cernocky, S. Khudanpur. Extensions of recurrent "
    "neural network language model. ICASSP 2011, table 3 (Penn Treebank, 200 units, BPTT)."
)
PUBLISHED = {
    "30": {"alone": 134, "mixed": 112, "words_per_second": 1211},
    "50": {"alone": 136, "mixed": 114, "words_per_second": 1582},
    "100": {"alone": 136, "mixed": 114, "words_per_second": 1703},
    "200": {"alone": 136, "mixed": 113, "words_per_second": 1632},
    "400": {"alone": 134, "mixed": 112, "words_per_second": 1422},
    "1000": {"alone": 131, "mixed": 111, "words_per_second": 963},
    "2000": {"alone": 128, "mixed": 109, "words_per_second": 613},
    "full": {"alone": 123, "mixed": 106, "words_per_second": 101},
}

_CLASSES = {
    "smoke": ("30", "100", "full"),
    "laptop": ("30", "100", "400", "1000", "full"),
    "paper": tuple(PUBLISHED),
}
_EPOCHS = {"smoke": 1, "laptop": 4, "paper": 10}
_NET = {"cell": "elman", "hidden": 200, "dropout_input": 0.1, "dropout_output": 0.3,
        "classes_by": "frequency"}  # fmt: skip


def rungs(size: str) -> list[Rung]:
    """A net for each number of classes, each alone and mixed with the 5-gram model."""
    models = [ngram_rung("5-gram", 5)]
    for classes in _CLASSES[size]:
        output = {"output_layer": "full"} if classes == "full" else {"classes": int(classes)}
        models.append(net_rung(f"{classes} classes", **_NET, **output, epochs=_EPOCHS[size]))
    mixed = [mixture_rung(f"{net.name} + 5-gram", net.name, "5-gram") for net in models[1:]]
    return models + mixed


def run(
    data: Path | None, size: str, folder: Path, report: Callable[[str], None]
) -> dict[str, Any]:
    """Train all, and draw perplexity and speed against the number of classes."""
    from unrolled.report.plots import by_classes

    result = climb_and_keep("mikolov2011-table3", rungs(size), data, size, folder, report)
    by_name = {row.name: row for row in result.rows}
    table = {
        classes: {
            "alone": by_name[f"{classes} classes"].test_perplexity,
            "mixed": by_name[f"{classes} classes + 5-gram"].test_perplexity,
            "words_per_second": _speed(by_name[f"{classes} classes"].curve),
        }
        for classes in _CLASSES[size]
    }
    picture = folder / f"mikolov2011-table3-{size}.svg"
    picture.write_text(by_classes(table, PUBLISHED), encoding="utf-8")
    return {
        "table": table,
        "pictures": [picture.name],
        "rows": [asdict(row) for row in result.rows],
    }


def _speed(curve: list[dict[str, Any]]) -> float:
    """Words a second of training itself, without reading and validation."""
    tokens: float = sum(point["tokens"] for point in curve)
    seconds: float = sum(point["seconds"] for point in curve)
    return tokens / seconds
