"""Are deep recurrent taggers better than shallow ones of the same size? Opinions in MPQA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.comparison.provenance import file_facts
from unrolled.experiments.finished_runs import FinishedRuns, parts_folder
from unrolled.experiments.taggers import (
    data_folder,
    how_to_run,
    mean,
    shortened,
    train,
    vectors_file,
)
from unrolled.experiments.worker_pool import Report, side_by_side

if TYPE_CHECKING:
    from unrolled.tagging.scoring.overlap import OverlapCounts

SOURCE = (
    "O. Irsoy, C. Cardie. Opinion Mining with Deep Recurrent Neural Networks. EMNLP 2014: layers 1 "
    "to 5 at about 24,000 and 200,000 parameters, direct (DSE) and expressive (ESE) subjective "
    "expressions in MPQA 1.2, proportional and binary F1."
)
REMEMBERED = True  # the published numbers are not checked against the paper
PUBLISHED: dict[str, dict[str, float]] = {}
_DSE_24 = ((63.83, 69.62), (64.70, 70.52), (64.57, 70.55), (64.96, 70.69), (58.60, 65.06))
_DSE_200 = ((64.09, 69.85), (64.47, 70.36), (66.01, 71.72), (62.56, 69.01), (61.93, 68.25))
_ESE_24 = ((54.22, 65.44), (55.63, 66.64), (55.40, 66.36), (54.94, 66.15), (49.25, 61.61))
for _kind, _size, _rows in (("DSE", 24, _DSE_24), ("DSE", 200, _DSE_200), ("ESE", 24, _ESE_24)):
    for _layers, (_proportional, _binary) in enumerate(_rows, 1):
        PUBLISHED[f"{_kind}, {_size} k, {_layers} layers"] = {
            "proportional": _proportional, "binary": _binary
        }  # fmt: skip
PUBLISHED["ESE, 200 k, 3 layers"] = {"proportional": 56.26, "binary": 67.18}

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
KINDS = ("dse", "ese")
_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"folds": 1, "layers": (1, 2), "parameters": (3_000,), "epochs": 2},
    "laptop": {"folds": 3, "layers": (1, 3), "parameters": (200_000,), "epochs": 12},
    "paper": {
        "folds": 10, "layers": (1, 2, 3, 4, 5), "parameters": (24_000, 200_000), "epochs": 20
    },
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One net: what it is trained on and how large it is."""

    folder: str
    vectors: str
    kind: str
    fold: int
    layers: int
    parameters: int
    epochs: int
    sentences: int | None = None
    device: str = "cpu"

    @property
    def row(self) -> str:
        """Its row of the table."""
        return f"{self.kind.upper()}, {self.parameters // 1000} k, {self.layers} layers"


def width_of(parameters: int, layers: int, inputs: int, tags: int = 3) -> int:
    """Units of a layer and direction with which an Elman stack has about so many parameters.

    The first layer has 2 (E H + H^2 + H), the others 2 (2 H H + H^2 + H) each, the output
    (2 H + 1) K. For the paper's E = 300 this is within one unit of the widths that it tells.

    >>> [width_of(24_000, layers, 300) for layers in (1, 2, 3, 4, 5)]
    [35, 29, 25, 23, 21]
    """
    squares = 2 + 6 * (layers - 1)
    singles = 2 * inputs + 2 * layers + 2 * tags
    root = (singles**2 + 4 * squares * (parameters - tags)) ** 0.5
    width: float = (root - singles) / (2 * squares)
    return max(round(width), 1)


def train_and_test(run: Run, **changes: Any) -> tuple[list[list[float]], list[str], float]:
    """Overlap counts (S, 6) of each test sentence, their documents, and the score on dev."""
    from unrolled.tagging.data.folds import read_mpqa_fold
    from unrolled.tagging.scoring.overlap import count_overlap

    split = shortened(read_mpqa_fold(run.folder, run.kind, run.fold), run.sentences)
    settings = {**SETTINGS, "layers": run.layers, "epochs": run.epochs, "vectors": run.vectors}
    if run.sentences:
        settings["vector_words"] = 0  # for a run of seconds
    settings["hidden"] = width_of(run.parameters, run.layers, _width(run.vectors))
    tagger = train(split, run.device, {**settings, **changes})
    predicted = tagger.predict([sentence.words for sentence in split.test])
    counts: OverlapCounts = count_overlap([sentence.tags for sentence in split.test], predicted)
    best = max(record["score"] for record in tagger.settings["curve"])
    return counts.rows.tolist(), [sentence.document for sentence in split.test], best


def _width(vectors: str) -> int:
    """E of a file of vectors."""
    from unrolled.text.word_vectors import read_vectors

    return int(read_vectors(vectors, 1)[1].shape[1])


