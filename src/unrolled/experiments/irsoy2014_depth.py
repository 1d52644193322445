"""Are deep recurrent taggers better than shallow ones of the same size? Opinions in MPQA."""

from __future__ import annotations

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
# Adam with a rate that falls along a cosine, and a tenth of the epochs, for momentum.
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
_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"folds": 1, "layers": (1, 2), "parameters": (3_000,), "epochs": 2},
    "laptop": {"folds": 3, "layers": (1, 3), "parameters": (200_000,), "epochs": 12},
    "paper": {
        "folds": 10, "layers": (1, 2, 3, 4, 5), "parameters": (24_000, 200_000), "epochs": 20
    },
}  # fmt: skip


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


def train_and_test(run: TaggerRun) -> tuple[list[list[float]], list[str], float]:
    """Overlap counts (S, 6) of each test sentence, their documents, and the score on dev."""
    from unrolled.tagging.data.folds import read_mpqa_fold
    from unrolled.tagging.scoring.overlap import count_overlap

    tagger, split = run.train(read_mpqa_fold(run.folder, run.name[:3].lower(), run.fold))
    predicted = tagger.predict([sentence.words for sentence in split.test])
    counts: Any = count_overlap([sentence.tags for sentence in split.test], predicted)
    best = max(record["score"] for record in tagger.settings["curve"])
    return counts.rows.tolist(), [sentence.document for sentence in split.test], best


def run(setup: Setup) -> Results:
    """Train every net on every fold, and compare deep ones with shallow ones of the same size."""
    from unrolled.text.word_vectors import read_vectors

    experiment = TaggerExperiment(setup, "mpqa", "dse.txt")
    plan, smoke = _SIZES[setup.size], setup.size == "smoke"
    inputs = int(read_vectors(experiment.vectors, 1)[1].shape[1])
    shared = {**SETTINGS, "epochs": plan["epochs"], "vectors": experiment.vectors}
    if smoke:
        shared["vector_words"] = 0
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
    by_fold = [_scores(result) for result in results]
    table = means_by_name(runs, by_fold)
    return {
        "table": table,
        "folds": plan["folds"],
        **experiment.facts(),
        "by_fold": {
            f"{run.name}, fold {run.fold}": scores
            for run, scores in zip(runs, by_fold, strict=True)
        },
        "deep_against_shallow": _comparisons(runs, results, plan, setup.report),
        "widths": {
            f"{parameters // 1000} k, {depth(layers)}": width
            for (parameters, layers), width in widths.items()
        },
        "settings": {**SETTINGS, "epochs": plan["epochs"]},
    }


def _scores(result: Any) -> dict[str, float]:
    """Proportional and binary F1 in percent."""
    from unrolled.tagging.scoring.overlap import OverlapCounts

    return percent(OverlapCounts(np.array(result[0])).total())


def _comparisons(
    runs: list[TaggerRun], results: list[Any], plan: dict[str, Any], report: Report
) -> dict[str, dict[str, float]]:
    """Three layers (or the most there are) against one, by bootstrap over documents: p-values."""
    from unrolled.tagging.scoring.overlap import OverlapCounts
    from unrolled.tagging.scoring.significance import paired_bootstrap

    deep, shallow = min(3, max(plan["layers"])), min(plan["layers"])
    found: dict[str, dict[str, float]] = {}
    for kind in OPINIONS:
        for parameters in plan["parameters"]:
            sides = []
            for layers in (shallow, deep):
                row = row_of(kind, parameters, layers)
                own = [found for run, found in zip(runs, results, strict=True) if run.name == row]
                sides.append(np.concatenate([result[0] for result in own]))
                groups = [name for result in own for name in result[1]]
            for measure in ("proportional", "binary"):
                result = paired_bootstrap(
                    sides[0], sides[1], OverlapCounts(sides[1], measure).score,
                    groups=groups, samples=2000,
                )  # fmt: skip
                name = f"{kind.upper()}, {parameters // 1000} k, {measure}"
                first, second = 100 * result.first, 100 * result.second
                found[name] = {"shallow": first, "deep": second, "p": result.p_value}
                report(
                    f"{name}: {depth(shallow)} {first:.2f}, {depth(deep)} {second:.2f}, "
                    f"p = {result.p_value:.4f}"
                )
    return found


def draw(results: Results) -> dict[str, str]:
    """F1 by number of layers, as on the lecture's slide, ours and the published."""
    rows = {tuple(name.split(", ")): row for name, row in results["table"].items()}
    published = {tuple(name.split(", ")): row for name, row in PUBLISHED.items()}
    sizes = list(dict.fromkeys(size for _, size, _ in rows))
    counts = sorted({int(layers.split()[0]) for _, _, layers in rows})
    panels = []
    for kind in dict.fromkeys(kind for kind, _, _ in rows):
        lines = []
        for number, (size, measure) in enumerate(product(sizes, ("proportional", "binary"))):
            for whose, known, dash in (("", rows, 0), (", published", published, 1)):
                places = [n for n in counts if (kind, size, depth(n)) in known]
                values = [known[kind, size, depth(n)][measure] for n in places]
                name = f"{measure}{whose}" if len(sizes) == 1 else f"{size}, {measure}{whose}"
                if values:
                    lines.append(Line(name, places, values, number, dash, marker=number))
        x = Axis("layers", whole=True, limits=(counts[0] - 0.2, counts[-1] + 0.2))
        panels.append(Panel(lines, x, Axis("F1, %"), _KINDS.get(kind, kind), 150))
    return {
        "": line_chart(
            panels, f"F1 of nets of {' and '.join(sizes)} parameters by the number of layers"
        )
    }
