"""Ladders of models that experiments climb, and go on with where they were ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from unrolled.comparison.compare import LadderResult, climb, format_table
from unrolled.comparison.model_specs import Rung
from unrolled.experiments.finished_runs import FinishedRuns, parts_folder
from unrolled.experiments.texts import texts_for


def climb_and_keep(
    name: str,
    rungs: Sequence[Rung],
    data: Path | None,
    size: str,
    folder: Path,
    report: Callable[[str], None],
) -> LadderResult:
    """Climb an experiment's rungs on the texts of ``data``; models are kept in ``folder / name``.

    Rungs that an earlier run of the same experiment has finished are taken from there.
    """
    texts = texts_for(data, size, folder)
    paths = (texts.train, texts.valid, texts.test)
    kept = FinishedRuns(parts_folder(folder, name, size), paths)
    result = climb(*paths, output=folder / name, rungs=rungs, min_count=0, kept=kept, report=report)
    report(format_table(result))
    return result
