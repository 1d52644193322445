"""Signals and kills at random moments, and little memory, over all commands."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

from torture.commands import Outcome, ended, prepared, run, started, violation
from torture.figures import Figures

STOPPED = "unrolled: stopped; nothing half-written is left"


def try_interruptions(
    figures: Figures, rng: random.Random, inputs: Path, commands: dict[str, tuple[str, str]],
    each: int, seconds: float = 1.0,
) -> None:  # fmt: skip
    """Send so many signals of both kinds to each command, and kill it so many times.

    Args:
        seconds: that a command may take to obey.
    """
    folder = inputs.with_name("interrupted")
    for name, (words, target) in commands.items():
        words = words.format(target)
        prepared(folder, inputs, target)
        began = time.monotonic()
        expected = run(folder, words, target)
        took = time.monotonic() - began
        for number in range(each):
            how = (signal.SIGINT, signal.SIGTERM)[number % 2]
            shutil.rmtree(folder)
            prepared(folder, inputs, target)
            after = rng.uniform(0, 1.1 * took)
            problem = _signalled(folder, words, target, inputs, expected, how, after, seconds)
            figures.count("signal", f"{name}, {how.name} after {after:.2f} s", problem)
        for _ in range(each):
            shutil.rmtree(folder)
            prepared(folder, inputs, target)
            after = rng.uniform(0, 1.1 * took)
            process = started(folder, words)
            time.sleep(after)
            process.kill()
            ended(process, None)
            again = run(folder, words, target)
            problem = violation(again, expected, folder, inputs, target)
            if again.code != 0:
                problem = f"the next run ends with {again.code}"
            figures.count("kill -9, then the same again", f"{name}, {after:.2f} s", problem)
        shutil.rmtree(folder)


def try_little_memory(
    figures: Figures, rng: random.Random, inputs: Path, commands: dict[str, tuple[str, str]],
    each: int,
) -> None:  # fmt: skip
    """Run each command so many times with 200 to 3,000 MB of address space."""
    folder = inputs.with_name("limited")
    for name, (words, target) in commands.items():
        words = words.format(target)
        prepared(folder, inputs, target)
        expected = run(folder, words, target)
        for _ in range(each):
            shutil.rmtree(folder)
            prepared(folder, inputs, target)
            megabytes = rng.randint(200, 3000)
            found = run(folder, words, target, limits=f"ulimit -v {1024 * megabytes};")
            fatal = (-6, -11, 1, 127) if not _traceback(found) else ()
            problem = violation(found, expected, folder, inputs, target, fatal=fatal)
            figures.count("little memory", f"{name}, {megabytes} MB", problem)
        shutil.rmtree(folder)


def _signalled(
    folder: Path, words: str, target: str, inputs: Path, expected: Outcome,
    how: signal.Signals, after: float, seconds: float,
) -> str | None:  # fmt: skip
    """What is wrong with how a command obeys a signal, if anything."""
    process = started(folder, words)
    time.sleep(after)
    over = process.poll() is not None
    process.send_signal(how)
    began = time.monotonic()
    found = ended(process, folder / target if target else None)
    took = time.monotonic() - began
    if not over and took > seconds:
        return f"it takes {took:.1f} s"
    # A negative code: the signal came before the command began, or after it was done.
    obeyed = (128 + how, -how, 1) if _while_python_starts(found) else (128 + how, -how)
    if found.code == 128 + how and found.problems != [STOPPED]:
        return f"no single sentence: {found.problems[-3:]}"
    return violation(found, expected, folder, inputs, target, fatal=obeyed)


def _while_python_starts(outcome: Outcome) -> bool:
    """Whether Ctrl-C came in the hundredths of a second before Python has read any of our code."""
    ours = any("unrolled" in line for line in outcome.problems)
    return outcome.problems[-1:] == ["KeyboardInterrupt"] and not ours


def _traceback(outcome: Outcome) -> bool:
    return any("Traceback" in line for line in outcome.problems)
