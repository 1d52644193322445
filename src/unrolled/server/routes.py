"""Which path is answered by what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from unrolled.errors import SettingError, UnrolledError
from unrolled.server import completions, endpoints, hypotheses
from unrolled.server.answers import (
    Answer,
    StreamedAnswer,
    error_record,
    json_answer,
    status_of,
)
from unrolled.server.fields import (
    CompletionFields,
    GenerateFields,
    GradientFields,
    PredictFields,
    RankFields,
    RescoreFields,
    ScoreFields,
    SurprisalFields,
    TagFields,
    fields_of,
)
from unrolled.server.metrics import Metrics
from unrolled.server.models import ServedModel, ServedModels
from unrolled.server.settings import ServerSettings
from unrolled.server.work import Receive, Workers
from unrolled.version import __version__

PAGE_FILES = tuple(
    f"/{name}"
    for name in (
        "index.html", "page.css", "page.js", "api.js", "parts.js", "surprisal.js", "generate.js",
        "rank.js", "tag.js", "gradients.js",
    )
)  # fmt: skip

_EVENTS, _LINES = b"text/event-stream", b"application/x-ndjson"
# Fields of OpenAI's that are taken where they change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "top_p": (None, 1), "frequency_penalty": (None, 0), "presence_penalty": (None, 0),
    "best_of": (None, 1), "suffix": (None, ""), "logit_bias": (None, {}),
}  # fmt: skip
_IGNORED = ("user", "stream_options")


class Host(Protocol):
    """What answers need of the application."""

    models: ServedModels
    settings: ServerSettings
    workers: Workers
    metrics: Metrics


@dataclass(frozen=True)
class Context:
    """A request, read.

    Attributes:
        app: the application. body: its JSON. deadline: on the monotonic clock.
        accepts: its header Accept. receive: what comes after its body.
    """

    app: Host
    body: dict[str, Any]
    deadline: float
    accepts: str
    receive: Receive


@dataclass(frozen=True)
class Post:
    """A path that takes JSON.

    Attributes:
        fields: of the request. work: as the functions of `endpoints`. about: for the document.
        more: fields that are no settings: they are handed to the work as they are.
        tagger: whether a tagger does it.
    """

    fields: type[Any]
    work: Callable[..., Any]
    about: str
    more: tuple[str, ...] = ()
    tagger: bool = False

    async def answer(self, context: Context) -> Answer | StreamedAnswer:
        """The answer to a request.

        Raises:
            UnrolledError: whatever is wrong with it.
        """
        app, body = context.app, dict(context.body)
        more = [body.pop(name, None) for name in self.more]
        asked = fields_of(self.fields, body, app.settings.max_sentences)
        served = app.models.get(asked.model, tagger=self.tagger)
        work = self.work(served, asked, app.settings, *more)
        if getattr(asked, "stream", False):
            return await _streamed(context, served, work, lambda item: item)
        return json_answer(
            await app.workers.result(served, work, context.deadline, context.receive)
        )


class PostCompletions(Post):
    """`/v1/completions`."""

    async def answer(self, context: Context) -> Answer | StreamedAnswer:
        """The answer to a request, see `Post`."""
        app, body = context.app, dict(context.body)
        for name, neutral in _NEUTRAL.items():
            if name in body and body.pop(name) not in neutral:
                raise SettingError(f"{name} is not supported", hint="Leave it out")
        for name in _IGNORED:
            body.pop(name, None)
        for name in ("n", "max_tokens", "temperature", "echo", "stream"):
            if body.get(name, 0) is None:
                del body[name]
        prompt, stop = body.pop("prompt", None), body.pop("stop", None)
        if type(body.get("logprobs")) is bool:
            body["logprobs"] = 1 if body["logprobs"] else None
        asked = fields_of(self.fields, body, app.settings.max_sentences)
        served = app.models.get(asked.model)
        work = completions.complete(served, asked, app.settings, prompt, stop)
        if asked.stream:
            head = completions.header(served.name)
            return await _streamed(
                context, served, work, lambda item: _completion_piece(head, item)
            )
        choices = []
        async for items in app.workers.items(served, work, context.deadline, context.receive):
            choices += [item for item in items if "text" in item]
        return json_answer(completions.completion_record(served, choices))


class PostTokens(Post):
    """`/tokenize` and `/detokenize`; ``more`` names their field."""

    async def answer(self, context: Context) -> Answer:
        """The answer to a request, see `Post`."""
        app, body = context.app, context.body
        name = body.get("model", "")
        if type(name) is not str:
            raise SettingError("model is no text")
        model = app.models.get(name).language_model("a tokenizer")
        return json_answer(self.work(model, body.get(self.more[0]), app.settings))


def _completion_piece(head: Mapping[str, Any], item: Any) -> Mapping[str, Any] | None:
    if item is None:
        return None
    choice: dict[str, Any] = {"index": item["index"], "text": item.get("piece", ""),
                              "logprobs": None, "finish_reason": None}  # fmt: skip
    if "text" in item:
        choice |= {"logprobs": item["logprobs"], "finish_reason": item["reason"]}
    return {**head, "choices": [choice]}


async def _streamed(
    context: Context, served: ServedModel, work: Any, shape: Callable[[Any], Any]
) -> StreamedAnswer:
    """An answer that goes on while the work does; errors before its first piece are raised."""
    items = context.app.workers.items(served, work, context.deadline, context.receive)
    lines = "ndjson" in context.accepts
    first = await anext(items, None)

    async def pieces() -> AsyncIterator[bytes]:
        try:
            if first is not None:
                yield _joined(map(shape, first), lines)
            async for group in items:
                yield _joined(map(shape, group), lines)
        except UnrolledError as error:  # the status is sent already
            yield _joined([error_record(str(error), status_of(error))], lines)
        if not lines:
            yield b"data: [DONE]\n\n"

    return StreamedAnswer(pieces(), _LINES if lines else _EVENTS)


def _joined(items: Any, lines: bool) -> bytes:
    parts = [orjson.dumps(item) for item in items if item is not None]
    if lines:
        return b"".join(part + b"\n" for part in parts)
    return b"".join(b"data: " + part + b"\n\n" for part in parts)


def fast_sentence(body: Mapping[str, Any]) -> str | None:
    """The sentence of a request for the score of one sentence with no options."""
    sentence = body.get("sentence")
    if type(sentence) is not str or type(body.get("model", "")) is not str:
        return None
    return sentence if len(body) == 1 + ("model" in body) else None


# -- GET ------------------------------------------------------------------------------------------


def _health(app: Host, _model: str) -> Any:
    errors = dict(app.models.errors)
    return {"status": "degraded" if errors else "ok", "version": __version__,
            "models": [served.name for served in app.models], "errors": errors}  # fmt: skip


def _metrics(app: Host, _model: str) -> str:
    return app.metrics.text()


def _models(app: Host, _model: str) -> Any:
    errors = app.models.errors
    return {"models": [{**endpoints.describe(served), "error": errors.get(served.name)}
                       for served in app.models]}  # fmt: skip


def _model(app: Host, name: str) -> Any:
    served = app.models.get(name)
    return {**endpoints.describe(served), "info": _plain(served.model.info())}


def _plain(value: Any) -> Any:
    """A value of `info` as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _openai_models(app: Host, _model: str) -> Any:
    found = [_openai_model(app, served.name) for served in app.models if not served.is_tagger]
    return {"object": "list", "data": found}


