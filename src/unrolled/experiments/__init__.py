"""Published tables and figures, run again: one file each, with its source and its numbers."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, cast

from unrolled.errors import FormatError, SettingError
from unrolled.experiments.checks import Check, Spreads, compare_with_record, spread_over_seeds
from unrolled.experiments.setup import Report, Results, Setup

# Name on the command line -> module.
EXPERIMENTS = {
    "mikolov2011-table2": "mikolov2011_table2",
    "mikolov2011-table3": "mikolov2011_table3",
    "cells": "cells",
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
    "echo-state": "echo_state",
}
SIZES = ("smoke", "laptop", "paper")
_SEED_STEP = 1000  # between two runs of an experiment, more than it has seeds of its own


class Experiment(Protocol):
    """What a module of this folder offers.

    ``PUBLISHED`` and the ``table`` of the results have the same rows and columns by name, so that
    the results page can show them in one cell. A module may also set:

    ``SPREAD``: column of the table -> how far a fresh run may be from the result in it
    (`unrolled.experiments.checks`); of the others 2 %.
    ``DATA``: the usual name of the folder that it reads and cannot do without, and a file in it.
    ``PARALLEL = True``: it makes many runs, and takes ``jobs`` and ``device``.
    ``ROWS``: the rows of its table that can be run alone, by name, each with a dataclass of its
    settings, which the results have as ``rows``; with ``SETTINGS``, of each size, and
    ``merge(earlier, fresh)``: results of both, where a row is in both those of the fresh run.
    ``draw(results)``: its pictures from its results as JSON holds them: what is added to the names
    of their files (empty for the only one) -> SVG.
    """

    SOURCE: str
    PUBLISHED: dict[str, dict[str, float]]

    def run(self, setup: Setup, /) -> Results:
        """Run it, and return its results for JSON.

        They hold a ``table``, and all that its pictures show.
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
    report: Report | None = None,
    jobs: int | None = None,
    device: str | None = None,
    seeds: int = 1,
    rows: Sequence[str] = (),
) -> dict[str, Any]:
    """Run an experiment and write ``NAME-SIZE.json`` and its pictures and models into a folder.

    Args:
        data: the folder that the experiment reads from; language models take the demo text
            without one.
        size: ``smoke`` (seconds, on a part of the data), ``laptop`` (minutes) or ``paper``.
        jobs: runs at a time, of experiments that make many, each in a process of its own; by
            default one for each core, on a GPU 16 at most.
        device: where those compute: ``auto`` (the default), ``cpu`` or ``cuda``.
        seeds: how often it is run, each time from other seeds; from two on the record has the mean
            of each number and its spread, by which `check_experiment` goes.
        rows: of the table, those to run: the record keeps the other ones that it has.

    Raises:
        SettingError: an unknown name, size, device or row, a folder that is not there or lacks a
            file, jobs or a device for an experiment of one run, or rows where the record is of
            other data or settings.
        FormatError: that record is damaged.
    """
    import json
    import time

    from unrolled.comparison.finished_runs import parts_folder, remove_parts
    from unrolled.comparison.provenance import machine
    from unrolled.storage.atomic import atomic_write

    experiment = experiment_of(name)
    _check_size(size)
    _check_rows(name, rows)
    _check_parallel(name, jobs, device)
    data = _data_folder(experiment, data)
    if seeds < 1:
        raise SettingError(f"seeds is {seeds}, allowed are 1 and more")
    if rows and seeds > 1:
        raise SettingError("single rows are run once, so they take no seeds")
    path = output / f"{name}-{size}.json"
    earlier = _earlier_rows(experiment, path, size, rows, data)
    output.mkdir(parents=True, exist_ok=True)
    parts = parts_folder(output, name, size)
    resumed = parts.is_dir() or earlier is not None
    began = time.perf_counter()
    setup = Setup(name, size, output, data, jobs=jobs, device=device or "auto", rows=tuple(rows))
    setup = replace(setup, report=report) if report else setup
    results = experiment.run(setup)
    record = {
        "experiment": name,
        "size": size,
        "source": experiment.SOURCE,
        "published": experiment.PUBLISHED,
        "results": results,
        **_spread(experiment, setup, results, seeds),
        "seconds": time.perf_counter() - began,
        "resumed": resumed,
        "data": _data_facts(data),
        "machine": machine(),
    }
    # Others may have been run since.
    earlier = _earlier_rows(experiment, path, size, rows, data)
    if earlier is not None:
        record["results"] = vars(experiment)["merge"](earlier, results)
        record["resumed"] = True
    text = json.dumps(record, indent=1)
    with atomic_write(path) as file:
        file.write(text.encode() + b"\n")
    write_pictures(json.loads(text), output)
    if rows:  # what other rows keep to be continued from stays
        for runs in setup.finished:
            runs.remove()
    else:
        remove_parts(parts)
    return record


