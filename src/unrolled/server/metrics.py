"""Counters and latencies in Prometheus's text format.

The processes of a server write their numbers into one small file that all of them map, a row each,
so that whichever process is asked gives the sums of all.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STATUSES = (200, 304, 400, 401, 404, 405, 408, 413, 415, 422, 429, 431, 500, 503, 0)  # 0: any other
TOTALS = {
    "sentences_total": "Sentences scored in batches of single ones.",
    "tokens_total": "Tokens of those sentences.",
    "batches_total": "Those batches.",
    "reloads_total": "Models loaded again because their file was replaced.",
    "failed_reloads_total": "New model files that could not be loaded.",
    "running": "Requests that run now.",
}


class Metrics:
    """The counters of one process among those of all.

    Args:
        endpoints: the names of the endpoints that are counted.
        file: that all processes share; empty for one process.
        row: this process's number. rows: how many there are.
    """

    def __init__(
        self, endpoints: Sequence[str], file: str = "", row: int = 0, rows: int = 1
    ) -> None:
        self.endpoints = list(endpoints)
        self._places = {name: number for number, name in enumerate(self.endpoints)}
        self._statuses = {status: number for number, status in enumerate(STATUSES)}
        sizes = (len(self.endpoints) * (len(STATUSES) + len(BUCKETS) + 2), len(TOTALS))
        self._all = _shared(file, (rows, sum(sizes)))
        own = self._all[row]
        own[:] = 0  # of a process before this one
        self._own = self._parts(own)
        self._total_places = {name: number for number, name in enumerate(TOTALS)}

    def _parts(self, row: Array) -> tuple[Array, Array, Array]:
        """Requests by endpoint and status, latencies by endpoint (count, sum, buckets), totals."""
        count = len(self.endpoints)
        split = count * len(STATUSES)
        return (
            row[:split].reshape(count, len(STATUSES)),
            row[split : len(row) - len(TOTALS)].reshape(count, len(BUCKETS) + 2),
            row[len(row) - len(TOTALS) :],
        )

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        requests, latencies, _ = self._own
        place = self._places[endpoint]
        requests[place, self._statuses.get(status, len(STATUSES) - 1)] += 1
        row = latencies[place]
        row[0] += 1
        row[1] += seconds
        for number, most in enumerate(BUCKETS):
            if seconds <= most:
                row[2 + number] += 1
                break

    def add(self, name: str, value: float = 1.0) -> None:
        """Add to one of `TOTALS`."""
        self._own[2][self._total_places[name]] += value

    def text(self) -> str:
        """All numbers, of all processes."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        requests, latencies, totals = self._parts(self._all.sum(axis=0))
        yield "# HELP unrolled_requests_total Answers by endpoint and status."
        yield "# TYPE unrolled_requests_total counter"
        for name, row in zip(self.endpoints, requests.tolist(), strict=True):
            for status, count in zip(STATUSES, row, strict=True):
                if count:
                    label = f'endpoint="{name}",status="{status or "other"}"'
                    yield f"unrolled_requests_total{{{label}}} {count:.0f}"
        yield "# HELP unrolled_request_seconds Seconds from a request's start to its answer's end."
        yield "# TYPE unrolled_request_seconds histogram"
        for name, row in zip(self.endpoints, latencies.tolist(), strict=True):
            if not row[0]:
                continue
            for most, count in zip(BUCKETS, np.cumsum(row[2:]).tolist(), strict=True):
                label = f'endpoint="{name}",le="{most:g}"'
                yield f"unrolled_request_seconds_bucket{{{label}}} {count:.0f}"
            label = f'endpoint="{name}"'
            yield f'unrolled_request_seconds_bucket{{{label},le="+Inf"}} {row[0]:.0f}'
            yield f"unrolled_request_seconds_sum{{{label}}} {row[1]:.6f}"
            yield f"unrolled_request_seconds_count{{{label}}} {row[0]:.0f}"
        for (name, about), value in zip(TOTALS.items(), totals.tolist(), strict=True):
            kind = "counter" if name.endswith("_total") else "gauge"
            yield f"# HELP unrolled_{name} {about}"
            yield f"# TYPE unrolled_{name} {kind}"
            yield f"unrolled_{name} {value:.0f}"


def _shared(file: str, shape: tuple[int, int]) -> Array:
    """Float64 zeros, or a mapping of the file, which is made as large as is needed."""
    if not file:
        return np.zeros(shape)
    size = 8 * shape[0] * shape[1]
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        mapped = mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
    return np.frombuffer(mapped, np.float64).reshape(shape)