def _openai_model(app: Host, name: str) -> Any:
    served = app.models.get(name)
    return {
        "id": served.name,
        "object": "model",
        "created": int(served.loaded),
        "owned_by": "unrolled",
    }


def _tokenizer_info(app: Host, name: str) -> Any:
    model = app.models.get(name).language_model("a tokenizer")
    return completions.tokenizer_info(model, app.settings)


GETS: dict[str, Callable[[Host, str], Any]] = {
    "/health": _health,
    "/metrics": _metrics,
    "/models": _models,
    "/models/{name}": _model,
    "/v1/models": _openai_models,
    "/v1/models/{name}": _openai_model,
    "/tokenizer_info": _tokenizer_info,
}
POSTS: dict[str, Post] = {
    "/score": Post(ScoreFields, endpoints.score, "Log-probabilities of sentences."),
    "/surprisal": Post(SurprisalFields, endpoints.surprisal, "The surprisal of every word."),
    "/predict": Post(PredictFields, endpoints.next_words, "The likeliest next words."),
    "/generate": Post(GenerateFields, endpoints.generate, "Words drawn one by one."),
    "/rank": Post(RankFields, endpoints.rank, "Sentences by falling log-probability."),
    "/tag": Post(TagFields, endpoints.tag, "Tags of words, with confidences.", tagger=True),
    "/rescore": Post(
        RescoreFields, hypotheses.rescore, "N-best lists in a new order.", more=("lists",)
    ),
    "/gradients": Post(
        GradientFields, endpoints.gradients, "Gradients of a net by layer, word and lag."
    ),
    "/v1/completions": PostCompletions(
        CompletionFields, completions.complete, "OpenAI's completions.", more=("prompt", "stop")
    ),
    "/tokenize": PostTokens(
        CompletionFields, completions.tokenize, "The tokens of a text.", more=("prompt",)
    ),
    "/detokenize": PostTokens(
        CompletionFields, completions.detokenize, "The text of tokens.", more=("tokens",)
    ),
}
