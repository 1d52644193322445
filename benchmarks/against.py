"""Speed of this tree against another commit, in one run: each task alternates between the two.

    python -m benchmarks.run --against 808af35
    python -m benchmarks.run --against HEAD~3 estimation single_score --text books.txt.xz

Each tree has one process, which imports the package of that tree and times the tasks of
`benchmarks.tasks` through the public Python interface; start-up is timed on the command line. The
ratio is the other commit's median time over this tree's: above 1 this tree is faster.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO

from benchmarks.measure import BenchmarkError
from benchmarks.tasks import START_UP, TASKS
from benchmarks.workspace import clean_lines, text_files

_ROOT = Path(__file__).resolve().parent.parent
BAR = 0.97


class Tree:
    """A source tree, with a process that runs tasks in it."""

    def __init__(self, root: Path, folder: Path, texts: Path, cores: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.texts = folder, texts
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(root / "src"), str(_ROOT)]),
            "NUMBA_CACHE_DIR": str(folder / "kernels"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        words = [sys.executable, "-m", "benchmarks.tasks", str(folder), str(texts), str(cores)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
            env=self.environment,
        )  # fmt: skip

    def seconds(self, task: str) -> float:
        """Run a task once, the first time after its preparation and one warm-up."""
        if task in START_UP:
            return self._start_up(START_UP[task])
        _stream(self.process.stdin).write(task + "\n")
        _stream(self.process.stdin).flush()
        answer = _stream(self.process.stdout).readline()
        if not answer:
            raise BenchmarkError(f"{task} failed in the tree '{self.folder.name}', see above")
        return float(answer)

    def _start_up(self, words: Sequence[str]) -> float:
        places = {"MODEL": self.folder / "small.safetensors", "TEXT": self.texts / "small.txt"}
        command = [sys.executable, *(str(places.get(word, word)) for word in words)]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, env=self.environment, cwd=self.folder)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise BenchmarkError(f"{' '.join(words)}: {done.stderr.decode()[-600:]}")
        return seconds

    def close(self) -> None:
        """End the process."""
        _stream(self.process.stdin).close()
        self.process.wait()


def run_against(
    commit: str, names: Sequence[str], *, text: Path | None, repeats: int, cores: int, tokens: int
) -> int:
    """Print the ratio of each task; the exit code is 1 where one is below the bar."""
    for name in names:
        if name not in (*TASKS, *START_UP):
            raise BenchmarkError(f"no task '{name}', known are {', '.join((*TASKS, *START_UP))}")
    with tempfile.TemporaryDirectory(prefix="unrolled-against-") as spare, ExitStack() as stack:
        folder = Path(spare)
        texts = folder / "texts"
        _write_texts(texts, text, tokens)
        roots = {"this": folder / "tree", "other": folder / "commit"}
        shutil.copytree(_ROOT / "src", roots["this"] / "src")  # edits during the run do no harm
        _extract(commit, roots["other"])
        trees = {name: Tree(root, folder / name, texts, cores) for name, root in roots.items()}
        for tree in trees.values():
            stack.callback(tree.close)
            tree.seconds("small_model")
            _wait_for_compilation(tree)
        print(f"ratio  task: median seconds of this tree | of {commit}", flush=True)
        chosen = names or [name for name in (*TASKS, *START_UP) if name != "small_model"]
        ratios = {name: _compare(name, trees, repeats) for name in chosen}
    slow = [f"{name} {ratio:.3f}" for name, ratio in ratios.items() if ratio < BAR]
    print(f"below {BAR}: " + ("; ".join(slow) or "none"))
    return 1 if slow else 0


def _wait_for_compilation(tree: Tree) -> None:
    """Wait until a background process, which some commits start, has compiled all kernels."""
    files, quiet = -1, 0
    while quiet < 8:
        time.sleep(1)
        found = sum(1 for _ in tree.folder.rglob("*"))
        files, quiet = found, quiet + 1 if found == files else 0


def _compare(name: str, trees: dict[str, Tree], repeats: int) -> float:
    """Alternate between the trees, at least so often, and for at least two seconds."""
    for tree in trees.values():  # prepares, and compiles what is not compiled
        tree.seconds(name)
    times: dict[str, list[float]] = {tree: [] for tree in trees}
    turn = 0
    while turn < repeats or (turn < 10 * repeats and sum(times["this"]) < 2):
        for tree in list(trees)[:: 1 if turn % 2 else -1]:
            times[tree].append(trees[tree].seconds(name))
        turn += 1
    mine, theirs = (statistics.median(times[tree]) for tree in ("this", "other"))
    best = min(times["other"]) / min(times["this"])
    print(
        f"{theirs / mine:5.3f}  {name}: {mine:.4g} | {theirs:.4g} | ratio of the fastest runs "
        f"{best:.3f} | {turn} runs each",
        flush=True,
    )
    return theirs / mine


def _extract(commit: str, folder: Path) -> None:
    """Write the tree of a commit into a folder."""
    git = ["git", "-C", str(_ROOT)]
    folder.mkdir()
    archive = subprocess.run([*git, "archive", commit], capture_output=True)
    if archive.returncode:
        raise BenchmarkError(archive.stderr.decode().strip())
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def _write_texts(folder: Path, text: Path | None, tokens: int) -> None:
    """A training text of about so many tokens, a tenth as many to score, and small texts."""
    folder.mkdir()
    lines = clean_lines(text_files(text, folder / "demo"))
    wanted = {"heldout": tokens // 10, "small": 2000, "net": 150_000, "train": tokens}
    for name, count in wanted.items():
        seen = 0
        with (folder / f"{name}.txt").open("wb") as out:
            for line in islice(lines, 10**9):
                out.write(line)
                seen += line.count(b" ") + 2
                if seen >= count:
                    break
        if not seen:
            raise BenchmarkError("the text is too short: name a longer one with --text")


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
