"""HTTP connections with limits: on their number, on headers, and on the time of slow clients."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from unrolled.server.answers import error_record

HEADER_BYTES = 64 << 10  # of a request's first line and headers
_LONG_HEADERS = 431, f"the headers have more than {HEADER_BYTES:,} bytes"
PIPELINED = 64  # requests that a connection may send ahead of their answers


def protocol_class(connections: int, seconds: float) -> type[HttpToolsProtocol]:
    """The protocol of a server.

    Args:
        connections: that may be open at a time.
        seconds: that a request may take to arrive, and that a client may stop reading its answer.
    """

    class LimitedProtocol(_LimitedProtocol):
        most_connections, most_seconds = connections, seconds

    return LimitedProtocol


class _LimitedProtocol(HttpToolsProtocol):
    most_connections: int
    most_seconds: float

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._timer: asyncio.TimerHandle | None = None  # of a request that has not arrived
        self._writing: asyncio.TimerHandle | None = None  # of an answer that is not read
        self._refused = False
        self._arriving = self._in_headers = True
        self._head = self._headers_size = 0
        self._refusal = 400, "the request is not HTTP/1.1"

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # Refused when its request comes: a connection that is closed before is reset instead.
        self._refused = len(self.connections) > self.most_connections
        self._timer = self.loop.call_later(self.most_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_timer()
        self._end_writing()
        super().connection_lost(exc)

    # -- what comes in ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._refused:
            self._refusal = 429, f"the server has {self.most_connections:,} connections already"
            self.send_400_response("")
            return
        if self._in_headers:
            self._head += len(data)
        super().data_received(data)
        if self._in_headers and self._head > HEADER_BYTES and not self.transport.is_closing():
            self._refusal = _LONG_HEADERS
            self.send_400_response("")
        if not self._arriving:
            self._end_timer()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.most_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        if len(self.pipeline) > PIPELINED:
            self._refusal = 429, f"the connection has {PIPELINED} requests without answers"
            raise ValueError
        super().on_message_begin()
        self._arriving = self._in_headers = True
        self._headers_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_size += len(name) + len(value) + 4
        if self._headers_size > HEADER_BYTES:
            self._refusal = _LONG_HEADERS
            raise ValueError
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in ("1.0", "1.1"):
            raise ValueError
        self._in_headers, self._head = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arriving = False
        super().on_message_complete()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _too_slow(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self._refusal = 408, f"the request took longer than {self.most_seconds:g} s to arrive"
        self.send_400_response("")

    # -- what goes out ---------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.most_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._end_writing()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in JSON like all other errors; ``msg`` is uvicorn's own."""
        status, sentence = self._refusal
        body = orjson.dumps(error_record(sentence, status))
        head = [
            STATUS_LINE[status],
            b"content-type: application/json\r\nconnection: close\r\n",
            b"retry-after: 1\r\n" if status == 429 else b"",
            b"content-length: %d\r\n\r\n" % len(body),
        ]
        self.transport.write(b"".join([*head, body]))
        self.transport.close()
