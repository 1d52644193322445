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

from unrolled.errors import MissingExtraError, SettingError, TextError, UnrolledError

try:
    import orjson
    from starlette.middleware.cors import CORSMiddleware
    from starlette.staticfiles import StaticFiles
except ModuleNotFoundError as error:
    raise MissingExtraError("server", error.name or "starlette") from None

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
from unrolled.server.endpoints import score_record
from unrolled.server.metrics import Metrics
from unrolled.server.models import ServedModels
from unrolled.server.routes import GETS as MODEL_GETS
from unrolled.server.routes import PAGE_FILES, POSTS, Context, fast_sentence
from unrolled.server.settings import ServerSettings
from unrolled.server.work import SentenceBatches, Workers, late

log = logging.getLogger("unrolled.server")

GETS: dict[str, Callable[[Any, str], Any]] = {
    **MODEL_GETS,
    openapi.PATH: lambda *_: openapi.document(),
}
PAGE = Path(__file__).with_name("page")
TOKEN_VARIABLE = "UNROLLED_TOKEN"
_OPEN = ("/health", "/", *PAGE_FILES)  # that need no token
_LONGEST_FIELD = 100  # characters of a field's name
_LONG_BODIES = 4  # bodies of the largest size that may be there at a time

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class _Request:
    """A request that comes in.

    Attributes:
        entered: whether it counts among those that run. held: bytes of its body that are counted.
    """

    __slots__ = ("entered", "held", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.entered, self.held = False, 0


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
        self.running = self.held_bytes = 0
        self._shed = error_answer(
            busy(f"the server has {settings.queue} requests to answer already")
        )
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
        if _is_page(path):
            await self._send_page(scope, receive, send)
            return
        request = _Request(scope, receive)
        status = 500
        try:
            answer = await self._answer(request, path, model, began)
            status = answer.status
            await answer.send(send)
        finally:
            self._leave(request)
            name = path if path in POSTS or path in GETS else "other"
            self.metrics.answered(name, status, time.monotonic() - began)

    async def _answer(
        self, request: _Request, path: str, model: str, began: float
    ) -> Answer | StreamedAnswer:
        try:
            self._admit(request.scope, path)
            if request.scope["method"] != "POST":
                return self._get(path, model)
            if self.running >= self.settings.queue:
                return self._shed
            async with asyncio.timeout(self.settings.time_limit):
                body = await self._body(request)
                if self.running >= self.settings.queue:
                    return self._shed
                self._enter(request)
                return await self._post(request, path, model, body, began)
        except UnrolledError as error:
            return error_answer(error)
        except asyncio.CancelledError:  # the server stops, and --grace is over
            return error_answer(RefusedError(503, "the server was stopped before it had answered"))
        except TimeoutError:
            return error_answer(late() if request.entered else _slow_body())
        except Exception:
            log.exception("an error of the server itself")
            sentence = "the server failed at this request; the reason is in its log"
            return json_answer(error_record(sentence, 500), 500)

    def _enter(self, request: _Request) -> None:
        request.entered = True
        self.running += 1
        self.metrics.add("running")

    def _leave(self, request: _Request) -> None:
        self.held_bytes -= request.held
        if request.entered:
            self.running -= 1
            self.metrics.add("running", -1)

    def _admit(self, scope: Scope, path: str) -> None:
        """Refuse what may not come in.

        Raises:
            RefusedError: no such path or method, or no token.
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
        self, request: _Request, path: str, model: str, body: dict[str, Any], began: float
    ) -> Answer | StreamedAnswer:
        if model and "model" not in body:
            body["model"] = model
        if path == "/score":
            sentence = fast_sentence(body)
            if sentence is not None and 4 * len(sentence) <= self.settings.max_sentence:
                return await self._score(body, sentence)
        scope, deadline = request.scope, began + self.settings.time_limit
        accepts = _header(scope, b"accept").decode("latin-1")
        return await POSTS[path].answer(Context(self, body, deadline, accepts, request.receive))

    async def _score(self, body: Mapping[str, Any], sentence: str) -> Answer:
        """The short way for one sentence: scored in a batch with those of other requests."""
        served = self.models.get(body.get("model", ""))
        served.language_model("score")
        found = await self.batches.submit(served, sentence)
        return json_answer(score_record(served.name, *found))

    # -- bodies ----------------------------------------------------------------------------------

    async def _body(self, request: _Request) -> dict[str, Any]:
        """The JSON object of a request.

        Raises:
            RefusedError: it is too long. TextError: it is no JSON object.
        """
        kind = _header(request.scope, b"content-type").split(b";")[0].strip().lower()
        if kind != b"application/json":
            shown = kind.decode("latin-1")[:100]
            raise RefusedError(
                415, f"Content-Type is {shown!r}, allowed is application/json",
                hint="With curl: -H 'Content-Type: application/json'",
            )  # fmt: skip
        length = _header(request.scope, b"content-length")
        if length.isdigit() and int(length) > self.settings.max_body:
            raise _too_long(int(length), self.settings.max_body)
        message = await request.receive()
        data = message.get("body", b"")
        if message.get("more_body") or len(data) > self.settings.max_body:
            data = await self._long_body(request, message)
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise TextError(f"the body is not JSON: {error}") from None
        if type(found) is not dict:
            raise TextError("the body is not a JSON object", hint='Send {"field": value}')
        if any(len(name) > _LONGEST_FIELD for name in found):
            name = next(name for name in found if len(name) > _LONGEST_FIELD)
            raise SettingError(f"there is no field {name[:_LONGEST_FIELD]!r}...")
        return found

    async def _long_body(self, request: _Request, first: Mapping[str, Any]) -> bytes:
        """A body of several parts, which begins with this one."""
        most = self.settings.max_body
        parts: list[bytes] = []
        message = first
        while True:
            part = message.get("body", b"")
            parts.append(part)
            request.held += len(part)
            self.held_bytes += len(part)
            if request.held > most:
                raise _too_long(request.held, most)
            if self.held_bytes > _LONG_BODIES * most:
                raise busy("the server works on other long requests")
            if not message.get("more_body"):
                return b"".join(parts)
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the request ended before its body")

    async def _send_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.exceptions import HTTPException

        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        try:
            await self._page({**scope, "headers": headers}, receive, send)  # type: ignore[arg-type]
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
    """``/models/NAME/score`` is ``/score`` of that model; ``/v1/models/NAME`` is OpenAI's."""
    if path.startswith("/v1/models/"):
        return "/v1/models/{name}", path.removeprefix("/v1/models/")
    if path.startswith("/models/"):
        name, slash, rest = path[len("/models/") :].partition("/")
        if name:
            return (slash + rest if slash else "/models/{name}"), name
    return path, ""


def _is_page(path: str) -> bool:
    return path == "/" or path in PAGE_FILES


def busy(what: str) -> RefusedError:
    """The error of a request that comes while there is too much to do."""
    headers = [(b"retry-after", b"1")]
    return RefusedError(429, what, hint="Try again in a second", headers=headers)


def _slow_body() -> RefusedError:
    return RefusedError(408, "the body took longer to arrive than the server allows")


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
