"""A real server process on a free port of this machine, and requests to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

SOURCE = Path(__file__).parents[2] / "src"


class Server:
    """A server that runs; ``log`` is what it has printed."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: list[str]) -> None:
        self.process, self.url, self.log = process, url, log
        self.client = httpx.Client(base_url=url, timeout=30)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return self.client.post(path, json=body, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(path, **more)

    def json(self, path: str, **fields: Any) -> Any:
        """The answer to a request that must succeed."""
        answer = self.post(path, fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def running(*words: object, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """``unrolled serve`` with these words, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "unrolled", "serve", "--port", "0", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **(environment or {})},
    )
    log: list[str] = []
    reader: threading.Thread | None = None
    try:
        url = _address(process, log)
        reader = threading.Thread(target=_drain, args=(process, log), daemon=True)
        reader.start()
        server = Server(process, url, log)
        with server.client:
            yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            process.wait()
            if reader is not None:
                reader.join(5)
            assert process.stderr is not None
            process.stderr.close()


def _address(process: subprocess.Popen[str], log: list[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        found = re.search(r"at (http://\S+:\d+)/", line)
        if found:
            return found[1]
    raise AssertionError(f"the server did not start: {''.join(log)}")


def _drain(process: subprocess.Popen[str], log: list[str]) -> None:
    assert process.stderr is not None
    with contextlib.suppress(ValueError):
        log.extend(process.stderr)
