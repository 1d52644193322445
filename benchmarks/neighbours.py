"""Bar: what training and tagging lose to other processes: no more than those take.

Beside one busy process on each core a program's fair share is a half of what it has alone, beside
two it is a third. Each job runs alone, beside one and beside two, in turns, with the threads that
users get and with a single one; so does a plain loop of one thread, which shows the share that the
system really gives.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.measure import Bar, Comparison, Report
from benchmarks.workspace import Workspace

NEEDS = ()
_SECONDS = 3.0  # of one job at a time
_LONGEST = 600  # seconds after which a busy process ends by itself
_FAIR = {1: Bar(at_least=0.4), 2: Bar(at_least=0.27)}  # 0.8 of the fair shares
_SENTENCES = 2000
_LONG_WORD = 6
_LONG_LINE = 20_000  # words of one sentence
_BUSY = "import sys, time\nend = time.time() + float(sys.argv[1])\nwhile time.time() < end: pass"

Job = Callable[[], int]  # does a little and returns how many tokens that were


def run(workspace: Workspace, report: Report) -> None:
    """Every job with the default threads and with one; fractions of its speed alone."""
    try:
        import unrolled.neural  # noqa: F401 (before torch: it settles how torch's threads wait)
    except ImportError:
        report.note("skipped: torch is not installed")
        return
    jobs = _jobs(workspace)
    for job in jobs.values():  # kernels are compiled, memory is taken, and words become known
        _speed(job, workspace.settings.threads)
    speeds: dict[tuple[str, int, int], list[float]] = {}
    for _ in range(workspace.settings.repeats):
        for busy in (0, 1, 2):
            with _busy_processes(busy * workspace.settings.threads):
                for name, job in jobs.items():
                    for threads in (workspace.settings.threads, 1):
                        speed = _speed(job, threads)
                        speeds.setdefault((name, threads, busy), []).append(speed)
    for name in jobs:
        _report(name, workspace.settings.threads, speeds, report)


def _report(name: str, threads: int, speeds: Any, report: Report) -> None:
    for busy, bar in _FAIR.items():
        title = f"{name}, beside {busy} on each core"
        report.add(
            Comparison(title, "tokens/s", speeds[name, threads, busy], speeds[name, threads, 0],
                       "alone", None if name == "plain loop" else bar)
        )  # fmt: skip
    single = [statistics.median(speeds[name, 1, busy]) for busy in (0, 1, 2)]
    report.note(
        f"{name} with one thread: {single[1] / single[0]:.3g}x and {single[2] / single[0]:.3g}x; "
        f"alone {single[0]:,.0f} tokens/s"
    )


@contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    """Python loops that do nothing but run, as many as asked for."""
    command = [sys.executable, "-S", "-E", "-c", _BUSY, str(_LONGEST)]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        time.sleep(0.2)  # until all run
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def _speed(job: Job, threads: int) -> float:
    """Tokens a second."""
    from unrolled.runtime.torch_threads import set_threads

    set_threads(threads)
    job()
    tokens, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < _SECONDS:
        tokens += job()
    return tokens / (time.perf_counter() - begin)


def _jobs(workspace: Workspace) -> dict[str, Job]:
    text, _ = workspace.training(200_000)
    sentences = _tagged(text)
    tagger = _tagger_training(sentences, workspace)
    tagging = _tagger_loop(sentences, workspace).task.tagger
    tagging.net.eval()
    words = [sentence.words for sentence in sentences]
    long = tuple(word for sentence in words for word in sentence)[:_LONG_LINE]
    tagging.predict(words[:200])  # kernels are compiled
    parts = cycle([words[low : low + 200] for low in range(0, len(words), 200)])
    return {
        "plain loop": _plain_loop,
        "training a tagger": tagger,
        "tagging": lambda: _tag(tagging, next(parts)),
        f"tagging one line of {len(long):,} words": lambda: _tag(tagging, [long]),
        "training an LSTM": _net_training(text, workspace, cell="lstm"),
        "training an Elman net": _net_training(text, workspace, cell="elman", tied=False),
    }


def _plain_loop() -> int:
    for _ in range(100_000):
        pass
    return 100_000


def _tagged(text: Path) -> list[Any]:
    """Sentences in which long words are names: tags enough for a measure of speed."""
    from unrolled.tagging.data.columns import TaggedSentence

    sentences = []
    for line in text.read_text(encoding="utf-8").splitlines()[:_SENTENCES]:
        words = tuple(line.split())
        tags = tuple("B-NAME" if len(word) > _LONG_WORD else "O" for word in words)
        sentences.append(TaggedSentence(words, tags))
    return sentences


def _tag(tagger: Any, sentences: Any) -> int:
    tagger.predict(sentences)
    return sum(map(len, sentences))


def _tagger_loop(sentences: list[Any], workspace: Workspace) -> Any:
    from unrolled.tagging.config import split_settings
    from unrolled.tagging.task import TaggerTask
    from unrolled.training.loop import TrainingLoop

    config, training = split_settings({})
    task = TaggerTask(sentences, [], config, training, threads=workspace.settings.threads)
    task.tagger.net.train()
    return TrainingLoop(task)


def _tagger_training(sentences: list[Any], workspace: Workspace) -> Job:
    return _steps(_tagger_loop(sentences, workspace))


def _net_training(text: Path, workspace: Workspace, **settings: Any) -> Job:
    from unrolled.neural.config import split_settings
    from unrolled.neural.task import LanguageModelTask
    from unrolled.text.corpus import read_corpus
    from unrolled.training.loop import TrainingLoop

    config, training = split_settings(settings)
    threads = workspace.settings.threads
    corpus = read_corpus(text, threads=threads)
    task = LanguageModelTask(corpus, None, config, training, threads=threads)
    task.net.train()
    return _steps(TrainingLoop(task))


def _steps(loop: Any) -> Job:
    """Training batch by batch, an epoch after another."""
    batches = (batch for epoch in range(1_000_000) for batch in loop.task.batches(epoch))
    return lambda: int(loop.train_batch(next(batches)).tokens)
