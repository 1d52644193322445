"""The OpenAPI 3.1 document, made from the fields of the requests."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args, get_origin

from unrolled.server.routes import GETS, POSTS, Post
from unrolled.server.schemas import ANSWERS, MORE_FIELDS
from unrolled.settings import Setting, settings_of
from unrolled.version import __version__

PATH = "/openapi.json"
_KINDS = {int: "integer", float: "number", str: "string", bool: "boolean"}
_ABOUT_GETS = {
    "/health": "Whether the server works.",
    "/metrics": "Counters in Prometheus's text format.",
    "/models": "The models.",
    "/models/{name}": "One model in full.",
    "/openapi.json": "This document.",
    "/v1/models": "The language models, as OpenAI lists models.",
    "/v1/models/{name}": "One language model, as OpenAI describes models.",
    "/tokenizer_info": "The special tokens, as vLLM gives them.",
}
_ERRORS = {
    "400": "The request is wrong: the sentence says what is allowed.",
    "401": "The token is missing or wrong.",
    "404": "There is no such model.",
    "408": "The body came too slowly.",
    "413": "Too much at a time.",
    "415": "The body is not sent as application/json.",
    "422": "The request took too long.",
    "429": "Too many requests at a time; try again after Retry-After seconds.",
    "500": "The model or the server fails.",
}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for path in (*GETS, PATH):
        paths.setdefault(path, {})["get"] = _get(path)
    for path, post in POSTS.items():
        paths.setdefault(path, {})["post"] = _post(path, post)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "unrolled",
            "version": __version__,
            "description": "Language models and sequence taggers. A path after /models/{name}, "
            "such as /models/news/score, is that path for one model.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR_SCHEMA},
            "responses": {
                status: {"description": about, "content": _json(_reference("Error"))}
                for status, about in _ERRORS.items()
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _get(path: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": _identifier("get", path),
        "summary": _ABOUT_GETS[path],
        "responses": {"200": {"description": "The answer.", "content": _content(path)}},
    }
    if "{name}" in path:
        found["parameters"] = [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
        ]
        found["responses"]["404"] = {"$ref": "#/components/responses/404"}
    return found


def _content(path: str) -> dict[str, Any]:
    if path == "/metrics":
        return {"text/plain": {"schema": {"type": "string"}}}
    return _json(ANSWERS[path])


def _post(path: str, post: Post) -> dict[str, Any]:
    content = _json(ANSWERS[path])
    if path in ("/generate", "/v1/completions"):
        for kind in ("text/event-stream", "application/x-ndjson"):
            content[kind] = {"schema": {"type": "string"}}
    return {
        "operationId": _identifier("post", path),
        "summary": post.about,
        "requestBody": {"required": True, "content": _json(_request_schema(path, post))},
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _ERRORS},
        },
    }


def _request_schema(path: str, post: Post) -> dict[str, Any]:
    known = settings_of(post.fields)
    if path in ("/tokenize", "/detokenize"):
        known = {"model": known["model"]}
    properties = {name: _property(one) for name, one in known.items()}
    properties |= {name: MORE_FIELDS[name] for name in post.more}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [name for name in post.more if name != "stop"]
    if required:
        schema["required"] = required
    return schema


def _property(one: Setting) -> dict[str, Any]:
    """A field as JSON Schema."""
    kinds = [kind for kind in get_args(one.type) if kind is not type(None)]
    nullable = type(None) in get_args(one.type)
    kind = kinds[0] if nullable else one.type
    if get_origin(kind) is tuple:
        schema: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    else:
        schema = {"type": _KINDS[kind]}
    if nullable:
        schema["type"] = [schema["type"], "null"]
    for limit, name in (("minimum", "minimum"), ("maximum", "maximum"),
                        ("above", "exclusiveMinimum"), ("below", "exclusiveMaximum")):  # fmt: skip
        value = getattr(one, limit)
        if value is not None:
            schema[name] = value
    if one.choices:
        schema["enum"] = list(one.choices)
    return {**schema, "description": one.help, "default": one.default}


def _identifier(method: str, path: str) -> str:
    words = path.replace("{name}", "by_name").replace(".", "_").strip("/").split("/")
    return "_".join([method, *words])


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code"],
            "properties": {
                "message": {"type": "string", "description": "One sentence."},
                "type": {"type": "string"},
                "param": {"type": "null"},
                "code": {"type": "integer", "description": "The status."},
            },
        }
    },
}
