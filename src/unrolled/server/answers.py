"""What a request is answered with: JSON, an error in one sentence, or a stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson

from unrolled.errors import FormatError, UnrolledError

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_LONGEST = 1000  # characters of an error that quotes what was sent
_JSON = (b"content-type", b"application/json")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "overloaded_error",
    500: "server_error",
    503: "unavailable_error",
}


class RefusedError(UnrolledError):
    """A request that is refused for a reason that HTTP has a status for.

    Args:
        status: the status. what, where, hint: as of `UnrolledError`.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status
        self.headers = headers or []


class Answer:
    """A whole answer, ready to be sent."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: bytes, headers: Headers, status: int = 200) -> None:
        self.body, self.headers, self.status = body, headers, status

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class StreamedAnswer:
    """An answer that is sent piece by piece."""

    __slots__ = ("headers", "pieces", "status")

    def __init__(self, pieces: AsyncIterator[bytes], content_type: bytes) -> None:
        self.pieces, self.status = pieces, 200
        self.headers = [(b"content-type", content_type), (b"cache-control", b"no-store")]

    async def send(self, send: Send) -> None:
        """Send it as it comes."""
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        async for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def json_answer(value: Any, status: int = 200, headers: Headers | None = None) -> Answer:
    """An answer of JSON; infinities and NaN become null."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Answer(body, [_JSON, *(headers or [])], status)


def text_answer(text: str, content_type: bytes = b"text/plain; charset=utf-8") -> Answer:
    """An answer of text."""
    return Answer(text.encode(), [(b"content-type", content_type)])


def status_of(error: UnrolledError) -> int:
    """The status of an error: a model that is damaged is the server's fault."""
    if isinstance(error, RefusedError):
        return error.status
    return 500 if isinstance(error, FormatError) else 400


def error_record(message: str, status: int) -> dict[str, Any]:
    """An error in the form that OpenAI's clients read."""
    kind = _KINDS.get(status, _KINDS[400])
    message = message if len(message) <= _LONGEST else message[:_LONGEST] + "..."
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def error_answer(error: UnrolledError) -> Answer:
    """The sentence of an error."""
    headers = error.headers if isinstance(error, RefusedError) else []
    status = status_of(error)
    return json_answer(error_record(str(error), status), status, headers)
