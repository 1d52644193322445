"""Requests that no well-meaning client sends: each must get a 4xx with one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from unrolled.server.app import GETS
from unrolled.server.routes import POSTS
from unrolled.settings import Setting, settings_of

Kind = tuple[str, bytes]  # a name, and what is sent over a new connection

_BROKEN = {
    "nothing": b"",
    "an open brace": b"{",
    "a list": b"[]",
    "a text": b'"the cat"',
    "null": b"null",
    "a number": b"1",
    "true": b"true",
    "no value": b'{"sentence":}',
    "a comma too many": b'{"sentence": "a",}',
    "single quotes": b"{'sentence': 'a'}",
    "NaN": b'{"sentence": NaN}',
    "Infinity": b'{"count": Infinity}',
    "a huge exponent": b'{"count": 1e99999}',
    "a byte order mark": b'\xef\xbb\xbf{"sentence": "a"}',
    "UTF-16": '{"sentence": "a"}'.encode("utf-16"),
    "bytes that are no UTF-8": b'{"sentence": "\xff\xfe"}',
    "a lone surrogate": b'{"sentence": "\\ud800"}',
    "a bad escape": b'{"sentence": "\\x41"}',
    "a control character": b'{"sentence": "\x01"}',
    "deep lists": b'{"sentence":' + b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "two objects": b"{}{}",
    "a form": b"sentence=the+cat",
    "XML": b"<sentence>the cat</sentence>",
    "binary": bytes(range(256)),
}
_VALUES: dict[str, Any] = {
    "a list": [1], "an object": {"a": 1}, "true": True, "a number": 1.5, "a text": "\u2603",
    "a huge number": 10**30, "a negative number": -1, "a list of lists": [["a"], [1]],
    "a long text": "x" * 3000, "nothing": None,
}  # fmt: skip
_METHODS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "GET", "HEAD", "PROPFIND")
_PATHS = (
    "/nothing", "/score/", "//score", "/SCORE", "/score%00", "/../score", "/..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd", "/page/../../models.py", "/.env", "/index.php", "/models/none",
    "/models/none/score", "/models/words/nothing", "/models//score", "/models/%2e%2e/score",
    "/v1/chat/completions", "/v1/completions/", "/" + "a" * 5000, "/\u2603", "/%ff%fe",
    "/page.css/x", "/page.js%00.html", "/admin", "/metrics/x", "/health?x#y/../..",
    "/openapi.yaml", "/models/words/models/words/score",
)  # fmt: skip
_TYPES = (
    "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
    "application/xml", "application/octet-stream", "application/jsonx", "json", "image/png",
    "application/json5", ";", "text/html; charset=utf-8",
)  # fmt: skip


def kinds() -> Iterator[Kind]:
    """Every kind of hostile request, with a name."""
    yield from _bodies()
    yield from _fields()
    yield from _methods_and_paths()
    yield from _too_much()
    yield from _wrong_models()
    yield from _lists_and_prompts()
    yield from _no_http()


def post(path: str, body: bytes | Any, headers: str = "", kind: str = "application/json") -> bytes:
    """A POST as bytes; the connection ends with it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    typed = f"Content-Type: {kind}\r\n" if kind else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{typed}{headers}"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _bodies() -> Iterator[Kind]:
    for path in ("/score", "/v1/completions", "/tag"):
        for name, body in _BROKEN.items():
            yield f"{path}: the body is {name}", post(path, body)
    for path in POSTS:
        yield f"{path}: the body is an empty object", post(path, {"no such field": 1})
        yield f"{path}: a long unknown field", post(path, {"x" * 1_000_000: 1})
        yield f"{path}: the body is cut", post(path, b'{"model": "words", "sent')
        yield f"{path}: its type is text", post(path, {"sentence": "a"}, kind="text/plain")
    for kind in _TYPES:
        yield f"the type {kind!r}", post("/score", {"sentence": "a"}, kind=kind)


