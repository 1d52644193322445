"""The ASGI application: what comes in is checked and limited, and what goes out is JSON."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles

from unrolled.errors import TextError, UnrolledError
from unrolled.server import openapi
from unrolled.server.answers import (
    Answer,
    RefusedError,
    StreamedAnswer,
    error_answer,
    error_record,
    json_answer,
    text_answer,
)
from unrolled.server.metrics import Metrics
from unrolled.server.models import ServedModels
from unrolled.server.routes import GETS as MODEL_GETS
from unrolled.server.routes import PAGE_FILES, POSTS, Context, fast_sentence
from unrolled.server.settings import ServerSettings
from unrolled.server.work import SentenceBatches, Workers

log = logging.getLogger("unrolled.server")

GETS: dict[str, Callable[[Any, str], Any]] = {
    **MODEL_GETS,
    openapi.PATH: lambda *_: openapi.document(),
}
PAGE = Path(__file__).with_name("page")
TOKEN_VARIABLE = "UNROLLED_TOKEN"
_OPEN = ("/health", "/", *PAGE_FILES)  # that need no token
_BODY_SECONDS = 10.0  # that a body may take to arrive

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Application:
    """An ASGI application that serves models.

    Args:
        models: opened models. settings: limits. metrics_file, row: as of `Metrics`.
    """

    def __init__(
        self, models: ServedModels, settings: ServerSettings, metrics_file: str = "", row: int = 0
    ) -> None:
        self.models, self.settings = models, settings
        names = [*(path for path in (*GETS, *POSTS)), "page", "other"]
        self.metrics = Metrics(names, metrics_file, row, settings.workers)
        self.workers = Workers(settings.threads)
        self.batches = SentenceBatches(self.workers, self._scored)
        self.running = self.pending_bytes = 0
        self.stopping = False
        self._token = read_token(settings)
        self._page = StaticFiles(directory=PAGE, html=True)
        self._reloading: asyncio.Task[None] | None = None

    def _scored(self, sentences: int, tokens: int) -> None:
        self.metrics.add("batches_total")
        self.metrics.add("sentences_total", sentences)
        self.metrics.add("tokens_total", tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or take part in the start and the end of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    # -- start and end ---------------------------------------------------------------------------

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.startup":
                self._reloading = asyncio.create_task(self._reload())
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._reloading is not None:
                    self._reloading.cancel()
                self.workers.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _reload(self) -> None:
        """Load models whose files were replaced, as long as the server runs."""
        while True:
            await asyncio.sleep(self.settings.reload)
            before = self.models.failed_reloads
            changed = await asyncio.to_thread(self.models.reload_replaced)
            self.metrics.add("reloads_total", len(changed))
            self.metrics.add("failed_reloads_total", self.models.failed_reloads - before)

    # -- requests --------------------------------------------------------------------------------

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        path, model = _model_of_path(scope["path"])
        name = path if path in POSTS or path in GETS else "page" if _is_page(path) else "other"
        if name == "page":
            await self._send_page(scope, receive, send)
            return
        status = 500
        self.running += 1
        self.metrics.add("running")
        try:
            answer = await self._answer(scope, receive, path, model, began)
            status = answer.status
            await answer.send(send)
        finally:
            self.running -= 1
            self.metrics.add("running", -1)
            self.metrics.answered(name, status, time.monotonic() - began)

    async def _answer(
        self, scope: Scope, receive: Receive, path: str, model: str, began: float
    ) -> Answer | StreamedAnswer:
        try:
            self._admit(scope, path)
            if scope["method"] in ("GET", "HEAD"):
                return self._get(path, model)
            return await self._post(scope, receive, path, model, began)
        except UnrolledError as error:
            return error_answer(error)
        except Exception:
            log.exception("an error of the server itself")
            sentence = "the server failed at this request; its log says why"
            return json_answer(error_record(sentence, 500), 500)

    def _admit(self, scope: Scope, path: str) -> None:
        """Refuse what may not come in.

        Raises:
            RefusedError: no such path or method, no token, the server stops or has too much to do.
        """
        allowed = ["GET", "HEAD"] * (path in GETS) + ["POST"] * (path in POSTS)
        if not allowed:
            raise RefusedError(404, f"there is no {path[:100]!r}", hint="See /openapi.json")
        if scope["method"] not in allowed:
            raise RefusedError(
                405, f"{path} takes {' or '.join(allowed)}, not {scope['method'][:20]}",
                headers=[(b"allow", ", ".join(allowed).encode())],
            )  # fmt: skip
        if self._token is not None and path not in _OPEN:
            self._check_token(scope)
        if path in POSTS and self.running > self.settings.queue:
            raise RefusedError(
                429, f"the server has {self.settings.queue} requests to answer already",
                hint="Try again in a second", headers=[(b"retry-after", b"1")],
            )  # fmt: skip

    def _check_token(self, scope: Scope) -> None:
        given = _header(scope, b"authorization")
        wanted = b"Bearer " + (self._token or b"")
        if not hmac.compare_digest(given, wanted):
            raise RefusedError(
                401, "the request has no valid token",
                hint="Send the header Authorization: Bearer TOKEN",
                headers=[(b"www-authenticate", b"Bearer")],
            )  # fmt: skip

    def _get(self, path: str, model: str) -> Answer:
        found = GETS[path](self, model)
        if isinstance(found, str):
            return text_answer(found, b"text/plain; version=0.0.4; charset=utf-8")
        return json_answer(found)

    async def _post(
        self, scope: Scope, receive: Receive, path: str, model: str, began: float
    ) -> Answer | StreamedAnswer:
        body = await self._body(scope, receive)
        if model and "model" not in body:
            body["model"] = model
        if path == "/score":
            sentence = fast_sentence(body)
            if sentence is not None and 4 * len(sentence) <= self.settings.max_sentence:
                return await self._score(body, sentence)
        context = Context(self, body, began + self.settings.time_limit, _accepts(scope))
        return await POSTS[path].answer(context)

    async def _score(self, body: Mapping[str, Any], sentence: str) -> Answer:
        """The short way for one sentence: scored in a batch with those of other requests."""
        from unrolled.server.endpoints import score_record

        served = self.models.get(body.get("model", ""))
        served.language_model("score")
        found = await self.batches.submit(served, sentence)
        return json_answer(score_record(served.name, *found))

    # -- bodies ----------------------------------------------------------------------------------

    async def _body(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        """The JSON object of a request.

        Raises:
            RefusedError: it is too long, comes too slowly, or is not JSON.
        """
        kind = _header(scope, b"content-type").split(b";")[0].strip().lower()
        if kind != b"application/json":
            shown = kind.decode("latin-1")[:100]
            raise RefusedError(
                415, f"Content-Type is {shown!r}, allowed is application/json",
                hint="With curl: -H 'Content-Type: application/json'",
            )  # fmt: skip
        message = await receive()
        data = message.get("body", b"")
        if message.get("more_body") or len(data) > self.settings.max_body:
            data = await self._long_body(scope, receive, data)
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise TextError(f"the body is not JSON: {error}") from None
        if type(found) is not dict:
            raise TextError("the body is not a JSON object", hint='Send {"field": value}')
        return found

    async def _long_body(self, scope: Scope, receive: Receive, first: bytes) -> bytes:
        most = self.settings.max_body
        length = _header(scope, b"content-length")
        if length.isdigit() and int(length) > most:
            raise _too_long(int(length), most)
        parts, size = [first], len(first)
        self.pending_bytes += size
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while True:
                    if size > most:
                        raise _too_long(size, most)
                    if self.pending_bytes > 4 * most:
                        raise RefusedError(
                            429, "the server is reading other long requests",
                            hint="Try again in a second", headers=[(b"retry-after", b"1")],
                        )  # fmt: skip
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "the request ended before its body")
                    part = message.get("body", b"")
                    parts.append(part)
                    size += len(part)
                    self.pending_bytes += len(part)
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise RefusedError(
                408, f"the body took longer than {_BODY_SECONDS:g} s to arrive"
            ) from None
        finally:
            self.pending_bytes -= size

    async def _send_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.exceptions import HTTPException

        try:
            await self._page(scope, receive, send)  # type: ignore[arg-type]
        except HTTPException as error:
            what = RefusedError(error.status_code, f"there is no {scope['path'][:100]!r}")
            await error_answer(what).send(send)


def app(models: str | os.PathLike[str] | Sequence[Any], **settings: Any) -> Any:
    """An ASGI application that serves models, for any ASGI server.

    Args:
        models: files, or ``NAME=PATH``.
        **settings: of `ServerSettings`; host, port and workers are the server's own.

    Raises:
        SettingError: a setting that is not allowed. FormatError: a file that is no model.
    """
    from unrolled.settings import configure

    (chosen,) = configure(settings, ServerSettings)
    given = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    made: Any = Application(ServedModels([os.fspath(one) for one in given]), chosen)
    return with_cors(made, chosen)


def with_cors(made: Any, settings: ServerSettings) -> Any:
    """The application, with the headers for web pages of other origins if they are allowed."""
    if not settings.cors:
        return made
    return CORSMiddleware(
        made, allow_origins=[settings.cors], allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )  # fmt: skip


def read_token(settings: ServerSettings) -> bytes | None:
    """The token that requests must bring, if there is one.

    Raises:
        TextError: its file cannot be read or is empty.
    """
    if not settings.token_file:
        given = os.environ.get(TOKEN_VARIABLE, "")
        return given.encode() or None
    try:
        found = Path(settings.token_file).read_bytes().strip()
    except OSError as error:
        raise TextError(
            f"the token cannot be read: {error.strerror}", where=settings.token_file
        ) from None
    if not found:
        raise TextError("the file of the token is empty", where=settings.token_file)
    return found


def _model_of_path(path: str) -> tuple[str, str]:
    """``/models/NAME/score`` is ``/score`` of that model."""
    if path.startswith("/models/"):
        name, slash, rest = path[len("/models/") :].partition("/")
        return (slash + rest if slash else "/models/{name}"), name
    return path, ""


def _is_page(path: str) -> bool:
    return path == "/" or path in PAGE_FILES


def _accepts(scope: Scope) -> str:
    return _header(scope, b"accept").decode("latin-1")


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""


def _too_long(size: int, most: int) -> RefusedError:
    return RefusedError(
        413, f"the body has {size:,} bytes or more, allowed are {most:,}",
        hint="Send it in several requests",
    )  # fmt: skip