def _spread(
    experiment: Experiment, setup: Setup, first: Results, seeds: int
) -> dict[str, dict[str, Any]]:
    """How far the numbers of a table are apart over seeds; of one seed nothing is known."""
    tables = [first["table"]]
    for number in range(1, seeds):
        setup.report(f"seed {number + 1} of {seeds}")
        with tempfile.TemporaryDirectory(prefix="unrolled-") as folder:
            again = replace(setup, output=Path(folder), seed=_SEED_STEP * number)
            tables.append(experiment.run(again)["table"])
    return {"spread": spread_over_seeds(tables, _stated(experiment))} if seeds > 1 else {}


def _stated(experiment: Experiment) -> Spreads:
    """The spreads that an experiment states for the columns of its table."""
    return cast("Spreads", vars(experiment).get("SPREAD", {}))


def _data_folder(experiment: Experiment, data: Path | None) -> Path | None:
    """The folder that an experiment reads: the one that the user named, or, where that lacks the
    file by which it is known, the one of its usual name in it.

    Raises:
        SettingError: there is no such folder, or none was named and the experiment needs one.
    """
    if data is not None and not data.is_dir():
        raise SettingError("there is no such folder", where=str(data))
    if "DATA" not in vars(experiment):
        return data
    name, file = vars(experiment)["DATA"]
    if data is None:
        raise SettingError(
            f"the experiment needs data of its own: a folder with {file}",
            hint="Name it with --data; word vectors, where it reads any, are looked for in "
            "'vectors' in it or beside it",
        )
    for folder in (data, data / name):
        if (folder / file).is_file():
            return folder
    raise SettingError(f"there is no {file}, nor a folder '{name}' with it", where=str(data))


def _data_facts(data: Path | None) -> list[dict[str, Any]]:
    from unrolled.comparison.provenance import file_facts

    files = [] if data is None else sorted(path for path in data.iterdir() if path.is_file())
    return [file_facts(str(path)) for path in files]


def check_experiment(
    name: str,
    data: Path | None = None,
    *,
    size: str = "laptop",
    output: Path,
    report: Report | None = None,
    jobs: int | None = None,
    device: str | None = None,
) -> Check:
    """Run an experiment again, and compare its table with that of ``NAME-SIZE.json`` in a folder.

    Of experiments whose rows can be run alone, those are run that the table has.

    The fresh run's own files are in a temporary folder. Arguments are those of `run_experiment`.

    Raises:
        SettingError: as `run_experiment`; there are no results, or they are of other data.
        FormatError: the results are damaged.
    """
    experiment = experiment_of(name)
    _check_size(size)
    path = output / f"{name}-{size}.json"
    if not path.is_file():
        raise SettingError(
            "there are no results to compare with", where=str(path), hint="Run the experiment first"
        )
    data = _data_folder(experiment, data)
    record = _read_record(path, data)
    try:
        known = set(record["results"]["table"])
    except (LookupError, TypeError) as error:
        raise FormatError(f"the results are damaged: {error!r}", where=str(path)) from None
    rows = [row for row in vars(experiment).get("ROWS", ()) if row in known]
    if "ROWS" in vars(experiment) and not rows:
        raise SettingError(
            f"the results have no row that {name} has", where=str(path),
            hint="Run it anew, into another folder",
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="unrolled-") as folder:
        fresh = run_experiment(
            name, data, size=size, output=Path(folder), report=report, jobs=jobs, device=device,
            rows=rows,
        )  # fmt: skip
    try:
        return compare_with_record(fresh["results"]["table"], record, _stated(experiment))
    except FormatError as error:
        raise FormatError(error.what, where=str(path)) from None


