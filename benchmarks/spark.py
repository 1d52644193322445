"""Bars: training on a Spark cluster of two processes, and scoring the rows of a DataFrame."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import commands
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report, Run, run_command
from benchmarks.workspace import Workspace, remove

NEEDS = ()
CLUSTER = "local-cluster[2,1,2048]"
_SHUFFLED = Bar(at_most=3)
_SCORING = Bar(at_least=0.7)

_SCORE = """
import sys, time, warnings
warnings.simplefilter("ignore")
import unrolled
from unrolled.scale.spark_session import spark_session
path, text, cores = sys.argv[1:]
# Spark's own pieces of 128 MB would leave a core without work at the end of a small text.
with spark_session(f"local[{cores}]", spark_sql_files_maxPartitionBytes="16m") as spark:
    rows = spark.read.option("lineSep", "\\n").text(text)
    # The first turn opens the model and starts Spark's Python processes, and until the third one
    # the JVM still compiles what reads and sends rows; on a large text that is soon over.
    for turn in range(3):
        begin = time.perf_counter()
        scored = unrolled.spark.score(rows, "value", path)
        tokens, total = scored.selectExpr("sum(tokens)", "sum(log_prob)").first()
        spark_s = time.perf_counter() - begin
model = unrolled.load(path)
begin = time.perf_counter()
plain = unrolled.evaluate(model, text, threads=int(cores))
plain_s = time.perf_counter() - begin
print("measured", tokens, spark_s, plain.tokens, plain_s, total, plain.log_prob)
"""


def run(workspace: Workspace, report: Report) -> None:
    """Train at the largest size beside ourselves in memory, and score a text."""
    report.note("two cores for Spark with its driver, and for us; kernels are compiled before")
    _train(workspace, report)
    _score(workspace, report)


def _train(workspace: Workspace, report: Report) -> None:
    settings = workspace.settings
    text, tokens = workspace.training(max(settings.tokens))
    plain, model = workspace.folder / "plain.safetensors", workspace.folder / "spark.safetensors"
    mine = commands.train(text, plain, order=settings.order, threads=settings.threads)
    with _event_log() as folder:
        spark = commands.unrolled(
            *("train", "ngram", text, "-o", model, "--order", str(settings.order)),
            *("--spark", CLUSTER),
        )
        shuffled = _shuffle_bytes(folder)
    if not _same_arrays(plain, model):
        raise BenchmarkError("the model of the cluster is not that of memory")
    ngrams = sum(commands.load(plain).info()["n-grams"])
    size = plain.stat().st_size
    name = f"training on {CLUSTER}, {tokens / 1e6:.3g} M tokens"
    report.add(Comparison(name, "s", [spark.wall_s], [mine.wall_s], "unrolled in memory"))
    name = f"bytes shuffled over those of the model, {ngrams / 1e6:.3g} M n-grams"
    report.add(Comparison(name, "times", [shuffled / size], bar=_SHUFFLED))
    report.details["training"] = {
        "spark": spark.numbers(),
        "memory": mine.numbers(),
        "shuffled_bytes": shuffled,
        "model_bytes": size,
        "ngrams": ngrams,
    }
    remove(plain, model)


def _same_arrays(one: Path, other: Path) -> bool:
    arrays = [commands.load(path).arrays() for path in (one, other)]
    return all(array.tobytes() == arrays[1][name].tobytes() for name, array in arrays[0].items())


@contextlib.contextmanager
def _event_log() -> Iterator[Path]:
    """Have Spark log its events to a folder."""
    with tempfile.TemporaryDirectory(prefix="unrolled-spark-events-") as folder:
        conf = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",
            "spark.eventLog.dir": f"file://{folder}",
        }
        given = " ".join(f"--conf {name}={value}" for name, value in conf.items())
        os.environ["PYSPARK_SUBMIT_ARGS"] = f"{given} pyspark-shell"
        try:
            yield Path(folder)
        finally:
            del os.environ["PYSPARK_SUBMIT_ARGS"]


def _shuffle_bytes(folder: Path) -> int:
    """Bytes that all tasks wrote for exchanges, as they went over the network (compressed)."""
    total = 0
    for path in folder.rglob("*"):
        if path.is_file() and path.name.startswith(("app-", "events_", "local-")):
            for line in io.TextIOWrapper(path.open("rb"), errors="replace"):
                if '"SparkListenerTaskEnd"' in line:
                    metrics = json.loads(line).get("Task Metrics", {})
                    total += metrics.get("Shuffle Write Metrics", {}).get(
                        "Shuffle Bytes Written", 0
                    )
    return total


def _score(workspace: Workspace, report: Report) -> None:
    settings = workspace.settings
    small, _ = workspace.training(settings.model_tokens)
    text, tokens = workspace.training(max(settings.tokens))
    model = workspace.model(small)
    runs = [_scored(model, text, settings.threads) for _ in range(settings.repeats)]
    speeds = [run[0] for run in runs], [run[1] for run in runs]
    name = f"scoring rows of a DataFrame on local[2], {tokens / 1e6:.3g} M tokens"
    report.add(Comparison(name, "tokens/s", *speeds, "evaluate", _SCORING))


def _scored(model: Path, text: Path, cores: int) -> tuple[float, float]:
    found: Run = run_command([sys.executable, "-c", _SCORE, model, text, str(cores)])
    line = re.search(r"measured (.*)", found.stdout)
    if line is None:
        raise BenchmarkError(f"scoring on Spark failed: {found.stdout[-300:]}")
    tokens, spark_s, plain_tokens, plain_s, total, plain_total = map(float, line[1].split())
    if tokens != plain_tokens or abs(total / plain_total - 1) > 1e-9:
        raise BenchmarkError("the scores of Spark are not those of evaluate")
    return tokens / spark_s, plain_tokens / plain_s
