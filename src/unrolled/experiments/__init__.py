"""Published tables and figures, run again: one file each, with its source and its numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from unrolled.errors import SettingError

# Name on the command line -> module.
EXPERIMENTS = {
    "mikolov2011-table2": "mikolov2011_table2",
    "mikolov2011-table3": "mikolov2011_table3",
    "ladder": "cell_ladder",
    "large-lstm": "large_lstm",
}
SIZES = ("smoke", "laptop", "paper")


@dataclass(frozen=True)
class Texts:
    """Files to train, validate and test on."""

    train: str
    valid: str
    test: str


_SMOKE_LINES = 2000


def texts_in(folder: Path) -> Texts:
    """The files of a folder whose names hold train, valid and test, one of each.

    Raises:
        SettingError: none or several of a kind.
    """
    found = []
    for part in ("train", "valid", "test"):
        files = sorted(str(file) for file in folder.glob(f"*{part}*") if file.is_file())
        if len(files) != 1:
            raise SettingError(
                f"{len(files)} files have '{part}' in their names, and one must",
                where=str(folder),
            )
        found += files
    return Texts(*found)


def demo_texts(folder: Path) -> Texts:
    """The demo text."""
    from unrolled.demo import demo_text

    return Texts(*(str(path) for path in demo_text(folder)))


def _shortened(texts: Texts, folder: Path) -> Texts:
    """The first lines of each text, for a run of seconds."""
    from itertools import islice

    from unrolled.corpus import iter_sentences

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, path in asdict(texts).items():
        lines = list(islice(iter_sentences(path), _SMOKE_LINES))
        target = folder / f"{part}.txt"
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")
        paths.append(str(target))
    return Texts(*paths)


class Experiment(Protocol):
    """What a file of this folder offers."""

    SOURCE: str
    PUBLISHED: dict[str, Any]

    def run(
        self, texts: Texts, size: str, folder: Path, report: Callable[[str], None]
    ) -> dict[str, Any]:
        """Run it, keep models and pictures in a folder, and give back its results for JSON."""


def run_experiment(
    name: str,
    texts: Texts,
    *,
    size: str = "laptop",
    output: Path,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run an experiment and write ``NAME-SIZE.json`` and what else it makes into a folder.

    Args:
        size: ``smoke`` (seconds, on a part of the text), ``laptop`` (minutes) or ``paper``.

    Raises:
        SettingError: an unknown name or size.
    """
    import json
    import time

    from unrolled.atomic import atomic_write
    from unrolled.ladder import machine, text_facts

    if name not in EXPERIMENTS:
        raise SettingError(
            f"there is no experiment '{name}'", hint="Known: " + ", ".join(EXPERIMENTS)
        )
    if size not in SIZES:
        raise SettingError(f"size '{size}' is unknown, allowed are {', '.join(SIZES)}")
    module: Any = importlib.import_module(f"unrolled.experiments.{EXPERIMENTS[name]}")
    output.mkdir(parents=True, exist_ok=True)
    if size == "smoke":
        texts = _shortened(texts, output / "smoke")
    began = time.perf_counter()
    results = module.run(texts, size, output, report or (lambda line: None))
    record = {
        "experiment": name,
        "size": size,
        "source": module.SOURCE,
        "published": module.PUBLISHED,
        "results": results,
        "seconds": time.perf_counter() - began,
        "texts": {part: text_facts(path) for part, path in asdict(texts).items()},
        "machine": machine(),
    }
    with atomic_write(output / f"{name}-{size}.json") as file:
        file.write(json.dumps(record, indent=1).encode() + b"\n")
    return record
