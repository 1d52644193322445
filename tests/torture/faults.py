"""Faults: each write, lock, rename, thread start ... of each command fails once.

A small C library that is loaded before all others makes the n-th call of a kind fail, for every n
that there is, as SQLite tests its own. Then the old file is intact, no file is left over, and
either the result is complete or there is one sentence and an exit code that is not 0.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from torture.commands import Outcome, prepared, run, violation
from torture.figures import Figures

KINDS = ("write", "open", "rename", "lock", "fsync", "thread", "load", "allocation")
# LLVM, OpenBLAS, torch and the C library end the process when these fail; OpenBLAS by SIGINT. torch
# frees objects without Python's lock where an autograd function gets no memory: Python aborts, and
# at times its own report of that ends with a bus error.
FATAL = {
    "thread": (-6, -11, 1, 127, 130),
    "load": (-6, -11, 127),
    "allocation": (-6, -7, -11, 1, 127),
}

# Faults begin where the command does: Python itself cannot start without its libraries.
PROGRAM = (
    "-c 'from unrolled.cli import main; import ctypes; ctypes.CDLL(None).begin_faults(); main()'"
)


def build_library(folder: Path) -> Path | None:
    """The library, or None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = [compiler, "-O1", "-fPIC", "-shared", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True)
    return library if done.returncode == 0 else None


def try_faults(
    figures: Figures, rng: random.Random, inputs: Path, library: Path,
    commands: dict[str, tuple[str, str]], kinds: tuple[str, ...] = KINDS, most: int | None = None,
) -> None:  # fmt: skip
    """Let every call of every command fail once, or so many that are drawn for each."""
    folder = inputs.with_name("faulty")
    for name, (words, target) in commands.items():
        call = (folder, inputs, words.format(target), target, library)
        expected, counts = _faulty(*call, "none", 0)
        for kind in kinds:
            numbers = list(range(1, counts.get(kind, 0) + 1))
            for number in numbers if most is None else rng.sample(numbers, min(most, len(numbers))):
                found, _ = _faulty(*call, kind, number)
                fatal = FATAL.get(kind, ())
                problem = violation(found, expected, folder, inputs, target, fatal=fatal)
                figures.count(
                    f"fault: {kind}", f"{name}, number {number} of {counts[kind]}", problem
                )
    shutil.rmtree(folder)


def _faulty(
    folder: Path, inputs: Path, words: str, target: str, library: Path, kind: str, number: int
) -> tuple[Outcome, dict[str, int]]:
    """What came of a command, and how many calls of each kind it made."""
    shutil.rmtree(folder, ignore_errors=True)
    prepared(folder, inputs, target)
    counts = library.with_name("counts")
    counts.unlink(missing_ok=True)
    variables = {
        "LD_PRELOAD": str(library), "FAULT_KIND": kind, "FAULT_NUMBER": str(number),
        "FAULT_COUNT": str(counts),
    }  # fmt: skip
    outcome = run(folder, words, target, variables=variables, program=PROGRAM)
    lines = counts.read_text().splitlines() if counts.exists() else []
    return outcome, {kind: int(count) for kind, count in map(str.split, lines)}
