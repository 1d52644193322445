"""Names in news: CoNLL-2003 English with and without word vectors, characters and a CRF."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from unrolled.comparison.provenance import file_facts
from unrolled.experiments.finished_runs import FinishedRuns, parts_folder
from unrolled.experiments.taggers import (
    TaggerRun,
    data_folder,
    how_to_run,
    shortened,
    train,
    vectors_file,
)
from unrolled.experiments.worker_pool import Report, side_by_side

SOURCE = (
    "CoNLL-2003 English named entities (Tjong Kim Sang and De Meulder 2003), exact span F1 on "
    "eng.testb by conlleval. Published: NCRF++ (Yang and Zhang 2018) with an LSTM of words and "
    "GloVe vectors; flair; MITIE."
)
PUBLISHED = {
    "characters, CRF, vectors": {"test F1": 91.26},
    "CRF, vectors": {"test F1": 89.45},
    "vectors": {"test F1": 88.57},
    "MITIE": {"test F1": 88.10},
    "flair": {"test F1": 93.09},
}

# What the nets without word vectors do better with: letters matter more, and rare words are rarer
# still at first sight.
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

    split = shortened(read_conll2003(run.folder), run.sentences)
    began = time.perf_counter()
    tagger = train(split, run.device, run.settings)
    seconds = time.perf_counter() - began
    tagger.save(run.output)
    began = time.perf_counter()
    scores = tagger.evaluate(split.test)
    speed = scores.tokens / (time.perf_counter() - began)
    training = tagger.settings["training"]
    return {
        "test": scores.as_dict(),
        "dev": max(record["score"] for record in tagger.settings["curve"]),
        "table": scores.table(),
        "training_seconds": seconds,
        "training_tokens_per_second": tagger.settings["curve"][-1]["tokens_per_second"],
        "tagging_tokens_per_second": speed,
        "parameters": tagger.parameters,
        "curve": tagger.settings["curve"],
        "training": {**training, "vectors": Path(training["vectors"]).name},
    }


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
    """Train the taggers of the table side by side, each on one core."""
    given = data_folder(data, "conll2003", "eng.train")
    vectors = vectors_file(given)
    workers, device = how_to_run(size, jobs, device)
    runs = []
    for name in _ROWS_OF[size]:
        with_vectors, changes = _ROWS[name]
        settings = {**_SIZES[size], **changes}
        if with_vectors:
            settings["vectors"] = vectors
        output = folder / f"conll2003-{name.replace(', ', '-')}.safetensors"
        most = 100 if size == "smoke" else None
        runs.append(TaggerRun(str(given), name, settings, most, str(output), device))

    def done(run: TaggerRun, result: dict[str, Any]) -> None:
        report(f"{run.name}:\n{result['table']}\n{result['training_seconds']:.0f} s")

    kept = FinishedRuns(parts_folder(folder, "conll2003-ner", size), [given, vectors])
    results = side_by_side(
        train_and_test, runs, workers=workers, done=done, kept=kept, report=report
    )
    found = {run.name: result for run, result in zip(runs, results, strict=True)}
    return {
        "table": {
            name: {"test F1": 100 * result["test"]["f1"], "dev F1": 100 * result["dev"]}
            for name, result in found.items()
        },
        "vectors": file_facts(vectors),
        "device": device,
        "jobs": workers,
        "runs": found,
    }
