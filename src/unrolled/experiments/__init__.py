"""Published tables and figures, run again: one file each, with its source and its numbers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from unrolled.errors import SettingError

# Name on the command line -> module.
EXPERIMENTS = {
    "mikolov2011-table2": "mikolov2011_table2",
    "mikolov2011-table3": "mikolov2011_table3",
    "ladder": "cell_ladder",
    "large-lstm": "large_lstm",
    "irsoy2014-depth": "irsoy2014_depth",
    "irsoy2014-crf-baseline": "irsoy2014_crf_baseline",
    "conll2003-ner": "conll2003_ner",
    "entity-sentiment": "entity_sentiment",
    "vanishing-gradient": "vanishing_gradient",
    "error-surface": "error_surface",
    "temporal-order": "temporal_order",
    "pixel-mnist": "pixel_mnist",
    "jane-and-john": "jane_and_john",
    "echo-state": "narma",
}
SIZES = ("smoke", "laptop", "paper")


class Experiment(Protocol):
    """What a file of this folder offers.

    ``PUBLISHED`` and the ``table`` of the results have the same rows and columns by name, so that
    they can be set side by side. A file whose published numbers were not read in the source, but
    are quoted from memory, also has ``REMEMBERED = True``, and every page that shows them says so.
    """

    SOURCE: str
    PUBLISHED: dict[str, dict[str, float]]

    def run(
        self,
        data: Path | None,
        size: str,
        folder: Path,
        report: Callable[[str], None],
        /,
        **how: Any,
    ) -> dict[str, Any]:
        """Run it, keep models and pictures in a folder, and give back its results for JSON.

        ``data`` is the folder that the user named, or None; ``table`` is required of the results,
        ``pictures`` are names of files in the folder. One of many runs side by side also takes
        ``jobs``, how many at a time, and ``device``, where they compute.
        """


def experiment_of(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        SettingError: there is none.
    """
    if name not in EXPERIMENTS:
        raise SettingError(
            f"there is no experiment '{name}'", hint="Known: " + ", ".join(EXPERIMENTS)
        )
    module = importlib.import_module(f"unrolled.experiments.{EXPERIMENTS[name]}")
    return cast("Experiment", module)


def run_experiment(
    name: str,
    data: Path | None = None,
    *,
    size: str = "laptop",
    output: Path,
    report: Callable[[str], None] | None = None,
    jobs: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Run an experiment and write ``NAME-SIZE.json`` and what else it makes into a folder.

    Args:
        data: the folder that the experiment reads from; language models take the demo text
            without one.
        size: ``smoke`` (seconds, on a part of the data), ``laptop`` (minutes) or ``paper``.
        jobs: runs at a time, of experiments that make many, each in a process of its own; by
            default one for each core, on a GPU 16 at most.
        device: where those compute: ``auto`` (the default), ``cpu`` or ``cuda``.

    Raises:
        SettingError: an unknown name, size or device, a folder that is not there or lacks a file,
            or jobs or a device of an experiment that has no use for them.
    """
    import json
    import time

    from unrolled.comparison.provenance import machine
    from unrolled.experiments.finished_runs import parts_folder, remove_parts
    from unrolled.storage.atomic import atomic_write

    experiment = experiment_of(name)
    if size not in SIZES:
        raise SettingError(f"size '{size}' is unknown, allowed are {', '.join(SIZES)}")
    if data is not None and not data.is_dir():
        raise SettingError("there is no such folder", where=str(data))
    how = _how(experiment, name, jobs=jobs, device=device)
    output.mkdir(parents=True, exist_ok=True)
    parts = parts_folder(output, name, size)
    resumed = parts.is_dir()
    began = time.perf_counter()
    results = experiment.run(data, size, output, report or (lambda line: None), **how)
    record = {
        "experiment": name,
        "size": size,
        "source": experiment.SOURCE,
        "published": experiment.PUBLISHED,
        "remembered": getattr(experiment, "REMEMBERED", False),
        "results": results,
        "seconds": time.perf_counter() - began,
        "resumed": resumed,
        "data": [] if data is None else _files(data),
        "machine": machine(),
    }
    with atomic_write(output / f"{name}-{size}.json") as file:
        file.write(json.dumps(record, indent=1).encode() + b"\n")
    remove_parts(parts)
    return record


def _how(experiment: Experiment, name: str, **given: Any) -> dict[str, Any]:
    """What was given of how to run it."""
    wished = {key: value for key, value in given.items() if value is not None}
    known = inspect.signature(experiment.run).parameters
    for key in wished:
        if key not in known:
            raise SettingError(
                f"{name} is no experiment of many runs side by side: {key} has no meaning for it"
            )
    if wished.get("jobs", 1) < 1:
        raise SettingError(f"jobs is {wished['jobs']}, allowed are 1 and more")
    return wished


def _files(folder: Path) -> list[dict[str, Any]]:
    """Name, size and checksum of each file of a folder, but of those in folders within it."""
    from unrolled.comparison.provenance import file_facts

    return [file_facts(str(path)) for path in sorted(folder.iterdir()) if path.is_file()]
