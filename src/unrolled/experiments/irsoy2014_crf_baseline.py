"""What recurrent nets are measured against: a CRF of indicator features, on the same folds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.experiments.finished_runs import FinishedRuns, parts_folder
from unrolled.experiments.taggers import data_folder, how_to_run, mean, train
from unrolled.experiments.worker_pool import Report, side_by_side

if TYPE_CHECKING:
    from unrolled.tagging.data.columns import TaggedSentence

SOURCE = (
    "O. Irsoy, C. Cardie. Opinion Mining with Deep Recurrent Neural Networks. EMNLP 2014: the CRF "
    "and semi-CRF that the nets are compared with, on MPQA 1.2, proportional and binary F1."
)
# Its CRF also knew phrases and lists of opinion words.
REMEMBERED = True  # the published numbers are not checked against the paper
PUBLISHED = {
    "DSE": {"proportional": 57.74, "binary": 64.45},
    "ESE": {"proportional": 48.10, "binary": 58.85},
}
# Weights for the word, its part of speech, its end and how it is written, at the word itself and
# four to both sides; nothing is recurrent.
SETTINGS: dict[str, Any] = {
    "layers": 0, "embedding": 1, "characters": "none", "casing_dim": 0, "output_layer": "crf",
    "scheme": "same", "columns": (0, 1, 2, 3), "column_window": 4, "dropout_input": 0.0,
    "batch": 32, "rate": 0.01, "weight_decay": 0.01, "metric": "proportional",
    "word_dropout": 0.0, "warmup": 0,
}  # fmt: skip
_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"folds": 1, "epochs": 20},
    "laptop": {"folds": 3, "epochs": 8},
    "paper": {"folds": 10, "epochs": 15},
}
KINDS = ("dse", "ese")


@dataclass(frozen=True)
class Run:
    """One CRF: the kind of expressions and the fold."""

    folder: str
    kind: str
    fold: int
    epochs: int
    device: str = "cpu"

    @property
    def row(self) -> str:
        """Its row of the table."""
        return self.kind.upper()


def with_features(sentence: TaggedSentence) -> TaggedSentence:
    """The sentence with columns of lower-case words, parts of speech, ends, and looks.

    >>> from unrolled.tagging.data.columns import TaggedSentence
    >>> with_features(TaggedSentence(("Saying", "so"), ("B", "O"), (("VBG", "RB"),))).columns
    (('saying', 'so'), ('VBG', 'RB'), ('ing', 'so'), ('2', '1'))
    """
    from unrolled.tagging.data.features import shape_of

    lower = tuple(word.lower() for word in sentence.words)
    ends = tuple(word[-3:] for word in lower)
    looks = tuple(str(shape_of(word)) for word in sentence.words)
    return replace(sentence, columns=(lower, sentence.columns[0], ends, looks))


def train_and_test(run: Run) -> tuple[float, float]:
    """Proportional and binary F1 on the test part of a fold, in percent."""
    from unrolled.tagging.data.folds import Split, read_mpqa_fold
    from unrolled.tagging.scoring.overlap import score_overlap

    plain = read_mpqa_fold(run.folder, run.kind, run.fold)
    split = Split(
        *([with_features(item) for item in part] for part in (plain.train, plain.dev, plain.test))
    )
    tagger = train(split, run.device, {**SETTINGS, "epochs": run.epochs})
    found = tagger.tag(split.test, confidences=False)
    gold = [sentence.tags for sentence in split.test]
    scores = score_overlap(gold, [result.tags for result in found])
    return 100 * scores.proportional_f1, 100 * scores.binary_f1


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
    """Train a CRF for each fold and kind; means over folds."""
    given = data_folder(data, "mpqa", "dse.txt")
    workers, device = how_to_run(size, jobs, device)
    plan = _SIZES[size]
    runs = [
        Run(str(given), kind, fold, plan["epochs"], device)
        for fold in range(plan["folds"])
        for kind in KINDS
    ]

    def done(run: Run, result: tuple[float, float]) -> None:
        report(f"{run.row}, fold {run.fold}: proportional {result[0]:.2f}, binary {result[1]:.2f}")

    kept = FinishedRuns(parts_folder(folder, "irsoy2014-crf-baseline", size), [given], SETTINGS)
    results = side_by_side(
        train_and_test, runs, workers=workers, done=done, kept=kept, report=report
    )
    table = {}
    for kind in KINDS:
        own = [result for run, result in zip(runs, results, strict=True) if run.kind == kind]
        table[kind.upper()] = {
            "proportional": mean(result[0] for result in own),
            "binary": mean(result[1] for result in own),
        }
    return {
        "table": table,
        "folds": plan["folds"],
        "device": device,
        "jobs": workers,
        "settings": {**SETTINGS, "epochs": plan["epochs"]},
    }
