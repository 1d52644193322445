"""Bars: a model to an ARPA file against lmplz, an ARPA file to a model against build_binary.

The ARPA files that are read are ours and lmplz's, whose n-grams stand in another order.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import commands, kenlm_programs
from benchmarks.measure import Bar, Comparison, Report, Run, interleave
from benchmarks.workspace import Workspace, ngrams_of, remove

NEEDS = ("lmplz", "build_binary")
_WRITING = Bar(at_most=0.3)
_READING = Bar(at_most=0.5)
_LARGE = 5e6  # n-grams; below, starting Python weighs more


def run(workspace: Workspace, report: Report) -> None:
    """Both ways, plain and gzipped, on half the text of the models that are queried."""
    settings, folder = workspace.settings, workspace.folder
    text, _ = workspace.training(settings.model_tokens // 2)
    model, arpa = workspace.model(text), workspace.arpa(text)
    size = f"{ngrams_of(arpa) / 1e6:.3g} M n-grams"
    large = ngrams_of(arpa) >= _LARGE
    theirs = folder / "lmplz.arpa"
    lmplz = partial(
        kenlm_programs.lmplz, text, theirs, order=settings.order, memory=settings.lmplz_memory
    )
    for suffix in (".arpa", ".arpa.gz"):
        target = folder / f"written{suffix}"
        _compare(
            workspace, report, f"model to {suffix}, {size}",
            partial(commands.convert, model, target), lmplz, "lmplz, text to .arpa",
            _WRITING if large else None,
        )  # fmt: skip
    for name, source in (("ours", arpa), ("lmplz's", theirs)):
        for suffix in ("", ".gz"):
            packed = _packed(source, folder / f"read.arpa{suffix}")
            binary, target = folder / "read.kenlm", folder / "read.safetensors"
            _compare(
                workspace, report, f".arpa{suffix} of {name} to model, {size}",
                partial(commands.convert, packed, target),
                partial(kenlm_programs.build_binary, packed, binary), "build_binary probing",
                _READING if large else None,
            )  # fmt: skip
            remove(binary, target, packed)


def _packed(arpa: Path, target: Path) -> Path:
    """The file under another name; gzipped in one piece, as other tools do, if that ends so."""
    with arpa.open("rb") as source, target.open("wb") as plain:
        if target.suffix == ".gz":
            with gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=4) as packed:
                shutil.copyfileobj(source, packed, 1 << 20)
        else:
            shutil.copyfileobj(source, plain, 1 << 20)
    return target


def _compare(
    workspace: Workspace,
    report: Report,
    name: str,
    ours: Callable[[], Run],
    theirs: Callable[[], Run],
    peer: str,
    bar: Bar | None,
) -> None:
    ours()  # kernels are compiled before
    runs = interleave({"unrolled": ours, "KenLM": theirs}, workspace.settings.repeats)
    walls = {side: [run.wall_s for run in some] for side, some in runs.items()}
    report.add(Comparison(name, "s", walls["unrolled"], walls["KenLM"], peer, bar))
    report.details[name] = {side: [run.numbers() for run in some] for side, some in runs.items()}
