"""Bar: PyTorch's own example word_language_model, the same net, sizes and settings.

Its folder is named by the environment variable WORD_LANGUAGE_MODEL; it is in
https://github.com/pytorch/examples.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, run_command
from benchmarks.workspace import Workspace

NEEDS = ()
_SPEED, _PERPLEXITY = Bar(at_least=2), Bar(at_most=1)
_EPOCHS = 2
# The example's own defaults, but for a batch that both can use well.
_BATCH, _HIDDEN, _RATE, _CLIP, _DROPOUT = 20, 200, 20, 0.25, 0.2
# The softmax by classes sees a class many times as often as the full one a word: at the example's
# rate it does not settle.
_CLASSES, _CLASS_RATE = 400, 14


def run(workspace: Workspace, report: Report) -> None:
    """Two epochs of both, from raw text; perplexity on the validation text."""
    example = os.environ.get("WORD_LANGUAGE_MODEL")
    if not example:
        report.note("skipped: WORD_LANGUAGE_MODEL does not name the example's folder")
        return
    mine = _mine(workspace)
    theirs = _theirs(Path(example), workspace)
    name = f"LSTM 2 x {_HIDDEN}, tied, batch {_BATCH} x 35, {_EPOCHS} epochs"
    report.add(Comparison(name, "tokens/s", [mine[0]], [theirs[0]], "word_language_model", _SPEED))
    report.add(
        Comparison(
            "validation perplexity then",
            "",
            [mine[1]],
            [theirs[1]],
            "word_language_model",
            _PERPLEXITY,
        )
    )


def _theirs(example: Path, workspace: Workspace) -> tuple[float, float]:
    folder = workspace.folder / "example"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        shutil.copy(workspace.ptb(part), folder / f"{part}.txt")
    command = [
        sys.executable, example / "main.py", "--data", folder, "--model", "LSTM", "--tied",
        "--emsize", str(_HIDDEN), "--nhid", str(_HIDDEN), "--nlayers", "2", "--batch_size",
        str(_BATCH), "--lr", str(_RATE), "--clip", str(_CLIP), "--dropout", str(_DROPOUT),
        "--epochs", str(_EPOCHS), "--save", folder / "model.pt",
    ]  # fmt: skip
    output = run_command(command, environment={**os.environ, "PYTHONPATH": str(example)}).stdout
    epochs = re.findall(r"end of epoch +\d+ \| time: +([\d.]+)s .*?valid ppl +([\d.]+)", output)
    batches = re.findall(r"ms/batch +([\d.]+)", output)
    if len(epochs) != _EPOCHS or not batches:
        raise BenchmarkError("the example's output is not what it was")
    milliseconds = sum(map(float, batches)) / len(batches)
    return _BATCH * 35 / milliseconds * 1000, float(epochs[-1][1])


def _mine(workspace: Workspace) -> tuple[float, float]:
    target = workspace.folder / "mine.safetensors"
    dropout = str(_DROPOUT)
    commands.unrolled(
        "train", "net", workspace.ptb("train"), "--valid", workspace.ptb("valid"), "-o", target,
        "--layers", "2", "--hidden", str(_HIDDEN), "--batch", str(_BATCH), "--rate",
        str(_CLASS_RATE), "--dropout", dropout, "--epochs", str(_EPOCHS), "--set", "optimiser=sgd",
        "--set", "schedule=constant", "--set", "warmup=0", "--set", f"clip_norm={_CLIP}",
        "--set", f"classes={_CLASSES}",
    )  # fmt: skip
    from unrolled.storage.model_file import read_model

    curve = read_model(target).provenance["training"]["curve"]
    tokens = sum(point["tokens"] for point in curve)
    seconds = sum(point["seconds"] for point in curve)
    return tokens / seconds, float(curve[-1]["valid_perplexity"])
