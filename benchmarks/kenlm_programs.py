"""KenLM, where it is installed: its three programs and its Python module.

The programs are looked for in the folder that the environment variable KENLM_BIN names, then on
PATH. They are not on PyPI: build https://github.com/kpu/kenlm with cmake (it needs Boost) outside
this repository. The Python module is: ``pip install kenlm``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import BenchmarkError, Run, find_program, run_command

QUANTIZED = ("-q", "8", "-b", "8", "-a", "255")


def find(program: str) -> Path | None:
    """Where one of KenLM's programs is, or None."""
    return find_program(program, "KENLM_BIN")


def missing(*programs: str) -> str:
    """A sentence that names what is not installed; empty when all is there.

    ``module`` stands for the Python module.
    """
    lacking = [name for name in programs if name != "module" and find(name) is None]
    sentences = []
    if lacking:
        names = ", ".join(lacking)
        sentences.append(
            f"KenLM's {names} not found: build KenLM and set KENLM_BIN to its folder bin"
        )
    if "module" in programs and importlib.util.find_spec("kenlm") is None:
        sentences.append("KenLM's Python module not found: pip install kenlm")
    return "; ".join(sentences)


def _program(name: str) -> Path:
    found = find(name)
    if found is None:
        raise BenchmarkError(missing(name))
    return found


def lmplz(
    text: Path,
    arpa: Path,
    *,
    order: int,
    memory: str,
    prune: Sequence[int] = (),
) -> Run:
    """Estimate with lmplz. It has no thread option: it starts a thread for each step it chains."""
    command: list[str | Path] = [_program("lmplz"), "-o", str(order), "-S", memory]
    command += ["-T", arpa.parent / "lmplz-", "--text", text, "--arpa", arpa]
    if prune:
        command += ["--prune", *map(str, prune)]
    return run_command(command)


def discounts(run: Run) -> list[tuple[float, float, float]]:
    """The discounts D1, D2, D3+ that a run of lmplz printed, one triple an order."""
    found = re.findall(r"^\d+ \d+\S* D1=(\S+) D2=(\S+) D3\+=(\S+)", run.stderr, re.MULTILINE)
    return [(float(first), float(second), float(third)) for first, second, third in found]


def build_binary(
    arpa: Path, model: Path, kind: str = "probing", options: Sequence[str] = ()
) -> Run:
    """Turn an ARPA file into one of KenLM's two binary forms, ``probing`` or ``trie``."""
    place = ["-T", str(model.parent / "trie-")] if kind == "trie" else []
    return run_command([_program("build_binary"), *place, *options, kind, arpa, model])


def query(model: Path, text: Path) -> Run:
    """Score a text for its perplexity only."""
    return run_command([_program("query"), "-v", "summary", model], stdin=text)


def perplexity(run: Run) -> tuple[float, int]:
    """Perplexity (OOVs included) and predicted tokens that a run of query printed."""
    ppl = re.search(r"Perplexity including OOVs:\s*(\S+)", run.stdout)
    tokens = re.search(r"Tokens:\s*(\d+)", run.stdout)
    if ppl is None or tokens is None:
        raise BenchmarkError(f"query printed no perplexity: {run.stdout[-200:]}")
    return float(ppl[1]), int(tokens[1])
