"""Tongrams, where it is built: its estimator, the fastest published (Pibiri and Venturini 2019).

The programs are looked for in the folders that the environment variable TONGRAMS_BIN names (with a
colon between two), then on PATH. They are not on PyPI: build https://github.com/jermp/tongrams and
https://github.com/jermp/tongrams_estimation with cmake (they need Boost and sparsehash) outside
this repository.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import BenchmarkError, Run, find_program, run_command

_LARGE = 50_000_000  # bytes


def find(program: str) -> Path | None:
    """Where one of the programs is, or None."""
    return find_program(program, "TONGRAMS_BIN")


def missing(*programs: str) -> str:
    """A sentence that names what is not built; empty when all is there."""
    lacking = [name for name in programs if find(name) is None]
    if not lacking:
        return ""
    names = ", ".join(lacking)
    return f"tongrams' {names} not found: build tongrams and set TONGRAMS_BIN to its folders build"


def estimate(text: Path, model: Path, *, order: int, threads: int) -> Run:
    """Estimate modified Kneser-Ney from text to tongrams' binary trie, in memory.

    It takes at once all that it is given: its own default for small texts, 8 GiB for large ones.
    """
    program = find("estimate")
    if program is None:
        raise BenchmarkError(missing("estimate"))
    gigabytes = 1 if text.stat().st_size < _LARGE else 8
    with tempfile.TemporaryDirectory(prefix="tongrams-", dir=model.parent) as folder:
        options = ["--ram", str(gigabytes), "--thr", str(threads), "--tmp", f"{folder}/new"]
        return run_command([program, text, str(order), *options, "--out", model])
