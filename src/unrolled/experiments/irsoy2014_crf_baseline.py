"""The baseline of recurrent nets: a CRF of indicator features, on the same folds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.taggers import (
    OPINIONS,
    TaggerExperiment,
    TaggerRun,
    in_words,
    means_by_name,
    percent,
)

if TYPE_CHECKING:
    from unrolled.tagging.data.columns import TaggedSentence

SOURCE = (
    "O. Irsoy, C. Cardie. Opinion Mining with Deep Recurrent Neural Networks. EMNLP 2014, pages "
    "720 to 728: a CRF, with which the nets are compared, on MPQA 1.2, proportional and binary F1. "
    "Its CRFs also knew phrases and lists of opinion words."
)
PARALLEL = True
DATA = ("mpqa", "dse.txt")
PUBLISHED: dict[str, dict[str, float]] = {}  # no copy of their table was found that can be cited
SPREAD = {"proportional": Spread(absolute=1.0), "binary": Spread(absolute=1.0)}
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


def with_features(sentence: TaggedSentence) -> TaggedSentence:
    """The sentence with columns of lower-case words, parts of speech, suffixes, and shapes.

    >>> from unrolled.tagging.data.columns import TaggedSentence
    >>> with_features(TaggedSentence(("Saying", "so"), ("B", "O"), (("VBG", "RB"),))).columns
    (('saying', 'so'), ('VBG', 'RB'), ('ing', 'so'), ('2', '1'))
    """
    from unrolled.tagging.data.features import shape_of

    lower = tuple(word.lower() for word in sentence.words)
    suffixes = tuple(word[-3:] for word in lower)
    shapes = tuple(str(shape_of(word)) for word in sentence.words)
    return replace(sentence, columns=(lower, sentence.columns[0], suffixes, shapes))


def train_and_test(run: TaggerRun) -> dict[str, float]:
    """Proportional and binary F1 on the test part of a fold, in percent."""
    from unrolled.tagging.data.folds import read_mpqa_fold
    from unrolled.tagging.scoring.overlap import score_overlap

    split = read_mpqa_fold(run.folder, run.name.lower(), run.fold).shortened(run.sentences)
    split = split.changed(with_features)
    tagger = run.train(split)
    found = tagger.tag(split.test, confidences=False)
    gold = [sentence.tags for sentence in split.test]
    return percent(score_overlap(gold, [result.tags for result in found]))


def run(setup: Setup) -> Results:
    """Train a CRF for each fold and kind; means over folds."""
    experiment = TaggerExperiment(setup, with_vectors=False)
    plan = _SIZES[setup.size]
    settings = {**SETTINGS, "epochs": plan["epochs"]}
    runs = [
        TaggerRun(kind.upper(), settings, fold)
        for fold in range(plan["folds"])
        for kind in OPINIONS
    ]

    def describe(run: TaggerRun, found: dict[str, float]) -> str:
        return f"{run.name}, fold {run.fold}: {in_words(found)}"

    results = experiment.run(train_and_test, runs, describe)
    return {
        "table": means_by_name(runs, results),
        "folds": plan["folds"],
        **experiment.facts(),
        "settings": settings,
    }
