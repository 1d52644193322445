"""Run commands and functions in alternation, and compare what was measured."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")

# Runs between us and the measured program, because Linux lets a program begin its life with the
# peak memory of the process that started it: this one is small, and we are not.
_WATCHER = """
import json, os, sys, time
report, stdin, stdout, stderr = sys.argv[1:5]
command = sys.argv[5:]
files = [(os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0)]
for number, name in (1, stdout), (2, stderr):
    files.append((os.POSIX_SPAWN_OPEN, number, name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
begin = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ, file_actions=files)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - begin
with open(report, "w") as out:
    json.dump(dict(exit=os.waitstatus_to_exitcode(status), wall=wall,
                   cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss), out)
"""


class BenchmarkError(Exception):
    """A measured program failed, or two programs that should agree do not."""


@dataclass(frozen=True)
class Run:
    """One finished run of a command (or of several, one after the other)."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    stdout: str = field(default="", repr=False)
    stderr: str = field(default="", repr=False)

    def then(self, other: Run) -> Run:
        """This run followed by another: times add up, the higher peak counts."""
        return Run(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_bytes, other.peak_bytes),
            self.stdout + other.stdout,
            self.stderr + other.stderr,
        )

    def numbers(self) -> dict[str, float]:
        """The numbers for a results file."""
        return {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "peak_bytes": self.peak_bytes}


def find_program(name: str, variable: str) -> Path | None:
    """Where a peer's program is: in the folders that a variable names, or on PATH; else None."""
    folders = os.environ.get(variable)
    found = shutil.which(name, path=folders) if folders else None
    found = found or shutil.which(name)
    return Path(found) if found else None


def run_command(
    command: Sequence[str | Path],
    *,
    stdin: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a command to its end and measure wall time, CPU time and peak resident memory.

    Raises BenchmarkError with the end of its standard error where it does not exit with 0.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory(prefix="unrolled-bench-") as folder:
        report, stdout, stderr = (Path(folder) / name for name in ("report", "stdout", "stderr"))
        inner = [str(report), str(stdin or "/dev/null"), str(stdout), str(stderr), *words]
        watcher = [sys.executable, "-S", "-E", "-c", _WATCHER, *inner]
        subprocess.run(watcher, check=True, env=None if environment is None else dict(environment))
        result = json.loads(report.read_text())
        output = stderr.read_text(errors="replace")
        if result["exit"] != 0:
            raise BenchmarkError(
                f"{Path(words[0]).name} exited with {result['exit']}: {output[-600:]}"
            )
        return Run(
            result["wall"],
            result["cpu"],
            result["peak"] * (1 if sys.platform == "darwin" else 1024),  # bytes there, KiB here
            stdout.read_text(errors="replace"),
            output,
        )


def interleave(
    contenders: Mapping[str, Callable[[], Outcome]], repeats: int
) -> dict[str, list[Outcome]]:
    """Run every contender ``repeats`` times, in alternation, in reversed order each other round.

    So other load of the machine falls evenly on all contenders.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in contenders}
    for turn in range(repeats):
        names = list(contenders)
        if turn % 2:
            names.reverse()
        for name in names:
            outcomes[name].append(contenders[name]())
    return outcomes


@dataclass(frozen=True)
class Bar:
    """What a ratio (or, without a peer, our own number) has to reach."""

    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Whether a value reaches the bar."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        parts = [
            f"{sign} {limit:g}"
            for sign, limit in (("at least", self.at_least), ("at most", self.at_most))
            if limit is not None
        ]
        return " and ".join(parts)


@dataclass(frozen=True)
class Comparison:
    """One line of the report: our numbers, the peer's, and their ratio (ours / peer's).

    Without numbers of a peer the bar applies to our own median.
    """

    name: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float] = ()
    peer_name: str = ""
    bar: Bar | None = None

    @property
    def ratio(self) -> float | None:
        """Our median over the peer's; None without a peer."""
        return statistics.median(self.ours) / statistics.median(self.peer) if self.peer else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is no bar."""
        if self.bar is None:
            return None
        ratio = self.ratio
        return self.bar.met(statistics.median(self.ours) if ratio is None else ratio)

    def line(self) -> str:
        """The ratio first, then both medians, then the bar."""
        ratio = self.ratio
        shown = "      -" if ratio is None else f"{ratio:6.3g}x"
        text = f"{shown}  {self.name}: unrolled {_amount(self.ours, self.unit)}"
        if self.peer:
            text += f" | {self.peer_name} {_amount(self.peer, self.unit)}"
        if self.bar is not None:
            text += f" | bar {self.bar}: {'met' if self.met else 'MISSED'}"
        runs = len(self.ours)
        return text + (f" | median of {runs} runs" if runs > 1 else "")

    def record(self) -> dict[str, Any]:
        """Everything for the results file."""
        numbers = asdict(self)
        numbers["bar"] = None if self.bar is None else str(self.bar)
        numbers["ours_median"] = statistics.median(self.ours)
        numbers["peer_median"] = statistics.median(self.peer) if self.peer else None
        return {**numbers, "ratio": self.ratio, "met": self.met}


def _amount(values: Sequence[float], unit: str) -> str:
    value = statistics.median(values)
    if unit == "bytes":
        return f"{value:,.0f} bytes"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size and unit == "tokens/s":
            return f"{value / size:.3g} {letter} {unit}"
        if value >= size and unit == "tokens/s":
            return f"{value / size:.2f} {letter} {unit}"
    return f"{value:.4g} {unit}".rstrip()


@dataclass
class Report:
    """What a benchmark measured: comparisons, notes and details."""

    name: str
    comparisons: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, comparison: Comparison) -> None:
        """Add a comparison and print its line at once: whole runs take long."""
        self.comparisons.append(comparison)
        print(comparison.line(), flush=True)

    def note(self, sentence: str) -> None:
        """Add a note and print it."""
        self.notes.append(sentence)
        print(f"         {sentence}", flush=True)

    def record(self) -> dict[str, Any]:
        """Everything for the results file."""
        return {
            "benchmark": self.name,
            "comparisons": [comparison.record() for comparison in self.comparisons],
            "notes": self.notes,
            "details": self.details,
        }
