"""Bar: the C++ peer faster-rnnlm's best validation perplexity, in at most half its time.

Its program is named by the environment variable FASTER_RNNLM; build
https://github.com/yandex/faster-rnnlm (it needs Eigen) outside this repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, run_command
from benchmarks.workspace import Workspace

NEEDS = ()
_TIME, _END = Bar(at_most=0.5), Bar(at_most=1)
_PEER = ("-hidden", "200", "-hidden-type", "sigmoid", "-direct", "100", "-direct-order", "3")
# The same width and depth, and two passes: what the peer has not learned after fourteen.
_OURS = ("--cell", "elman", "--hidden", "200", "--epochs", "2", "--batch", "32", "--rate", "0.008",
         "--dropout", "0.05 0 0.2")  # fmt: skip


def run(workspace: Workspace, report: Report) -> None:
    """Train both on the Penn Treebank with validation after each epoch."""
    program = os.environ.get("FASTER_RNNLM")
    if not program:
        report.note("skipped: FASTER_RNNLM does not name its program rnnlm")
        return
    texts = [workspace.ptb(part) for part in ("train", "valid")]
    theirs = _theirs(Path(program), texts, workspace)
    mine = _mine(texts, workspace)
    best, wall = min((perplexity, seconds) for seconds, perplexity in theirs)
    reached = [seconds for seconds, perplexity in mine if perplexity <= best]
    if not reached:
        raise BenchmarkError(f"we never reached {best:.2f}: {mine}")
    report.add(
        Comparison(
            f"wall time to validation perplexity {best:.1f}",
            "s",
            [reached[0]],
            [wall],
            "faster-rnnlm",
            _TIME,
        )
    )
    ends = min(perplexity for _, perplexity in mine)
    report.add(Comparison("best validation perplexity", "", [ends], [best], "faster-rnnlm", _END))
    report.details.update({"faster-rnnlm": theirs, "unrolled": mine})


def _theirs(program: Path, texts: list[Path], workspace: Workspace) -> list[tuple[float, float]]:
    """(wall seconds since the start, validation perplexity) after each epoch."""
    train, valid = texts
    command = [
        program, "-rnnlm", workspace.folder / "peer.rnnlm", "-train", train, "-valid", valid,
        *_PEER, "-threads", str(workspace.settings.threads),
    ]  # fmt: skip
    ran = run_command(command)
    epochs = re.findall(
        r"entropy \(bits\).*?valid: +([\d.]+).*?elapsed: ([\d.]+)(s|m)\+([\d.]+)(?:s|m)", ran.stderr
    )
    if not epochs:
        raise BenchmarkError("faster-rnnlm's output has no epochs")
    clock, found = 0.0, []
    spent = sum((float(a) + float(b)) * (60 if unit == "m" else 1) for _, a, unit, b in epochs)
    clock = max(ran.wall_s - spent, 0.0)  # reading, and starting; it tells epochs apart only
    for entropy, training, unit, validation in epochs:
        clock += (float(training) + float(validation)) * (60 if unit == "m" else 1)
        found.append((clock, 2 ** float(entropy)))
    return found


def _mine(texts: list[Path], workspace: Workspace) -> list[tuple[float, float]]:
    train, valid = texts
    target = workspace.folder / "mine.safetensors"
    ran = commands.unrolled("train", "net", train, "--valid", valid, "-o", target, *_OURS)
    lines = re.findall(r"\[ *([\d.]+) s\] epoch .*?valid ppl +([\d.]+)", ran.stderr)
    return [(float(clock) + _STARTING, float(perplexity)) for clock, perplexity in lines]


_STARTING = 1.0  # seconds of starting Python before our own clock runs, rounded up