def _fields() -> Iterator[Kind]:
    """Every field of every endpoint with values that it cannot have."""
    for path, endpoint in POSTS.items():
        for name, about in settings_of(endpoint.fields).items():
            if path in ("/tokenize", "/detokenize") and name != "model":
                continue
            for what, value in _VALUES.items():
                if not _allowed(about, value):
                    yield f"{path}: {name} is {what}", post(path, {**valid(path), name: value})
            for limit, step in (("minimum", -1), ("maximum", 1)):
                edge = getattr(about, limit)
                if edge is not None:
                    body = {**valid(path), name: edge + step}
                    yield f"{path}: {name} is beyond its {limit}", post(path, body)


def _allowed(about: Setting, value: Any) -> bool:
    """Whether a field takes a value; texts and lists of texts count as the same here."""
    if about.name == "model":
        return value is None or value == ""
    if about.name in ("logprobs",) and value is True:
        return True
    if value is None:
        return True  # left out, or the default, or refused: no rule for all
    try:
        about.checked(value)
    except Exception:
        return isinstance(value, list) and set(map(type, value)) == {str}
    return True


def valid(path: str) -> dict[str, Any]:
    """A request that would be answered."""
    hypotheses = [{"text": "the cat"}, {"text": "cat the"}]
    known: dict[str, dict[str, Any]] = {
        "/predict": {"context": "the"},
        "/generate": {"context": "the", "stream": False},
        "/rank": {"sentences": ["a", "b"]},
        "/rescore": {"lists": [{"hypotheses": hypotheses}]},
        "/gradients": {"model": "net", "sentence": "the cat"},
        "/v1/completions": {"prompt": "the", "max_tokens": 1},
        "/tokenize": {"prompt": "the"},
        "/detokenize": {"tokens": [3]},
    }
    return known.get(path, {"sentence": "the cat"})


def _methods_and_paths() -> Iterator[Kind]:
    for path in ("/score", "/v1/completions", "/tag"):
        for method in _METHODS:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            yield f"{method} {path}", head.encode()
    for path in GETS:
        yield f"POST {path}", post(path.replace("{name}", "words"), {})
    for path in _PATHS:
        yield f"POST {path[:40]}", post(path, {"sentence": "a"})
        if path != "/health?x#y/../..":
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            yield f"GET {path[:40]}", head.encode()


def _too_much() -> Iterator[Kind]:
    long = "a " * 20_000
    yield "a body of 9 MB", post("/score", {"sentence": "x" * 9_000_000})
    yield (
        "a body of 10 GB by its header",
        post("/score", b"").replace(b"Content-Length: 0", b"Content-Length: 10000000000"),
    )
    yield "too many sentences", post("/score", {"sentences": ["a"] * 100_001})
    yield "too many empty sentences", post("/score", {"sentences": [""] * 2_000_000})
    yield "a million objects", post("/rescore", {"lists": [{}] * 1_000_000})
    yield (
        "too many hypotheses",
        post("/rescore", {"lists": [{"hypotheses": [{"text": "a"}] * 100_001}]}),
    )
    for path, field in (("/score", "sentence"), ("/surprisal", "sentence"),
                        ("/predict", "context"), ("/generate", "context"),
                        ("/tokenize", "prompt"), ("/v1/completions", "prompt")):  # fmt: skip
        for model in ("words", "characters", "net"):
            yield f"{path}: a long {field} for {model}", post(path, {field: long, "model": model})
        yield f"{path}: a longer {field}", post(path, {field: "x" * 8_000_000, "model": "net"})
    yield "/rank: a long sentence", post("/rank", {"sentences": ["a", long]})
    yield (
        "/gradients: a long sentence",
        post("/gradients", {"model": "net", "sentence": "a " * 300}),
    )
    yield "/gradients: an empty one", post("/gradients", {"model": "net", "sentence": " "})
    yield "/tag: a long sentence", post("/tag", {"sentence": "a " * 200_000})
    yield "/tag: a long word", post("/tag", {"words": ["x" * 1_000_000]})
    yield "/surprisal: much text", post("/surprisal", {"sentences": ["a b c"] * 20_000})
    yield (
        "/surprisal: alternatives for a long one",
        post("/surprisal", {"sentence": "a " * 1500, "alternatives": 5}),
    )
    yield (
        "/surprisal: many alternatives",
        post("/surprisal", {"sentences": ["a b c"] * 1000, "alternatives": 100}),
    )
    for name, body in {
        "many completions of many prompts": {"prompt": ["a"] * 100, "n": 100, "max_tokens": 0},
        "many echoes": {"prompt": "a " * 9000, "n": 128, "max_tokens": 0, "echo": True},
        "many alternatives": {"prompt": ["a " * 9000] * 2, "echo": True, "logprobs": 20},
    }.items():
        yield f"/v1/completions: {name}", post("/v1/completions", body)
    yield "/generate: too many words", post("/generate", {"max_words": 10_001})
    yield "/rank: one sentence", post("/rank", {"sentences": ["a"]})
    yield "/score: both fields", post("/score", {"sentence": "a", "sentences": ["b"]})
    yield "/tag: two fields", post("/tag", {"sentence": "a", "words": ["b"]})


