"""Bars of the server: requests a second, latency, overload, and tokens a second in batches."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.http_load import Load, request_of, send_load
from benchmarks.measure import Bar, BenchmarkError, Comparison, Report
from benchmarks.workspace import Workspace

NEEDS = ()
CONNECTIONS = 64
OVERLOAD = 10  # times as many connections
_RATE = Bar(at_least=2000)
_P99 = Bar(at_most=80)
_TOKENS = Bar(at_least=1e6)
_NONE = Bar(at_most=0)
_RECOVERY = Bar(at_most=2)
_BATCH_SENTENCES = 20_000


def run(workspace: Workspace, report: Report) -> None:
    """One process serves the 5-gram; requests come from this process."""
    text, _ = workspace.training(workspace.settings.model_tokens)
    model = workspace.model(text)
    sentences = _sentences(workspace.heldout()[0])
    seconds = 30.0 if workspace.settings.repeats > 1 else 5.0
    with serving(model) as (port, process):
        requests = [
            request_of("/score", json.dumps({"sentence": sentence}).encode())
            for sentence in sentences[:5000]
        ]
        send_load(port, requests, CONNECTIONS, 1)
        _steady(report, port, requests, workspace.settings.repeats)
        _overload(report, port, requests, seconds, process)
        _batches(report, port, sentences, workspace.settings.repeats)


def _steady(report: Report, port: int, requests: list[bytes], repeats: int) -> None:
    loads = [send_load(port, requests, CONNECTIONS, 5) for _ in range(repeats)]
    for load in loads:
        _require_only(load, 200)
    rates = [load.rate for load in loads]
    name = f"single sentences, {CONNECTIONS} connections"
    report.add(Comparison(name, "requests/s", rates, bar=_RATE))
    report.add(Comparison(f"{name}, p99", "ms", [load.percentile(99) for load in loads], bar=_P99))
    report.details["p50_ms"] = [load.percentile(50) for load in loads]


def _overload(
    report: Report, port: int, requests: list[bytes], seconds: float, process: int
) -> None:
    before = _memory(process)
    load = send_load(port, requests, CONNECTIONS * OVERLOAD, seconds)
    ended = time.perf_counter()
    errors = sum(count for status, count in load.statuses.items() if status not in (200, 429))
    name = f"{OVERLOAD}x overload for {seconds:g} s"
    report.add(Comparison(f"{name}, errors but 429", "", [float(errors)], bar=_NONE))
    recovered = np.inf
    while time.perf_counter() - ended < 10:
        after = send_load(port, requests, CONNECTIONS, 0.25)
        if set(after.statuses) == {200} and after.percentile(99) < 80:
            recovered = time.perf_counter() - ended
            break
    report.add(Comparison(f"{name}, recovery", "s", [recovered], bar=_RECOVERY))
    report.details["overload"] = {
        "statuses": {str(status): count for status, count in load.statuses.items()},
        "answered_per_s": load.rate,
        "p99_ms": load.percentile(99),
        "memory_before": before,
        "memory_after": _memory(process),
    }
    report.note(
        f"overload: {load.rate:,.0f}/s answered, {load.statuses[429] / load.seconds:,.0f}/s shed, "
        f"p99 of answers {load.percentile(99):.0f} ms"
    )


def _batches(report: Report, port: int, sentences: list[str], repeats: int) -> None:
    chosen = sentences[:_BATCH_SENTENCES]
    tokens = sum(sentence.count(" ") + 2 for sentence in chosen)
    request = request_of("/score", json.dumps({"sentences": chosen}).encode())
    speeds = []
    for _ in range(repeats + 1):
        load = _one(port, request)
        speeds.append(tokens / load)
    speeds = speeds[1:]
    report.add(Comparison("batches", "tokens/s", speeds, bar=_TOKENS))


def _one(port: int, request: bytes) -> float:
    """Seconds of one request."""
    import http.client

    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1].decode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    begin = time.perf_counter()
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = answer.read()
    took = time.perf_counter() - begin
    connection.close()
    if answer.status != 200:
        raise BenchmarkError(found.decode()[:300])
    return took


def _require_only(load: Load, status: int) -> None:
    if set(load.statuses) != {status}:
        raise BenchmarkError(f"answers by status: {dict(load.statuses)}")


def _sentences(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()]


def _memory(process: int) -> int:
    """Resident bytes that are the process's own."""
    with open(f"/proc/{process}/status") as lines:  # noqa: PTH123
        found = {
            line.split(":")[0]: line.split()[1] for line in lines if line.startswith("RssAnon")
        }
    return int(found["RssAnon"]) * 1024


@contextlib.contextmanager
def serving(*models: Path, options: tuple[str, ...] = ()) -> Iterator[tuple[int, int]]:
    """A server of models: its port and its process."""
    command = [sys.executable, "-m", "unrolled", "serve", "--port", "0", *options]
    process = subprocess.Popen(
        [*command, *map(str, models)], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r":(\d+)/$", line.strip()):
                yield int(found[1]), process.pid
                return
        raise BenchmarkError("the server did not start: " + "".join(lines))
    finally:
        process.terminate()
        process.wait(60)
