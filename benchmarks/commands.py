"""Unrolled's side: every command line and Python call that the benchmarks measure, in one place."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import BenchmarkError, Run, run_command

Array = np.ndarray[Any, Any]

# The same as the installed script `unrolled`, whatever the virtual environment.
_UNROLLED = (sys.executable, "-c", "from unrolled.cli import main; main()")


def unrolled(*words: str | Path, cache: Path | None = None, group: Path | None = None) -> Run:
    """Run the command line; ``cache`` is another folder for compiled kernels.

    ``group`` is a control group of Linux to run in.
    """
    environment = {**os.environ} if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is there as bytecode
    entered: tuple[str | Path, ...] = ()
    if group is not None:
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        entered = ("sh", "-c", enter, group)
    return run_command([*entered, *_UNROLLED, *words], environment=environment)


def train(
    text: Path,
    model: Path,
    *,
    order: int,
    threads: int,
    prune: Sequence[int] = (),
    memory: str | None = None,
    from_counts: bool = False,
    quantize: bool = False,
    group: Path | None = None,
    cache: Path | None = None,
) -> Run:
    """Text, or a count file, to a usable binary model.

    Within a budget of memory and in a control group if given.
    """
    pruning = ["--prune", " ".join(map(str, prune))] if prune else []
    settings = ["--order", str(order), "--threads", str(threads), *pruning]
    settings += ["--memory", memory] if memory else []
    settings += ["--from-counts"] if from_counts else []
    settings += ["--quantize", "8"] if quantize else []
    return unrolled("train", "ngram", text, "-o", model, *settings, cache=cache, group=group)


def count(text: Path, counts: Path, *, order: int, threads: int) -> Run:
    """Text to a count file."""
    settings = ["--order", str(order), "--threads", str(threads)]
    return unrolled("count", text, "-o", counts, *settings)


def convert(
    model: Path, target: Path, *, bits: int | None = None, cache: Path | None = None
) -> Run:
    """A model to ARPA (by the name of the target), to a quantized model, or back."""
    quantize = ["--quantize", str(bits)] if bits else []
    return unrolled("convert", model, target, *quantize, cache=cache)


def evaluate(model: Path, text: Path, *, threads: int, cache: Path | None = None) -> Run:
    """Score a text for its perplexity only."""
    return unrolled("evaluate", model, text, "--threads", str(threads), cache=cache)


def annotate_command(model: Path, documents: Path, out: Path, *, threads: int) -> list[str | Path]:
    """Documents with the fields of one model."""
    return [*_UNROLLED, "annotate", model, documents, "-o", out, "--threads", str(threads)]


def annotate(model: Path, documents: Path, out: Path, *, threads: int) -> Run:
    """Run that command."""
    return run_command(annotate_command(model, documents, out, threads=threads))


def perplexity(run: Run) -> tuple[float, int]:
    """Perplexity and predicted tokens that `unrolled evaluate` printed."""
    ppl = re.search(r"ppl (\S+)", run.stdout)
    tokens = re.search(r"(\d+) tokens", run.stdout)
    if ppl is None or tokens is None:
        raise BenchmarkError(f"unrolled evaluate printed no perplexity: {run.stdout[-200:]}")
    return float(ppl[1]), int(tokens[1])


def load(model: Path) -> Any:
    """The model as a Python user opens it."""
    import unrolled

    return unrolled.load(model)


def token_scores(model: Any, texts: Sequence[str], threads: int) -> tuple[Array, Array, Array]:
    """Log-probabilities, lengths used and OOV flags of every token of a list of sentences."""
    found = model.token_scores(texts, threads=threads)
    return found.log_probs, found.lengths, found.oov


def predicted(model: Any, texts: Sequence[str], threads: int) -> tuple[Array, Array, Array]:
    """`token_scores` without the places of <s>, which other tools do not list."""
    found = model.token_scores(texts, threads=threads)
    keep = np.ones(found.ids.size, bool)
    keep[found.starts[:-1]] = False
    return found.log_probs[keep], found.lengths[keep], found.oov[keep]


def sums(model: Any, texts: Sequence[str], threads: int) -> Any:
    """The log-probability of every sentence."""
    return model.scores(texts, threads=threads)


def same_arrays(first: Path, second: Path) -> bool:
    """Whether two models have the same bytes in every array."""
    import unrolled

    arrays, others = unrolled.load(first).arrays(), unrolled.load(second).arrays()
    return arrays.keys() == others.keys() and all(
        array.dtype == others[name].dtype and np.array_equal(_bits(array), _bits(others[name]))
        for name, array in arrays.items()
    )


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.uint8)