def _wrong_models() -> Iterator[Kind]:
    for path in POSTS:
        for model in ("none", "../words", "words.safetensors", "/etc/passwd", "x" * 100_000, "\0"):
            yield f"{path}: the model {model[:20]!r}", post(path, {**valid(path), "model": model})
        wrong = "words" if path == "/tag" else "tags"
        yield f"{path}: the model {wrong}", post(path, {**valid(path), "model": wrong})
    for path in ("/predict", "/generate", "/v1/completions"):
        yield (
            f"{path}: scores that are no probabilities",
            post(path, {**valid(path), "model": "backoff"}),
        )
    yield "gradients of an n-gram model", post("/gradients", {"model": "words", "sentence": "a"})
    yield (
        "alternatives of no probabilities",
        post("/surprisal", {"model": "backoff", "sentence": "a", "alternatives": 1}),
    )


def _lists_and_prompts() -> Iterator[Kind]:
    for value in (None, 1, "a", {}, [], [1], [{}], [{"hypotheses": []}], [{"hypotheses": [1]}],
                  [{"hypotheses": [{}]}], [{"hypotheses": [{"text": 1}]}], [[]],
                  [{"hypotheses": [{"text": "a", "acoustic": "x"}]}],
                  [{"hypotheses": [{"text": "a", "acoustic": 1e40}]}],
                  [{"hypotheses": [{"text": "a", "old": True}]}],
                  [{"hypotheses": [{"text": "a", "old": 1}, {"text": "b"}]}],
                  [{"id": [], "hypotheses": [{"text": "a"}]}]):  # fmt: skip
        yield f"/rescore: lists are {value}", post("/rescore", {"lists": value})
    for value in (None, 1, {}, [], [None], [1.5], [True], [[True]], [["a"]], ["a", 1], [1, "a"],
                  [[1], "a", {}], [-1], [10**9], [10**30], [[10**9]], [[-1]], [1] * 20_000,
                  ["a"] * 2000, [[1] * 9000] * 12, [[[1]]]):  # fmt: skip
        body = {"prompt": value, "max_tokens": 1}
        yield f"/v1/completions: the prompt {str(value)[:30]}", post("/v1/completions", body)
    for name, value in (("top_p", 0.5), ("best_of", 5), ("logit_bias", {"5": 1}), ("suffix", "x"),
                        ("presence_penalty", 1), ("frequency_penalty", 2), ("stop", 1),
                        ("stop", [1]), ("stop", ["a"] * 17), ("stop", {}), ("functions", []),
                        ("max_tokens", 10**6), ("n", 10**6), ("tools", [])):  # fmt: skip
        body = {"prompt": "a", name: value}
        yield f"/v1/completions: {name} is {str(value)[:30]}", post("/v1/completions", body)
    for value in (None, "a", {}, [None], ["a"], [1.5], [True], [-1], [10**9], [1] * 20_000):
        yield f"/detokenize: {str(value)[:30]}", post("/detokenize", {"tokens": value})
    for value in (None, 1, [], {}, ["a"]):
        yield f"/tokenize: {value}", post("/tokenize", {"prompt": value})
    for value in ([1], [None], ["a", None], [["a"]], [{}], {"a": "b"}, 5, "a", [b"".decode()] * 0):
        if value:
            yield f"/score: sentences are {value}", post("/score", {"sentences": value})


