"""Commands on small files, what they print and write, and whether one held what is promised."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unrolled.storage.model_file import read_model

LIMIT = 120  # seconds

# What each command is given and, where it has one, the file that it writes.
QUICK: dict[str, tuple[str, str]] = {
    "train ngram": ("train ngram text -o {} --order 3 --smoothing witten-bell", "new.safetensors"),
    "count": ("count text -o {} --order 3", "new.gz"),
    "evaluate": ("evaluate a.safetensors text", ""),
    "score": ("score a.safetensors text", ""),
    "convert": ("convert a.safetensors {}", "new.arpa.gz"),
    "quantize": ("convert a.safetensors {} --quantize 8", "new.safetensors"),
    "prune": ("prune a.safetensors {} --threshold 1e-3", "new.safetensors"),
    "mix": ("mix a.safetensors b.safetensors -o {} --tune text", "new.safetensors"),
    "info": ("info a.safetensors --verify", ""),
    "generate": ("generate a.safetensors -n 3 --seed 1", ""),
    "rescore": ("rescore a.safetensors nbest --format moses -o {}", "new.txt"),
    "truncate": ("prune a.safetensors {} --order 2", "new.safetensors"),
    "fst": ("convert a.safetensors {}", "new.fst"),
    "annotate": ("annotate a.safetensors rows.jsonl -o {}", "new.jsonl"),
    "surprisal": ("surprisal a.safetensors stimuli.csv -o {}", "new.csv"),
}
SLOW: dict[str, tuple[str, str]] = {
    "evaluate net": ("evaluate net.safetensors text", ""),
    "evaluate tagger": ("evaluate tagger.safetensors words", ""),
    "tag": ("tag tagger.safetensors plain", ""),
    "generate from a net": ("generate net.safetensors -n 3 --seed 1", ""),
    "export": ("export tagger.safetensors {}", "new.onnx"),
    "gradients": ("gradients net.safetensors text --batch 2 --batches 1", ""),
    "train net": ("train net text -o {} --hidden 8 --set classes=3 --epochs 1", "new.safetensors"),
    "train tagger": (
        "train tagger words -o {} --hidden 4 --set embedding=4 --epochs 1", "new.safetensors"
    ),
}  # fmt: skip
OLD = b"what was there before"


class Outcome(NamedTuple):
    """Exit code, standard output, and lines of standard error that are no progress or notes."""

    code: int
    output: bytes
    problems: list[str]
    written: Any


def write_inputs(folder: Path, rng: random.Random, *, slow: bool = False) -> None:
    """Text and models that the commands read."""
    words = ["the", "cat", "dog", "sat", "ran", "on", "mat"]
    lines = [" ".join(rng.choices(words, k=rng.randint(2, 9))) for _ in range(300)]
    (folder / "text").write_text("\n".join(lines) + "\n")
    (folder / "nbest").write_text(
        "0 ||| the cat ||| LM0: -3 ||| -1\n0 ||| a dog ||| LM0: -2 ||| -2\n"
    )
    rows = [f'{{"id": {number}, "text": "{line}"}}\n' for number, line in enumerate(lines)]
    (folder / "rows.jsonl").write_text("".join(rows))
    (folder / "stimuli.csv").write_text("item,sentence\n1,the cat sat\n2,a dog ran\n")
    (folder / "new.words.txt").write_text("")  # written too, beside the automaton
    (folder / "words").write_text("Ann B-PER\nmet O\nBob B-PER\n. O\n\n" * 8)
    for name, order in (("a", 3), ("b", 2)):
        run(
            folder,
            f"train ngram text -o {name}.safetensors --smoothing witten-bell --order {order}",
        )
    if slow:
        (folder / "plain").write_text("Ann met Bob .\nBob ran .\n" * 20)
        for name in ("net", "tagger"):
            made = run(folder, SLOW[f"train {name}"][0].format(f"{name}.safetensors"))
            assert made.code == 0, made.problems


def started(
    folder: Path, words: str, *, variables: dict[str, str] | None = None,
    program: str = "-m unrolled", limits: str = "",
) -> subprocess.Popen[bytes]:  # fmt: skip
    """A command under way."""
    command = f"{limits} exec '{sys.executable}' {program} {words}"
    environment = {**os.environ, **(variables or {})}
    return subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[bytes], target: Path | None) -> Outcome:
    """What came of a command; -1 if it hangs."""
    try:
        output, messages = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Outcome(-1, b"", ["it hangs"], None if target is None else content(target))
    lines = messages.decode(errors="replace").splitlines()
    problems = [line for line in lines if line.strip() and not line.startswith(("[", "note: "))]
    return Outcome(
        process.returncode, output, problems, None if target is None else content(target)
    )


def run(folder: Path, words: str, target: str = "", **settings: Any) -> Outcome:
    """A command from its beginning to its end."""
    place = folder / target if target else None
    return ended(started(folder, words, **settings), place)


def content(path: Path) -> Any:
    """What a file holds, without when it was written."""
    data = path.read_bytes() if path.exists() else None
    if data is None or data == OLD or not path.name.endswith(".safetensors"):
        return data
    file = read_model(path, verify=True)
    return {name: np.array(array).tobytes() for name, array in file.arrays.items()}


def prepared(folder: Path, inputs: Path, target: str) -> None:
    """A fresh folder with the inputs, and something old where the command will write."""
    shutil.copytree(inputs, folder)
    if target:
        (folder / target).write_bytes(OLD)


def violation(
    outcome: Outcome, expected: Outcome, folder: Path, inputs: Path, target: str,
    *, fatal: Sequence[int] = (),
) -> str | None:  # fmt: skip
    """Which promise a command broke, if any.

    Args:
        fatal: exit codes of processes that a library ended, which then may print what it likes.
    """
    # What goes on after it was ended leaves a checkpoint or its finished part on purpose.
    resumable = (".checkpoint", ".partial")
    found = {path.name for path in folder.iterdir() if path.suffix not in resumable}
    if outcome.code in fatal:  # the next command that writes here removes these
        found = {name for name in found if not name.startswith(".unrolled-")}
    known = {path.name for path in inputs.iterdir()} | ({target} if target else set())
    if found != known:
        return f"files that are left over or gone: {sorted(found ^ known)}"
    if outcome.code == 0:
        same = (outcome.output, outcome.written) == (expected.output, expected.written)
        return None if same else "the result is not complete, and the exit code is 0"
    if target and outcome.written not in (OLD, expected.written):
        return "the old file is gone"
    if outcome.code in fatal:
        return None
    if outcome.code != 2:
        return f"the exit code is {outcome.code}: {outcome.problems[-3:]}"
    ours = [line for line in outcome.problems if line.startswith("unrolled: ")]
    if len(ours) != 1 or (len(outcome.problems) > 1 and not fatal):
        return f"no single sentence: {outcome.problems[-3:]}"
    return None
