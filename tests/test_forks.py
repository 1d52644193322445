"""Processes that fork after they used a model, as `multiprocessing` does by default on Linux."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unrolled

if "fork" not in multiprocessing.get_all_start_methods():
    pytest.skip("this system does not fork", allow_module_level=True)

SENTENCES = ["the cat sat on the mat", "a dog sat"] * 40
SECONDS = 60  # a child that waits for ever is ended after so many


def ngram() -> Any:
    return unrolled.train_ngram(texts=SENTENCES, order=2, smoothing="witten-bell")


def net(cell: str = "lstm") -> Any:
    from unrolled.neural.training import train_net

    folder = os.environ["FORK_TEST"]
    text = Path(folder, "text")
    text.write_text("\n".join(SENTENCES))
    return train_net(text, epochs=1, batch=8, hidden=128, classes=3, cell=cell, threads=2)


def tagger() -> Any:
    from unrolled.tagging.data.columns import TaggedSentence
    from unrolled.tagging.training import train_tagger

    sentence = TaggedSentence(("Ann", "ran"), ("B-PER", "O"))
    return train_tagger([sentence] * 8, hidden=128, epochs=1, threads=2)


def mixture() -> Any:
    return unrolled.Mixture([ngram(), net()], [0.5, 0.5])


def tagger_mixture() -> Any:
    return unrolled.TaggerMixture([tagger(), tagger()])


def use(model: Any) -> Any:
    """Scores with two threads, of so much text that each has work."""
    if hasattr(model, "predict"):
        return model.predict([["Ann", "ran"] * 200] * 4)
    return unrolled.evaluate(model, texts=SENTENCES * 5, threads=2).perplexity


MODELS: dict[str, Callable[[], Any]] = {
    "n-gram": ngram,
    "lstm": net,
    "elman": lambda: net("elman"),
    "mixture": mixture,
    "tagger": tagger,
    "tagger-mixture": tagger_mixture,
}
CHILDREN = """
import multiprocessing, sys
import test_forks as forks

def child(model, expected, queue):
    queue.put(forks.use(model) == expected or (forks.use(model), expected))

model = forks.MODELS[sys.argv[1]]()
expected = forks.use(model)
context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=child, args=(model, expected, queue)) for _ in range(4)]
for one in children:
    one.start()
print([queue.get(timeout=%d) for _ in children])
for one in children:
    one.join()
"""


@pytest.mark.parametrize("kind", MODELS)
def test_forked_processes_use_the_model_of_their_parent(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    paths = [str(Path(unrolled.__file__).parent.parent), str(Path(__file__).parent)]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(paths), "FORK_TEST": str(tmp_path),
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # Python 3.12 warns of forks with threads
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", CHILDREN % SECONDS, kind],
        capture_output=True, text=True, env=environment, timeout=3 * SECONDS, check=False,
    )  # fmt: skip
    assert done.stdout == f"{[True] * 4}\n", done.stderr


COMPILING = """
import os, sys, threading, time
from unrolled.runtime.compiler import njit

def compiled():
    return njit(lambda x: sum([x, 1, x * x]))(2)

compiled()
done = False

def compile_again_and_again():
    while not done:
        compiled()

thread = threading.Thread(target=compile_again_and_again)
thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if compiled() == 7 else 3)
    until = time.monotonic() + 30
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < until:
        time.sleep(0.01)
    print(ended == (child, 0))
    if ended == (0, 0):
        os.kill(child, 9)
        break
done = True
"""


def test_a_process_may_fork_while_it_compiles() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", COMPILING],
        capture_output=True, text=True, timeout=3 * SECONDS, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n" * 5, done.stderr