def _read_record(path: Path, data: Path | None) -> dict[str, Any]:
    """A record of `run_experiment` on the same data.

    Raises:
        SettingError: it is of other data.
        FormatError: it is damaged.
    """
    import json

    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {file["name"]: file["crc32"] for file in record["data"]}
    except (ValueError, LookupError, TypeError) as error:
        raise FormatError(f"the results are damaged: {error}", where=str(path)) from None
    given = {file["name"]: file["crc32"] for file in _data_facts(data)}
    for file in [*known, *given]:
        if known.get(file) != given.get(file):
            raise SettingError(
                f"the results are of other data: {file} differs or is missing", where=str(path),
                hint="Name the folder of the same files with --data",
            )  # fmt: skip
    return record


def _earlier_rows(
    experiment: Experiment, path: Path, size: str, rows: Sequence[str], data: Path | None
) -> Results | None:
    """Results to which rows can be added, if there are any.

    Raises:
        SettingError: they are of other data or settings.
        FormatError: they are damaged.
    """
    if not rows or not path.is_file():
        return None
    record = _read_record(path, data)
    try:
        results: Results = record["results"]
        same = results["settings"] == _plain(vars(experiment)["SETTINGS"][size])
        known = {row: _plain(settings) for row, settings in vars(experiment)["ROWS"].items()}
        others = [
            row for row in results["table"]
            if row not in rows
            and (row not in known or results.get("rows", {}).get(row) != known[row])
        ]  # fmt: skip
    except (LookupError, TypeError) as error:
        raise FormatError(f"the results are damaged: {error!r}", where=str(path)) from None
    if not same:
        raise SettingError(
            "the results are of other settings", where=str(path),
            hint="Write into another folder with -o, or run all rows",
        )  # fmt: skip
    if others:
        raise SettingError(
            f"the results of {', '.join(others)} are of other settings", where=str(path),
            hint="Run them too, or write into another folder with -o",
        )  # fmt: skip
    return results


def _plain(settings: Any) -> Any:
    """A dataclass as JSON gives it back."""
    import json

    return json.loads(json.dumps(asdict(settings)))


def _check_rows(name: str, rows: Sequence[str]) -> None:
    known = vars(experiment_of(name)).get("ROWS", ())
    if rows and not known:
        raise SettingError(f"rows of {name} cannot be run alone")
    for row in rows:
        if row not in known:
            raise SettingError(f"{name} has no row '{row}'", hint="It has " + "; ".join(known))


def _check_size(size: str) -> None:
    if size not in SIZES:
        raise SettingError(f"size '{size}' is unknown, allowed are {', '.join(SIZES)}")


def _check_parallel(name: str, jobs: int | None, device: str | None) -> None:
    for option, value in (("jobs", jobs), ("device", device)):
        if value is not None and not vars(experiment_of(name)).get("PARALLEL"):
            raise SettingError(f"{name} is not made of parallel runs, so it takes no {option}")
    if jobs is not None and jobs < 1:
        raise SettingError(f"jobs is {jobs}, allowed are 1 and more")


def write_pictures(record: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the pictures of an experiment's record into a folder; their files.

    Args:
        record: what `run_experiment` wrote as JSON.
    """
    from unrolled.storage.atomic import atomic_write

    draw = vars(experiment_of(record["experiment"])).get("draw")
    paths = []
    for suffix, picture in (draw(record["results"]) if draw else {}).items():
        ending = f"-{suffix}" if suffix else ""
        paths.append(folder / f"{record['experiment']}{ending}-{record['size']}.svg")
        with atomic_write(paths[-1]) as file:
            file.write(picture.encode())
    return paths


def draw_experiment(name: str, *, size: str = "laptop", output: Path) -> list[Path]:
    """Draw the pictures of an experiment again, from its results in a folder; their files.

    Raises:
        SettingError: an unknown name or size, an experiment without pictures, or no results.
        FormatError: the results are damaged.
    """
    import json

    _check_size(size)
    if "draw" not in vars(experiment_of(name)):
        raise SettingError(f"the experiment {name} has no pictures")
    path = output / f"{name}-{size}.json"
    if not path.is_file():
        raise SettingError(
            "there are no results to draw", where=str(path), hint="Run the experiment first"
        )
    try:
        return write_pictures(json.loads(path.read_text(encoding="utf-8")), output)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"the results are damaged: {error}", where=str(path)) from None
