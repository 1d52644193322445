"""Processes that fork after they used a model, again and again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import unrolled
from test_forks import MODELS
from torture.figures import Figures

SECONDS = 60  # that the children of a round may take
PROCESSES = 4
ROUNDS = """
import multiprocessing, sys
import test_forks as forks

def child(model, expected, queue):
    queue.put(forks.use(model) == expected)

rounds, processes, seconds = map(int, sys.argv[2:])
model = forks.MODELS[sys.argv[1]]()
context = multiprocessing.get_context("fork")
for _ in range(rounds):
    expected = forks.use(model)
    queue = context.Queue()
    children = [
        context.Process(target=child, args=(model, expected, queue)) for _ in range(processes)
    ]
    for one in children:
        one.start()
    print(all([queue.get(timeout=seconds) for _ in children]), flush=True)
    for one in children:
        one.join(seconds)
"""


def try_forks(figures: Figures, rounds: int) -> None:
    """Rounds of processes that fork, for each kind of model."""
    source, tests = Path(unrolled.__file__).parents[1], Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as name:
        environment = {
            **os.environ, "PYTHONPATH": f"{source}{os.pathsep}{tests}", "FORK_TEST": name,
            "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of forks with threads
        }  # fmt: skip
        for kind in MODELS:
            words = [sys.executable, "-c", ROUNDS, kind, *map(str, (rounds, PROCESSES, SECONDS))]
            done = subprocess.run(words, capture_output=True, text=True, env=environment)
            answers = done.stdout.split()
            for number in range(rounds):
                answer = answers[number] if number < len(answers) else "it hangs or fails"
                problem = None if answer == "True" else f"{answer}: {done.stderr[-300:]}"
                figures.count(f"rounds of {PROCESSES} forks", f"{kind}, round {number}", problem)
