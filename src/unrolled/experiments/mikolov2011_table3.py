"""How many classes: perplexity and speed of a recurrent net by the number of its classes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from unrolled.comparison.model_specs import ModelSpec, mixture_spec, net_spec, ngram_spec
from unrolled.experiments.checks import NOT_COMPARED, Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.texts import compare, texts_of
from unrolled.experiments.training_speed import medians, speeds_in_turn
from unrolled.report.line_chart import Line, Panel, line_chart
from unrolled.report.scales import Axis
from unrolled.runtime.threads import usable_cores
from unrolled.text.corpus import read_corpus

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
    "4000": {"alone": 127, "mixed": 108, "words_per_second": 349},
    "6000": {"alone": 127, "mixed": 109, "words_per_second": 221},
    "8000": {"alone": 124, "mixed": 107, "words_per_second": 145},
    "full": {"alone": 123, "mixed": 106, "words_per_second": 101},
}
SPREAD = {
    "alone": Spread(relative=0.03), "mixed": Spread(relative=0.03), "words_per_second": NOT_COMPARED
}  # fmt: skip

_CLASSES = {
    "smoke": ("30", "100", "full"),
    "laptop": tuple(PUBLISHED),
    "paper": tuple(PUBLISHED),
}
_EPOCHS = {"smoke": 1, "laptop": 8, "paper": 10}
_ROUNDS = {"smoke": 1}  # measurements of speed; else the default
# Validation perplexity with 2,000 classes after six epochs: 135.7 without decay of weights, 131.8
# with it, and 129.6 after eight; without it more epochs overfit, and more dropout is no better.
_NET = {"cell": "elman", "hidden": 200, "dropout_input": 0.1, "dropout_output": 0.3,
        "weight_decay": 0.1, "classes_by": "frequency"}  # fmt: skip


def settings_of(size: str) -> dict[str, dict[str, Any]]:
    """Settings of the net for each number of classes."""
    shared = {**_NET, "epochs": _EPOCHS[size]}
    return {
        classes: {
            **shared,
            **({"output_layer": "full"} if classes == "full" else {"classes": int(classes)}),
        }
        for classes in _CLASSES[size]
    }


def models(size: str) -> list[ModelSpec]:
    """A net for each number of classes, each alone and mixed with the 5-gram model."""
    nets = [net_spec(f"{classes} classes", **own) for classes, own in settings_of(size).items()]
    mixed = [mixture_spec(f"{net.name} + 5-gram", net.name, "5-gram") for net in nets]
    return [ngram_spec("5-gram", 5), *nets, *mixed]


def run(setup: Setup) -> Results:
    """Train all; perplexity, alone and mixed, and speed by the number of classes.

    Speeds of training are measured in turn after all is trained, so that they can be compared.
    """
    result = compare(setup, models(setup.size))
    by_name = {row.name: row for row in result.rows}
    setup.report("speed of training, in turn")
    corpus = read_corpus(texts_of(setup)[0])
    rounds = {"rounds": _ROUNDS[setup.size]} if setup.size in _ROUNDS else {}
    speeds = speeds_in_turn(corpus, settings_of(setup.size), threads=usable_cores(), **rounds)
    speed = medians(speeds)
    table: dict[str, dict[str, Any]] = {
        classes: {
            "alone": by_name[f"{classes} classes"].test_perplexity,
            "mixed": by_name[f"{classes} classes + 5-gram"].test_perplexity,
            "words_per_second": speed[classes],
        }
        for classes in _CLASSES[setup.size]
    }
    for classes, cells in table.items():
        setup.report_row(f"{classes} classes", cells)
    return {
        "table": table, "speeds": speeds, "rows": [asdict(row) for row in result.rows],
        "settings": settings_of(setup.size),
    }  # fmt: skip


def draw(results: Results) -> dict[str, str]:
    """Perplexity and speed against the number of classes, ours and the published."""
    table = results["table"]
    classes = tuple(PUBLISHED)

    def line(name: str, rows: dict[str, Any], column: str, look: tuple[int, int]) -> Line:
        known = [place for place, count in enumerate(classes) if count in rows]
        values = [rows[classes[place]][column] for place in known]
        return Line(name, known, values, *look, marker=look[0])

    x = Axis(
        "classes of words (full: none)",
        names=tuple(name.replace("000", "k") for name in classes),
    )
    perplexities = [
        line(f"{name}{more}", rows, column, (colour, dash))
        for colour, (name, rows) in enumerate((("ours", table), ("published", PUBLISHED)))
        for column, more, dash in (("alone", "", 0), ("mixed", ", mixed", 1))
    ]
    speeds = [
        line(name, rows, "words_per_second", (colour, 0))
        for colour, (name, rows) in enumerate((("ours", table), ("published", PUBLISHED)))
    ]
    perplexity = Axis("test perplexity, Penn Treebank (mixed: with a 5-gram)")
    picture = line_chart(
        [
            Panel(perplexities, x, perplexity, height=170),
            Panel(speeds, x, Axis("training speed, words/s", log=True), height=150),
        ],
        "Perplexity and speed by number of classes",
        shared_y=False,
    )
    return {"": picture}