def run(
    data: Path | None,
    size: str,
    folder: Path,
    report: Report,
    /,
    *,
    jobs: int | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Train every net on every fold, and set deep ones against shallow ones of the same size."""
    from unrolled.report.experiment_plots import require_matplotlib

    require_matplotlib()
    given = data_folder(data, "mpqa", "dse.txt")
    workers, device = how_to_run(size, jobs, device)
    plan = _SIZES[size]
    vectors = vectors_file(given)
    runs = [
        Run(
            str(given), vectors, kind, fold, layers, parameters, plan["epochs"],
            sentences=200 if size == "smoke" else None, device=device,
        )
        for fold in range(plan["folds"])
        for kind in KINDS
        for parameters in plan["parameters"]
        for layers in plan["layers"]
    ]  # fmt: skip

    def done(run: Run, result: Any) -> None:
        proportional, binary = _scores(result[0])
        report(f"{run.row}, fold {run.fold}: proportional {proportional:.2f}, binary {binary:.2f}")

    kept = FinishedRuns(parts_folder(folder, "irsoy2014-depth", size), [given, vectors], SETTINGS)
    results = side_by_side(
        train_and_test, runs, workers=workers, done=done, kept=kept, report=report
    )
    table = _table(runs, results)
    return {
        "table": table,
        "folds": plan["folds"],
        "vectors": file_facts(vectors),
        "device": device,
        "jobs": workers,
        "by_fold": {
            f"{run.row}, fold {run.fold}": dict(
                zip(("proportional", "binary"), _scores(result[0]), strict=True)
            )
            for run, result in zip(runs, results, strict=True)
        },
        "deep_against_shallow": _comparisons(runs, results, plan, report),
        "widths": {
            f"{parameters // 1000} k, {layers} layers": width_of(
                parameters, layers, _width(vectors)
            )
            for parameters in plan["parameters"]
            for layers in plan["layers"]
        },
        "settings": {**SETTINGS, "epochs": plan["epochs"]},
        "pictures": [_picture(table, plan, folder / f"irsoy2014-depth-{size}.svg")],
    }


def _scores(rows: list[list[float]]) -> tuple[float, float]:
    """Proportional and binary F1 in percent."""
    from unrolled.tagging.scoring.overlap import OverlapCounts

    total = OverlapCounts(np.array(rows)).total()
    return 100 * total.proportional_f1, 100 * total.binary_f1


def _table(runs: list[Run], results: list[Any]) -> dict[str, dict[str, float]]:
    """The mean over folds of each row."""
    table: dict[str, dict[str, float]] = {}
    for row in dict.fromkeys(run.row for run in runs):
        own = [
            _scores(result[0]) for run, result in zip(runs, results, strict=True) if run.row == row
        ]
        table[row] = {
            "proportional": mean(score[0] for score in own),
            "binary": mean(score[1] for score in own),
        }
    return table


def _comparisons(
    runs: list[Run], results: list[Any], plan: dict[str, Any], report: Report
) -> dict[str, dict[str, float]]:
    """Three layers (or the most there are) against one, documents drawn anew: p-values."""
    from unrolled.tagging.scoring.overlap import OverlapCounts
    from unrolled.tagging.scoring.significance import compare

    deep, shallow = min(3, max(plan["layers"])), min(plan["layers"])
    found: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        for parameters in plan["parameters"]:
            sides = []
            for layers in (shallow, deep):
                own = [
                    result
                    for run, result in zip(runs, results, strict=True)
                    if (run.kind, run.parameters, run.layers) == (kind, parameters, layers)
                ]
                sides.append(np.concatenate([result[0] for result in own]))
                groups = [name for result in own for name in result[1]]
            for measure in ("proportional", "binary"):
                result = compare(
                    OverlapCounts(sides[0], measure), OverlapCounts(sides[1], measure),
                    groups=groups, samples=2000,
                )  # fmt: skip
                name = f"{kind.upper()}, {parameters // 1000} k, {measure}"
                found[name] = {
                    "shallow": 100 * result.first,
                    "deep": 100 * result.second,
                    "p": result.p_value,
                }
                report(
                    f"{name}: {shallow} layer {100 * result.first:.2f}, {deep} layers "
                    f"{100 * result.second:.2f}, p = {result.p_value:.4f}"
                )
    return found


def _picture(table: dict[str, dict[str, float]], plan: dict[str, Any], path: Path) -> str:
    """F1 against layers, as on the lecture's slide; the name of the file."""
    from unrolled.report.experiment_plots import line_panels

    layers = list(plan["layers"])
    panels: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        for parameters in plan["parameters"]:
            own = f"{parameters // 1000} k"
            rows = [table[f"{kind.upper()}, {own}, {count} layers"] for count in layers]
            panel = panels.setdefault(kind.upper(), {})
            for measure in ("proportional", "binary"):
                panel[f"{own}, {measure}"] = (layers, [row[measure] for row in rows])
    path.write_text(
        line_panels(panels, x_label="layers", y_label="F1, %", markers=True), encoding="utf-8"
    )
    return path.name
