"""Small data of the layout that experiments read, and the committed results of smoke runs.

Smoke runs that need no data of their own have theirs in ``results/smoke``:

    unrolled experiment NAME --size smoke --seeds 8 -o results/smoke

Those on the data that this module writes are in ``tests/experiments/smoke``; it writes them again:

    python tests/experiments/small_data.py [NAME...]
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tagging.small_taggers import sentences
from unrolled.experiments import experiment_of, run_experiment
from unrolled.experiments.checks import compare_with_record
from unrolled.tagging.data.columns import TaggedSentence, write_columns

KIND_WORDS = ("Ann", "Bob", "met", "in", "Rome", "Oslo", ".", "smith")
ON_SMALL_DATA = Path(__file__).parent / "smoke"
WITHOUT_DATA = Path(__file__).parents[2] / "results" / "smoke"


def outside_its_spread(name: str, results: dict[str, Any]) -> list[str]:
    """What is outside its spread in the table of a smoke run."""
    path = ON_SMALL_DATA / f"{name}-smoke.json"
    if not path.is_file():
        path = WITHOUT_DATA / path.name
    stated = vars(experiment_of(name)).get("SPREAD", {})
    found = compare_with_record(results["table"], json.loads(path.read_text()), stated)
    assert found.compared > 0
    return [str(deviation) for deviation in found.outside]


def write_vectors(folder: Path) -> None:
    """Vectors of eight numbers for some words, in a folder 'vectors' of the folder."""
    (folder / "vectors").mkdir()
    rows = [
        f"{word.lower()} " + " ".join(str(((7 * k + j * j) % 11) / 10 - 0.5) for j in range(8))
        for k, word in enumerate(KIND_WORDS)
    ]
    (folder / "vectors" / "v.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _opinions(sentence: TaggedSentence) -> TaggedSentence:
    """Tags without labels and a column of parts of speech, as those of MPQA."""
    tags = tuple(tag[0] for tag in sentence.tags)
    return dataclasses.replace(sentence, tags=tags, columns=(("NN",) * len(tags),))


def write_mpqa(folder: Path) -> Path:
    """Opinions in seven documents, and ten folds of them."""
    lists = folder / "datasplit"
    lists.mkdir(parents=True)
    write_vectors(folder)
    data = [_opinions(sentence) for sentence in sentences(70)]
    for kind in ("dse", "ese"):
        write_columns(data, folder / f"{kind}.txt", separator="\t")
    names = [f"doc{number % 7}" for number in range(70)]
    ids = [f"{number % 7} {number} {name}" for number, name in enumerate(names)]
    (folder / "sentenceid.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    (lists / "doclist.mpqaOriginalSubset").write_text("\n".join(sorted(set(names))) + "\n")
    for fold in range(10):
        (lists / f"filelist_test{fold}").write_text("doc0\n")
        (lists / f"filelist_train{fold}").write_text("doc1\ndoc2\ndoc3\ndoc4\n")
    return folder


def write_conll2003(folder: Path) -> Path:
    """Names in three files."""
    folder.mkdir()
    write_vectors(folder)
    for seed, name in enumerate(("eng.train", "eng.testa", "eng.testb")):
        write_columns(sentences(40, seed=seed, scheme="IOB1"), folder / name)
    return folder


def write_sentiment(folder: Path) -> Path:
    """Laptops and one fold of tweets."""
    folder.mkdir()
    write_vectors(folder)
    for name in ("laptop14", "twitter1"):
        for seed, part in enumerate(("train", "dev", "test")):
            write_columns(sentences(30, seed=seed, scheme="IOBES"), folder / f"{name}_{part}.txt")
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "irsoy2014-depth": write_mpqa,
    "irsoy2014-crf-baseline": write_mpqa,
    "conll2003-ner": write_conll2003,
    "entity-sentiment": write_sentiment,
}


def main() -> None:
    """Write the results of the smoke runs named, or of all, again."""
    for name in sys.argv[1:] or WRITERS:
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary) / "out"
            data = WRITERS[name](Path(temporary) / "data")
            run_experiment(name, data, size="smoke", output=out, seeds=8, report=print)
            text = (out / f"{name}-smoke.json").read_text(encoding="utf-8")
            (ON_SMALL_DATA / f"{name}-smoke.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
