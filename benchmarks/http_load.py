"""Many HTTP connections from one thread, each sending its next request when it has its answer."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Load:
    """What came back.

    Attributes:
        seconds: how long requests were sent. statuses: answers by status; 0 for broken connections.
        latencies: of each answer with status 200, in seconds. times: when each came, from the
            start.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers with status 200 a second."""
        return self.statuses[200] / self.seconds

    def percentile(self, share: float) -> float:
        """Latency in milliseconds that this percentage of answers does not exceed."""
        return 1000 * float(np.percentile(self.latencies, share)) if self.latencies else np.inf


def request_of(path: str, body: bytes, host: str = "127.0.0.1") -> bytes:
    """The bytes of a POST of JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_load(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, *, pause: float = 0.0
) -> Load:
    """Send requests in turn over so many connections.

    Args:
        pause: seconds that a connection waits after an answer other than 200; a client that obeys
            Retry-After waits.
    """
    load = Load()
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    parts: dict[int, bytes] = {}
    paused: list[tuple[float, int]] = []
    number = 0

    def open_one() -> None:
        one = socket.create_connection(("127.0.0.1", port), timeout=10)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        sockets[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLIN)

    def send_next(place: int) -> None:
        nonlocal number
        sent[place] = time.perf_counter()
        sockets[place].send(requests[number % len(requests)])
        number += 1

    for _ in range(connections):
        open_one()
    begin = time.perf_counter()
    for place in sockets:
        send_next(place)
    now = begin
    while sent or paused:
        sending = now - begin < seconds
        if not sending and now - begin > seconds + 30:
            load.statuses[0] += len(sent)
            break
        for place, _ in poll.poll(0.05):
            try:
                data = sockets[place].recv(1 << 16)
            except OSError:
                data = b""
            now = time.perf_counter()
            if not data:
                load.statuses[0] += 1
                poll.unregister(place)
                sockets.pop(place).close()
                sent.pop(place, None)
                continue
            data = parts.pop(place, b"") + data
            if not _whole(data):
                parts[place] = data
                continue
            status = int(data[9:12])
            load.statuses[status] += 1
            took = now - sent.pop(place)
            if status == 200:
                load.latencies.append(took)
                load.times.append(now - begin)
            if not sending:
                continue
            if status != 200 and pause:
                paused.append((now + pause, place))
            else:
                send_next(place)
        now = time.perf_counter()
        while paused and (paused[0][0] <= now or not sending):
            _, place = paused.pop(0)
            if sending:
                send_next(place)
    load.seconds = min(now - begin, seconds)
    for one in sockets.values():
        one.close()
    poll.close()
    return load


def _whole(data: bytes) -> bool:
    """Whether an answer is complete."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    place = head.lower().find(b"content-length:")
    return len(body) >= int(head[place + 15 :].split(b"\r\n", 1)[0])
