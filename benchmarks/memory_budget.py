"""Bars: text to model within a budget of memory, against lmplz -S with it and against no budget.

A text of up to 100 M tokens has 1 GB, a longer one 4 GB. The model must have the bytes of the one
that is trained in memory, wherever that fits into this machine. A count file, of at most 10 M
tokens of the text, has 1 GB too.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import commands, kenlm_programs
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, Run, interleave
from benchmarks.workspace import Workspace, remove

NEEDS = ()
_CONTROL_GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_LARGE = 10_000_000  # below that the interpreter itself is most of the memory and of the time
_IN_MEMORY = 100_000_000  # more tokens are not trained in memory for comparison


def run(workspace: Workspace, report: Report) -> None:
    """Train at every size within its budget, in alternation with the peers."""
    small, _ = workspace.training(20_000)
    _train(workspace, small, None)
    per_token = {}
    for size in workspace.settings.tokens:
        text, tokens = workspace.training(size)
        contenders = {"within": partial(_train, workspace, text, _budget(tokens))}
        if tokens <= _IN_MEMORY:
            contenders["in memory"] = partial(_train, workspace, text, None)
        if not kenlm_programs.missing("lmplz", "build_binary"):
            contenders["KenLM"] = partial(_kenlm, workspace, text, _budget(tokens))
        else:
            report.note(kenlm_programs.missing("lmplz", "build_binary"))
        watched = _Disk(workspace.folder)
        runs = interleave(
            {name: partial(watched, name, run) for name, run in contenders.items()},
            workspace.settings.repeats,
        )
        if tokens >= _LARGE:
            _compare(report, runs, tokens, watched)
            _limited(workspace, report, text, tokens)
            _quantized(workspace, report, text, tokens)
            _count_files(workspace, report)
        per_token[tokens] = [run.wall_s / tokens for run in runs["within"]]
        report.details[f"{tokens} tokens"] = {
            name: [run.numbers() for run in some] for name, some in runs.items()
        }
    first, last = min(per_token), max(per_token)
    if first < last:
        grown = sorted(per_token[last])[0] / sorted(per_token[first])[0]
        name = f"time a token at {last / 1e6:.3g} M tokens over that at {first / 1e6:.3g} M"
        report.add(Comparison(name, "times", [grown], bar=Bar(at_most=2)))


def _budget(tokens: int) -> str:
    return "1G" if tokens <= _IN_MEMORY else "4G"


def _compare(report: Report, runs: dict[str, list[Run]], tokens: int, watched: _Disk) -> None:
    budget = _budget(tokens)
    size = f"{tokens / 1e6:.3g} M tokens, --memory {budget}"
    walls = {name: [run.wall_s for run in some] for name, some in runs.items()}
    if "KenLM" in runs:
        bar = Bar(at_most=0.25 if budget == "1G" else 0.3)
        peer = f"lmplz -S {budget} + build_binary"
        report.add(Comparison(f"time, {size}", "s", walls["within"], walls["KenLM"], peer, bar))
    if "in memory" in runs:
        bar = Bar(at_most=2)
        peer = "in memory"
        report.add(Comparison(f"time, {size}", "s", walls["within"], walls[peer], peer, bar))
    peaks = [run.peak_bytes / 1e9 for run in runs["within"]]
    most = Bar(at_most=1.1 if budget == "1G" else 4.3)
    report.add(Comparison(f"peak resident memory, {size}", "GB", peaks, bar=most))
    disk = [watched.most["within"] / tokens]
    name = f"most bytes on disk, the model's included, {size}"
    bar = Bar(at_most=60) if budget == "4G" else None  # as the one asked for: of 300 M tokens
    report.add(Comparison(name, "bytes a token", disk, bar=bar))


class _Disk:
    """Runs contenders and watches how much of the disk each takes at most."""

    def __init__(self, folder: Path) -> None:
        self.most: dict[str, int] = {}
        self._folder = folder

    def __call__(self, name: str, contender: partial[Run]) -> Run:
        before, done = self._used(), threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                self.most[name] = max(self.most.get(name, 0), self._used() - before)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            return contender()
        finally:
            done.set()
            watcher.join()

    def _used(self) -> int:
        total = 0
        for path in self._folder.rglob("*"):
            with contextlib.suppress(OSError):  # removed meanwhile
                total += path.stat().st_size if path.is_file() else 0
        return total


def _train(workspace: Workspace, text: Path, budget: str | None) -> Run:
    settings = workspace.settings
    model = workspace.folder / "within.safetensors"
    run = commands.train(
        text, model, order=settings.order, threads=settings.threads, memory=budget or "1000G"
    )
    remove(model)
    return run


def _kenlm(workspace: Workspace, text: Path, budget: str) -> Run:
    arpa, binary = workspace.folder / "within.arpa", workspace.folder / "within.kenlm"
    run = kenlm_programs.lmplz(text, arpa, order=workspace.settings.order, memory=budget)
    run = run.then(kenlm_programs.build_binary(arpa, binary))
    remove(arpa, binary)
    return run


def _limited(workspace: Workspace, report: Report, text: Path, tokens: int) -> None:
    """Train under a limit of the operating system, and compare the model with the usual one."""
    settings, budget = workspace.settings, _budget(tokens)
    limit = int(1.2e9 if budget == "1G" else 4.5e9)
    model, usual = workspace.folder / "limited.safetensors", workspace.folder / "usual.safetensors"
    shared = {"order": settings.order, "threads": settings.threads}
    with _control_group(limit) as group:
        if group is None:
            report.note("no control group can be made here: the limit of memory is not tried")
            return
        run = commands.train(text, model, **shared, memory=budget, group=group)
    name = f"time under a control group's limit of {limit / 1e9} GB, {tokens / 1e6:.3g} M tokens"
    report.add(Comparison(name, "s", [run.wall_s]))
    if tokens <= _IN_MEMORY:
        commands.train(text, usual, **shared, memory="1000G")
        if not commands.same_arrays(model, usual):
            raise BenchmarkError("the model from files differs from the one from memory")
        report.note("the model under the limit has the bytes of the one from memory")
    remove(model, usual)


def _quantized(workspace: Workspace, report: Report, text: Path, tokens: int) -> None:
    """Quantize within the budget, and compare with the model that is quantized in memory."""
    settings, budget = workspace.settings, _budget(tokens)
    model, usual = workspace.folder / "rounded.safetensors", workspace.folder / "usual.safetensors"
    shared = {"order": settings.order, "threads": settings.threads, "quantize": True}
    run = commands.train(text, model, **shared, memory=budget)
    size = f"{tokens / 1e6:.3g} M tokens, --memory {budget} --quantize 8"
    most = Bar(at_most=1.1 if budget == "1G" else 4.3)
    report.add(Comparison(f"peak resident memory, {size}", "GB", [run.peak_bytes / 1e9], bar=most))
    peer = None
    if tokens <= _IN_MEMORY:
        peer = commands.train(text, usual, **shared, memory="1000G")
        if not commands.same_arrays(model, usual):
            raise BenchmarkError("the quantized model from files differs from the one from memory")
    walls = [] if peer is None else [peer.wall_s]
    report.add(Comparison(f"time, {size}", "s", [run.wall_s], walls, "in memory"))
    remove(model, usual)


def _count_files(workspace: Workspace, report: Report) -> None:
    """Train on a count file within a budget and in memory, and compare the models."""
    settings, budget = workspace.settings, _budget(_LARGE)
    text, tokens = workspace.training(_LARGE)
    counts, model = workspace.folder / "within.counts", workspace.folder / "counted.safetensors"
    shared = {"order": settings.order, "threads": settings.threads}
    commands.count(text, counts, **shared)
    models = {name: model.with_stem(name.replace(" ", "-")) for name in ("within", "in memory")}

    def train(name: str, memory: str) -> Run:
        return commands.train(counts, models[name], **shared, memory=memory, from_counts=True)

    budgets = {"within": budget, "in memory": "1000G"}
    contenders = {name: partial(train, name, memory) for name, memory in budgets.items()}
    runs = interleave(contenders, settings.repeats)
    if not commands.same_arrays(*models.values()):
        raise BenchmarkError(
            "the model from files of a count file differs from the one from memory"
        )
    walls = {name: [run.wall_s for run in some] for name, some in runs.items()}
    size = f"count file of {tokens / 1e6:.3g} M tokens, --memory {budget}"
    report.add(Comparison(f"time, {size}", "s", walls["within"], walls["in memory"], "in memory"))
    peaks = [run.peak_bytes / 1e9 for run in runs["within"]]
    bar = Bar(at_most=1.1)
    report.add(Comparison(f"peak resident memory, {size}", "GB", peaks, bar=bar))
    report.details[f"count file of {tokens} tokens"] = {
        name: [run.numbers() for run in some] for name, some in runs.items()
    }
    remove(counts, *models.values())


@contextlib.contextmanager
def _control_group(limit: int) -> Iterator[Path | None]:
    """A control group that limits memory, or None where none can be made."""
    for root in _CONTROL_GROUPS:
        group = root / "unrolled-benchmark"
        try:
            group.mkdir()
            name = "memory.limit_in_bytes" if root.name == "memory" else "memory.max"
            (group / name).write_text(str(limit))
        except OSError:
            shutil.rmtree(group, ignore_errors=True)
            continue
        try:
            yield group
        finally:
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    yield None
