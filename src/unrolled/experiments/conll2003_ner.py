"""Names in news: CoNLL-2003 English with and without word vectors, characters and a CRF."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from unrolled.experiments.checks import Spread
from unrolled.experiments.setup import Results, Setup
from unrolled.experiments.taggers import TaggerExperiment, TaggerRun

SOURCE = (
    "CoNLL-2003 English named entities (Tjong Kim Sang and De Meulder 2003), exact span F1 on "
    "eng.testb by conlleval. Published: NCRF++ (Yang and Zhang 2018) with an LSTM of words and "
    "GloVe vectors; flair; MITIE."
)
PARALLEL = True
DATA = ("conll2003", "eng.train")
PUBLISHED = {
    "characters, CRF, vectors": {"test F1": 91.26},
    "CRF, vectors": {"test F1": 89.45},
    "vectors": {"test F1": 88.57},
    "MITIE": {"test F1": 88.10},
    "flair": {"test F1": 93.09},
}
SPREAD = {"test F1": Spread(absolute=0.6), "dev F1": Spread(absolute=0.6)}

# Nets without word vectors do better with this: they must learn more from letters.
WITHOUT_VECTORS: dict[str, Any] = {"word_dropout": 1.0}
_NONE: dict[str, Any] = {"characters": "none", "casing_dim": 0}
_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 1, "hidden": 20, "vector_words": 0},
    "laptop": {"epochs": 30},
    "paper": {"epochs": 60},
}
_ROWS: dict[str, tuple[bool, dict[str, Any]]] = {
    "characters, CRF, vectors": (True, {}),
    "characters, CRF": (False, WITHOUT_VECTORS),
    "CRF, vectors": (True, _NONE),
    "vectors": (True, {**_NONE, "output_layer": "softmax"}),
}
_ROWS_OF = {
    "smoke": ("characters, CRF, vectors", "characters, CRF"),
    "laptop": ("characters, CRF, vectors", "characters, CRF"),
    "paper": tuple(_ROWS),
}


def train_and_test(run: TaggerRun) -> dict[str, Any]:
    """Scores on dev and test, time, and speed of tagging."""
    from unrolled.tagging.data.folds import read_conll2003

    split = read_conll2003(run.folder).shortened(run.sentences)
    began = time.perf_counter()
    tagger = run.train(split)
    seconds = time.perf_counter() - began
    tagger.save(run.output)
    began = time.perf_counter()
    scores = tagger.evaluate(split.test)
    speed = scores.tokens / (time.perf_counter() - began)
    training, curve = tagger.settings["training"], tagger.settings["curve"]
    return {
        "test": scores.as_dict(),
        "dev": max(record["score"] for record in curve),
        "table": scores.table(),
        "training_seconds": seconds,
        "training_tokens_per_second": curve[-1]["tokens_per_second"],
        "tagging_tokens_per_second": speed,
        "parameters": tagger.parameters,
        "curve": curve,
        "training": {**training, "vectors": Path(training["vectors"]).name},
    }


def run(setup: Setup) -> Results:
    """Train the taggers of the table in parallel, each on one core."""
    experiment = TaggerExperiment(setup)
    runs = []
    for name in _ROWS_OF[setup.size]:
        with_vectors, changes = _ROWS[name]
        settings = {**_SIZES[setup.size], **changes}
        if with_vectors:
            settings["vectors"] = experiment.vectors
        output = setup.output / f"conll2003-{name.replace(', ', '-')}.safetensors"
        most = 100 if setup.size == "smoke" else None
        runs.append(TaggerRun(name, settings, sentences=most, output=str(output)))

    def describe(run: TaggerRun, result: dict[str, Any]) -> str:
        return f"{run.name}:\n{result['table']}\n{result['training_seconds']:.0f} s"

    results = experiment.run(train_and_test, runs, describe)
    found = {run.name: result for run, result in zip(runs, results, strict=True)}
    return {
        "table": {
            name: {"test F1": 100 * result["test"]["f1"], "dev F1": 100 * result["dev"]}
            for name, result in found.items()
        },
        **experiment.facts(),
        "runs": found,
    }