def _no_http() -> Iterator[Kind]:
    """What is no request of HTTP/1.1, or one that is split differently by two programs."""
    ok = post("/score", {"sentence": "a"})
    length = b"Content-Length: 17"
    assert length in ok
    lines: dict[str, bytes] = {
        "garbage": bytes(range(1, 200)) + b"\r\n\r\n",
        "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(80) + b"\r\n\r\n",
        "no version": b"GET /health\r\n\r\n",
        "HTTP/9.9": b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
        "a lower-case method": b"post /score HTTP/1.1\r\nHost: x\r\n\r\n",
        "an unknown method": b"SCORE /score HTTP/1.1\r\nHost: x\r\n\r\n",
        "a long method": b"A" * 5000 + b" / HTTP/1.1\r\n\r\n",
        "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
        "a path of bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        "a header without a colon": ok.replace(b"Host: x", b"Host x"),
        "a header with a space in its name": ok.replace(b"Host: x", b"Ho st: x"),
        "an empty header name": ok.replace(b"Host: x", b": x"),
        "a header with NUL": ok.replace(b"Host: x", b"Host: \0"),
        "a line feed alone in a header": ok.replace(b"Host: x", b"Host: x\nX: y\rZ"),
        "a negative length": ok.replace(length, b"Content-Length: -1"),
        "a length in hexadecimal": ok.replace(length, b"Content-Length: 0x11"),
        "a length with a plus": ok.replace(length, b"Content-Length: +17"),
        "a length of 30 digits": ok.replace(length, b"Content-Length: " + b"9" * 30),
        "two lengths": ok.replace(length, length + b"\r\nContent-Length: 5"),
        "a length and chunks": ok.replace(length, length + b"\r\nTransfer-Encoding: chunked"),
        "an unknown transfer encoding": ok.replace(length, b"Transfer-Encoding: gzip"),
        "a chunk of no size": _chunked(b"zz\r\n{}\r\n0\r\n\r\n"),
        "a chunk of a huge size": _chunked(b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
        "a chunk without an end": _chunked(b"2\r\n{}xx0\r\n\r\n"),
        "chunks without JSON": _chunked(b"1\r\n{\r\n0\r\n\r\n"),
        "a header of 100 KB": ok.replace(b"Host: x", b"X: " + b"x" * 100_000),
        "headers of 100 KB": ok.replace(b"Host: x", b"X: yyyyyyyy\r\n" * 9000 + b"Host: x"),
        "headers without an end": b"GET /health HTTP/1.1\r\n" + b"X: yyyyyyyy\r\n" * 9000,
        "a path of 100 KB": ok.replace(b"/score", b"/" + b"a" * 100_000),
        "a first line without an end": b"GET /" + b"a" * 100_000,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a proxy's request": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "another server's address": b"GET http://example.org/x HTTP/1.1\r\nHost: x\r\n"
        b"Connection: close\r\n\r\n",
        "a websocket": b"GET /score HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: "
        b"Upgrade, close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
        "an encoding of bodies": ok.replace(b"Host: x", b"Host: x\r\nContent-Encoding: gzip")
        .replace(b'{"sentence": "a"}', b"\x1f\x8b\x08\x00" + b"x" * 13),
    }  # fmt: skip
    yield from lines.items()


def _chunked(body: bytes) -> bytes:
    return (
        b"POST /score HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json"
        b"\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    )
