"""How an experiment is run: its size, where it reads and writes, and on what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unrolled.comparison.finished_runs import FinishedRuns, parts_folder

Report = Callable[[str], None]
Results = dict[str, Any]


def _silent(line: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Setup:
    """What `run_experiment` gives to an experiment.

    Attributes:
        name: of the experiment. size: ``smoke``, ``laptop`` or ``paper``.
        output: folder for models and pictures.
        data: the folder that the user named, if any.
        report: called with lines of progress.
        jobs, device: how many runs at a time, and where they compute, of parallel experiments.
        seed: added to every seed of the experiment.
        rows: of the table, those to run; none for all.
        finished: what `finished_runs` gave.
    """

    name: str
    size: str
    output: Path
    data: Path | None = None
    report: Report = _silent
    jobs: int | None = None
    device: str = "auto"
    seed: int = 0
    rows: tuple[str, ...] = ()
    finished: list[FinishedRuns] = field(default_factory=list)

    def finished_runs(self, read: Iterable[Path | str]) -> FinishedRuns:
        """Results of runs that are done, from which an interrupted experiment continues.

        Args:
            read: files and folders that the runs read.
        """
        self.finished.append(FinishedRuns(parts_folder(self.output, self.name, self.size), read))
        return self.finished[-1]

    def report_row(self, name: str, row: Mapping[str, Any]) -> None:
        """Report a row of the table."""
        self.report(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()))
