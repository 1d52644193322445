"""How an experiment is run: its size, where it reads and writes, and on what it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def report_row(self, name: str, row: Mapping[str, Any]) -> None:
        """Report a row of the table."""
        self.report(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in row.items()))
