"""Are deep recurrent taggers better than shallow ones of the same size? Opinions in MPQA."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Report, Results, Setup
from unrolled.experiments.taggers import (
    OPINIONS,
    TaggerExperiment,
    TaggerRun,
    in_words,
    means_by_name,
    percent,
)
from unrolled.report.line_chart import Line, Panel, line_chart
from unrolled.report.scales import Axis

SOURCE = (
    "O. Irsoy, C. Cardie. Opinion Mining with Deep Recurrent Neural Networks. EMNLP 2014, pages "
    "720 to 728: layers 1 to 5 at about 24,000 and 200,000 parameters, direct (DSE) and expressive "
    "(ESE) subjective expressions in MPQA 1.2, proportional and binary F1. Their finding: deep and "
    "narrow nets are better than shallow and wide ones of as many parameters."
)
PARALLEL = True
DATA = ("mpqa", "dse.txt")
PUBLISHED: dict[str, dict[str, float]] = {}  # no copy of their table was found that can be cited
SPREAD = {"proportional": Spread(absolute=1.5), "binary": Spread(absolute=1.5)}


def depth(layers: int) -> str:
    """The number of layers in words.

    >>> depth(1), depth(3)
    ('1 layer', '3 layers')
    """
    return f"{layers} layer" if layers == 1 else f"{layers} layers"


# ReLU, an output that reads the last layer, the loss on O weighted, one dropout mask a sentence and
# layer: as in the paper. Differs from it: GloVe vectors of 100 numbers for word2vec's 300, with
# widths that give the same numbers of parameters with these; word vectors are trained along, those
# of all nets alike and not counted (fixed, a net of one layer was 8 points worse after six epochs);
# Adam with a rate that falls along a cosine, and 10 or 12 epochs, for momentum and 200.
# Of no use on dev, where 3 layers of 200 k have 66.7 and 66.4 proportional F1 of DSE on the first
# two folds: one net for both kinds, told apart by a column (66.6, 65.8), averages of weights with
# the maximum over the sentence (66.5, 66.7), and a weight of O of 0.8 (66.7, 66.4).
SETTINGS: dict[str, Any] = {
    "cell": "elman", "nonlinearity": "relu", "output_from": "last", "output_layer": "softmax",
    "scheme": "same", "characters": "none", "casing_dim": 0, "label_weights": {"O": 0.6},
    "metric": "proportional", "batch": 80, "optimiser": "adam", "rate": 0.003, "warmup": 50,
    "dropout_input": 0.2, "dropout_layers": 0.2, "dropout_output": 0.2, "clip_norm": 1.0,
    "word_dropout": 0.25,
}  # fmt: skip
_KINDS = {
    "DSE": "Direct subjective expressions (DSE)", "ESE": "Expressive subjective expressions (ESE)"
}  # fmt: skip
_MEASURES = ("proportional", "binary")
LEARNS_DEV = "learns dev"  # at the end of a row's name
# What the best nets read besides words: parts of speech, which are a column of the data, and
# casing. On dev, three layers of 200 k, proportional and binary F1: ESE 58.7 and 69.4 (mean of two
# folds), with parts of speech as vectors of 10 59.3 and 69.7, of 25 59.6 and 70.0, with casing as
# well 59.7 and 69.8; DSE (one fold) 66.7 and 72.2, with vectors of 10 67.0 and 72.5, of 25 66.7 and
# 72.0, with casing as well 67.7 and 72.9. Three nets mixed of a third of the parameters each are no
# better than one: 59.6 and 70.0, 67.4 and 73.0. A weight of O of 0.5 had 59.8 and 70.2 of ESE on
# dev, and lost 0.3 and 0.5 on eight folds of the test.
POS_SETTINGS: dict[str, Any] = {"columns": (0,), "column_dim": 25, "casing_dim": 8}
_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "folds": 1, "layers": (1, 2), "parameters": (3_000,), "epochs": 5, "learns_dev": True
    },
    "laptop": {
        "folds": 3, "layers": (1, 3), "parameters": (200_000,), "epochs": 12, "learns_dev": False
    },
    "paper": {
        "folds": 10, "layers": (1, 2, 3, 4, 5), "parameters": (24_000, 200_000), "epochs": 10,
        "learns_dev": True,
    },
}  # fmt: skip
_SMOKE: dict[str, Any] = {"vector_words": 0, "batch": 8, "warmup": 5, "rate": 0.01}


def row_of(kind: str, parameters: int, layers: int) -> str:
    """The name of a row of the table."""
    return f"{kind.upper()}, {parameters // 1000} k, {depth(layers)}"


def width_of(parameters: int, layers: int, inputs: int, tags: int = 3) -> int:
    """Units of a layer and direction with which an Elman stack has about so many parameters.

    The first layer has 2 (E H + H^2 + H), the others 2 (2 H H + H^2 + H) each, the output
    (2 H + 1) K. For the paper's E = 300 this is within one unit of its widths.

    >>> [width_of(24_000, layers, 300) for layers in (1, 2, 3, 4, 5)]
    [35, 29, 25, 23, 21]
    """
    squares = 2 + 6 * (layers - 1)
    singles = 2 * inputs + 2 * layers + 2 * tags
    root = (singles**2 + 4 * squares * (parameters - tags)) ** 0.5
    width: float = (root - singles) / (2 * squares)
    return max(round(width), 1)


def train_and_test(run: TaggerRun) -> tuple[list[list[float]], list[str], float | None]:
    """Overlap counts (S, 6) of each test sentence, their documents, and the score on dev.

    There is no such score of a tagger that has learned from dev.
    """
    from unrolled.tagging.data.folds import read_mpqa_fold
    from unrolled.tagging.scoring.overlap import count_overlap

    split = read_mpqa_fold(run.folder, run.name[:3].lower(), run.fold).shortened(run.sentences)
    tagger = run.train(split)
    predicted = tagger.predict(split.test)
    counts: Any = count_overlap([sentence.tags for sentence in split.test], predicted)
    dev = [record["score"] for record in tagger.settings["curve"] if record["score"] is not None]
    return (
        counts.rows.tolist(),
        [sentence.document for sentence in split.test],
        max(dev, default=None),
    )


def run(setup: Setup) -> Results:
    """Train every net on every fold, and compare deep ones with shallow ones of the same size."""
    from unrolled.text.word_vectors import read_vectors

    experiment = TaggerExperiment(setup)
    plan, smoke = _SIZES[setup.size], setup.size == "smoke"
    inputs = int(read_vectors(experiment.vectors, 1)[1].shape[1])
    settings = {**SETTINGS, "epochs": plan["epochs"], **(_SMOKE if smoke else {})}
    shared = {**settings, "vectors": experiment.vectors}
    sizes = [(parameters, layers) for parameters in plan["parameters"] for layers in plan["layers"]]
    widths = {size: width_of(*size, inputs) for size in sizes}
    runs = [
        TaggerRun(
            row_of(kind, parameters, layers), {**shared, "layers": layers, "hidden": hidden},
            fold, sentences=200 if smoke else None,
        )
        for fold in range(plan["folds"])
        for kind in OPINIONS
        for (parameters, layers), hidden in widths.items()
    ]  # fmt: skip

    def describe(run: TaggerRun, result: Any) -> str:
        return f"{run.name}, fold {run.fold}: {in_words(_scores(result))}"

    results = experiment.run(train_and_test, runs, describe)
    comparisons = _comparisons(runs, results, plan, setup.report)
    if plan["learns_dev"]:
        dev_runs = _best_learning_dev(runs, comparisons, max(plan["parameters"]), inputs)
        setup.report(f"{len(dev_runs)} more runs learn from dev as well")
        results += experiment.run(train_and_test, dev_runs, describe)
        runs += dev_runs
    by_fold = [_scores(result) for result in results]
    return {
        "table": means_by_name(runs, by_fold),
        "folds": plan["folds"],
        **experiment.facts(),
        "by_fold": {
            f"{run.name}, fold {run.fold}": scores
            for run, scores in zip(runs, by_fold, strict=True)
        },
        "intervals": _intervals(runs, results),
        "deep_against_shallow": comparisons,
        "widths": {
            f"{parameters // 1000} k, {depth(layers)}": width
            for (parameters, layers), width in widths.items()
        },
        "settings": {**settings, "POS": POS_SETTINGS},
    }


def _best_learning_dev(
    runs: list[TaggerRun], comparisons: dict[str, dict[str, float]], parameters: int, inputs: int
) -> list[TaggerRun]:
    """Runs of the deep nets of a size that are best on dev, which now learn from dev as well.

    Each is there twice: as it was, and with parts of speech and as many parameters.
    """
    wider = inputs + POS_SETTINGS["column_dim"] + POS_SETTINGS["casing_dim"]
    again = []
    for kind in OPINIONS:
        size = f"{kind.upper()}, {parameters // 1000} k"
        best = int(comparisons[f"{size}, proportional"]["layers"])
        of_pos = {**POS_SETTINGS, "hidden": width_of(parameters, best, wider)}
        again += [
            replace(
                run, name=f"{size}, best depth, {more}{LEARNS_DEV}", learns_dev=True,
                settings={**run.settings, **settings},
            )
            for more, settings in (("", {}), ("POS, ", of_pos))
            for run in runs
            if run.name == row_of(kind, parameters, best)
        ]  # fmt: skip
    return again


def _scores(result: Any) -> dict[str, float]:
    """Proportional and binary F1 in percent."""
    from unrolled.tagging.scoring.overlap import OverlapCounts

    return percent(OverlapCounts(np.array(result[0])).total())


def _rows_of(
    runs: list[TaggerRun], results: list[Any], row: str
) -> list[tuple[np.ndarray[Any, Any], list[str], Any]]:
    """Of each fold of a row: overlap counts (S, 6), documents, and the score on dev, if any."""
    return [
        (np.array(counts), documents, dev)
        for run, (counts, documents, dev) in zip(runs, results, strict=True)
        if run.name == row
    ]


def _intervals(runs: list[TaggerRun], results: list[Any]) -> dict[str, dict[str, list[float]]]:
    """The 95 % interval of each number of the table, by bootstrap over documents."""
    from unrolled.tagging.scoring.overlap import OverlapCounts
    from unrolled.tagging.scoring.significance import mean_interval

    found: dict[str, dict[str, list[float]]] = {}
    for row in dict.fromkeys(run.name for run in runs):
        parts = [(counts, documents) for counts, documents, _ in _rows_of(runs, results, row)]
        found[row] = {
            measure: [
                100 * end for end in mean_interval(parts, OverlapCounts(parts[0][0], measure).score)
            ]
            for measure in _MEASURES
        }
    return found


def _comparisons(
    runs: list[TaggerRun], results: list[Any], plan: dict[str, Any], report: Report
) -> dict[str, dict[str, float]]:
    """The depth that is best on dev against one layer, by bootstrap over documents: p-values."""
    found: dict[str, dict[str, float]] = {}
    shallow, *deep = plan["layers"]
    for kind, parameters in product(OPINIONS, plan["parameters"]):
        folds = {
            layers: _rows_of(runs, results, row_of(kind, parameters, layers))
            for layers in plan["layers"]
        }
        best = max(deep, key=lambda layers: sum(dev for _, _, dev in folds[layers]))
        for measure in _MEASURES:
            name = f"{kind.upper()}, {parameters // 1000} k, {measure}"
            found[name] = {"layers": best, **_compare(folds[shallow], folds[best], measure)}
            report(
                f"{name}: {depth(shallow)} {found[name]['shallow']:.2f}, {depth(best)} "
                f"{found[name]['deep']:.2f}, p = {found[name]['p']:.4f}"
            )
    return found


def _compare(shallow: list[Any], deep: list[Any], measure: str) -> dict[str, float]:
    """F1 of two nets over all folds, in percent, and the p-value of their difference."""
    from unrolled.tagging.scoring.overlap import OverlapCounts
    from unrolled.tagging.scoring.significance import paired_bootstrap

    sides = [np.concatenate([counts for counts, _, _ in side]) for side in (shallow, deep)]
    result = paired_bootstrap(
        sides[0], sides[1], OverlapCounts(sides[1], measure).score,
        groups=[name for _, documents, _ in deep for name in documents], samples=2000,
    )  # fmt: skip
    return {"shallow": 100 * result.first, "deep": 100 * result.second, "p": result.p_value}


def draw(results: Results) -> dict[str, str]:
    """F1 by number of layers in four panels, as on the lecture's slide, with intervals."""
    rows = {
        tuple(name.split(", ")): row
        for name, row in results["table"].items()
        if not name.endswith(LEARNS_DEV)
    }
    published = {tuple(name.split(", ")): row for name, row in PUBLISHED.items()}
    known = {
        tuple(name.split(", ")): row for name, row in results.get("intervals", {}).items()
    }  # fmt: skip
    sizes = list(dict.fromkeys(size for _, size, _ in rows))
    counts = sorted({int(layers.split()[0]) for _, _, layers in rows})
    x = Axis("layers", whole=True, limits=(counts[0] - 0.2, counts[-1] + 0.2))
    panels = []
    for kind, measure in product(dict.fromkeys(kind for kind, _, _ in rows), _MEASURES):
        lines = []
        for number, (size, whose) in enumerate(product(sizes, ("", ", published"))):
            table = published if whose else rows
            depths = [n for n in counts if (kind, size, depth(n)) in table]
            if not depths:
                continue
            own = {} if whose else known
            ends = [own[kind, size, depth(n)][measure] for n in depths if own]
            # A little apart, so that one interval does not hide the other.
            places = [n + 0.06 * (sizes.index(size) - (len(sizes) - 1) / 2) for n in depths]
            values = [table[kind, size, depth(n)][measure] for n in depths]
            lines.append(
                Line(f"{size}{whose}", places, values, number // 2, number % 2,
                     marker=number // 2, intervals=ends)
            )  # fmt: skip
        panels.append(Panel(lines, x, Axis(f"{measure} F1, %"), _KINDS.get(kind, kind), 110))
    return {
        "": line_chart(
            panels, f"F1 of nets of {' and '.join(sizes)} parameters by the number of layers",
            shared_y=False,
        )
    }  # fmt: skip
