"""Hostile requests get a 4xx with one sentence, and the server lives on in little memory."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

from server.hostile import kinds
from server.running import Server

KINDS = dict(kinds())
LONGEST = 1100  # characters of a sentence
GROWTH = 300 << 20  # bytes


def exchange(server: Server, data: bytes, timeout: float = 8) -> tuple[int, bytes]:
    """The status and the body that come back for bytes over a new connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=timeout) as one:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused at once
            one.sendall(data)
        received = b""
        while b"\r\n\r\n" not in received or len(received) < _length(received):
            try:
                part = one.recv(1 << 20)
            except (ConnectionResetError, TimeoutError):
                break
            if not part:
                break
            received += part
    if not received:
        return 0, b""
    return int(received[9:12]), received.partition(b"\r\n\r\n")[2]


def _length(received: bytes) -> int:
    head, _, _ = received.partition(b"\r\n\r\n")
    place = head.lower().find(b"content-length:")
    if place < 0:
        return 1 << 60
    return len(head) + 4 + int(head[place + 15 :].split(b"\r\n", 1)[0])


def memory(server: Server) -> int:
    """Bytes that are the server's own."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_there_are_three_hundred_kinds() -> None:
    assert len(KINDS) >= 300


def test_each_gets_a_4xx_with_one_sentence(server: Server) -> None:
    before, wrong = memory(server), []
    for name, sent in KINDS.items():
        status, body = exchange(server, sent)
        try:
            message = json.loads(body)["error"]["message"] if body else ""
        except (ValueError, KeyError, TypeError):
            message = repr(body[:200])
            status = -status
        sentence = bool(message) or name.startswith("HEAD")
        if not (400 <= status < 500 and sentence and len(message) <= LONGEST
                and "\n" not in message and "Traceback" not in message):  # fmt: skip
            wrong.append((name, status, message[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert memory(server) - before < GROWTH
    assert server.get("/health").status_code == 200
    assert "Traceback" not in "".join(server.log)
