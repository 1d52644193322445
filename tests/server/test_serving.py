"""Processes and connections: limits, a graceful end, models that are replaced, tokens, workers."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import unrolled
from server.conftest import TEXTS
from server.hostile import post
from server.running import Server, running
from server.test_hostile import exchange
from unrolled import SettingError, train_ngram
from unrolled.server.models import named_paths

# About a second of work, in many slices.
LONG: dict[str, Any] = {
    "prompt": ["the cat " * 4000] * 2, "max_tokens": 0, "echo": True, "logprobs": 1,
}  # fmt: skip


def test_slow_clients_and_long_work_end_at_the_time_limit(models: Path) -> None:
    with running(models / "words.safetensors", "--time-limit", 1) as server:
        body = post("/score", {"sentence": "the cat"})
        for cut, path in ((len(body) - 3, "a body"), (30, "headers"), (0, "nothing")):
            begin = time.monotonic()
            status, answer = exchange(server, body[:cut])
            assert status == 408, path
            assert "took longer" in json.loads(answer)["error"]["message"]
            assert time.monotonic() - begin < 5
        begin = time.monotonic()
        answer = server.post("/v1/completions", {**LONG, "prompt": 6 * LONG["prompt"]})
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["message"] == (
            "the request took longer than the server allows. Send less at a time."
        )
        assert time.monotonic() - begin < 10
        _wait(lambda: server.post("/score", {"sentence": "the cat"}).status_code == 200)


def test_more_than_the_queue_holds_is_shed_and_the_rest_answered(models: Path) -> None:
    with running(models / "words.safetensors", "--queue", 2) as server:
        sentences = ["the cat sat on the mat ."] * 20_000

        def ask(_: int) -> tuple[int, str]:
            answer = httpx.post(server.url + "/score", json={"sentences": sentences}, timeout=30)
            return answer.status_code, answer.headers.get("retry-after", "")

        with ThreadPoolExecutor(12) as pool:
            found = Counter(pool.map(ask, range(24)))
        assert set(found) == {(200, ""), (429, "1")}
        assert server.json("/score", sentence="the cat")["tokens"] == 3


def test_too_many_connections_are_refused(models: Path) -> None:
    with running(models / "words.safetensors", "--connections", 3) as server:
        address = urlsplit(server.url)
        open_ones = [
            socket.create_connection((address.hostname, address.port), timeout=5) for _ in range(3)
        ]
        status, body = exchange(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (status, json.loads(body)["error"]["code"]) == (429, 429)
        for one in open_ones:
            one.close()
        _wait(lambda: server.get("/health").status_code == 200)


def test_a_stop_lets_running_requests_end_and_takes_no_new_ones(models: Path) -> None:
    with running(models / "words.safetensors") as server:
        found: dict[str, Any] = {}

        def ask() -> None:
            found["answer"] = httpx.post(server.url + "/v1/completions", json=LONG, timeout=60)

        thread = threading.Thread(target=ask)
        thread.start()
        while "unrolled_running 1" not in server.get("/metrics").text:
            time.sleep(0.01)
        server.client.close()
        server.process.terminate()
        _wait(lambda: not _connects(server))
        assert thread.is_alive(), "the request should still run: make it longer"
        thread.join(60)
        assert found["answer"].status_code == 200
        assert len(found["answer"].json()["choices"]) == len(LONG["prompt"])
        assert server.process.wait(10) == 0


def test_what_takes_longer_than_the_grace_is_dropped(models: Path) -> None:
    with running(models / "words.safetensors", "--grace", 1) as server:
        asked = {**LONG, "prompt": 6 * LONG["prompt"]}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(httpx.post, server.url + "/v1/completions", json=asked, timeout=60)
            _wait(lambda: "unrolled_running 1" in server.get("/metrics").text)
            server.client.close()
            assert server.stop() == 0
            assert answer.result().status_code == 503
        assert "Traceback" not in "".join(server.log)


def test_the_work_of_a_client_that_has_gone_ends(server: Server) -> None:
    address = urlsplit(server.url)
    gone = 'unrolled_requests_total{endpoint="/v1/completions",status="other"} 1'
    assert gone not in server.get("/metrics").text
    with socket.create_connection((address.hostname, address.port), timeout=5) as one:
        one.sendall(post("/v1/completions", {**LONG, "prompt": 6 * LONG["prompt"]}))
        _wait(lambda: "unrolled_running 1" in server.get("/metrics").text)
    _wait(lambda: gone in server.get("/metrics").text)


def _connects(server: Server) -> bool:
    address = urlsplit(server.url)
    try:
        with socket.create_connection((address.hostname, address.port), timeout=5):
            return True
    except OSError:
        return False


def test_a_replaced_file_is_loaded_without_a_dropped_request(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(models / "words.safetensors", path)
    new = train_ngram(texts=[*TEXTS, "a zebra ran ."], order=2, smoothing="witten-bell")
    new.save(tmp_path / "new.safetensors")
    with running(path, "--reload", 0.05) as server:
        old = server.json("/score", sentence="the zebra ran .")["log_prob"]
        statuses, values, stop = Counter[int](), set(), threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=server.url) as client:
                while not stop.is_set():
                    answer = client.post("/score", json={"sentence": "the zebra ran ."})
                    statuses[answer.status_code] += 1
                    values.add(answer.json()["log_prob"])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        _wait(lambda: statuses[200] > 20)
        (tmp_path / "new.safetensors").replace(path)
        expected = pytest.approx(new.score("the zebra ran ."), rel=1e-6)
        _wait(lambda: server.json("/score", sentence="the zebra ran .")["log_prob"] == expected)
        stop.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        assert len(values) == 2
        assert old in values
        _broken_file_is_reported(server, path, expected)


def _broken_file_is_reported(server: Server, path: Path, expected: Any) -> None:
    """A file that is no model changes nothing but /health."""
    broken = path.with_name("broken")
    broken.write_bytes(b"no model")
    broken.replace(path)
    _wait(lambda: server.get("/health").json()["status"] == "degraded")
    assert path.name in server.get("/health").json()["errors"]["model"]
    assert server.json("/score", sentence="the zebra ran .")["log_prob"] == expected
    assert "unrolled_failed_reloads_total 1" in server.get("/metrics").text
    path.unlink()
    time.sleep(0.2)
    assert server.json("/score", sentence="the zebra ran .")["log_prob"] == expected


def _wait(true: Any) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("by", ["variable", "file"])
def test_a_token_is_asked_for(models: Path, tmp_path: Path, by: str) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="ascii")
    words = ["--token-file", tmp_path / "token"] if by == "file" else []
    environment = {"UNROLLED_TOKEN": "secret"} if by == "variable" else {}
    with running(models / "words.safetensors", *words, environment=environment) as server:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            answer = server.post("/score", {"sentence": "the cat"}, headers=header)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": "Bearer secret"}
        assert server.post("/score", {"sentence": "a"}, headers=right).status_code == 200
        assert server.get("/models").status_code == 401
        assert server.get("/health").status_code == 200


def test_other_origins_are_allowed_only_where_they_are_named(models: Path, server: Server) -> None:
    origin = {"Origin": "https://example.org"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in server.get("/health", headers=origin).headers
    assert server.client.options("/score", headers=asked).status_code == 405
    with running(models / "words.safetensors", "--cors", "https://example.org") as allowing:
        for answer in (
            allowing.get("/health", headers=origin),
            allowing.client.options("/score", headers=asked),
        ):
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://example.org"


def test_several_processes_count_together_and_end_together(models: Path) -> None:
    with running(models / "words.safetensors", "--workers", 2) as server:
        expected = server.json("/score", sentence="the cat")
        for _ in range(30):  # over new connections, which any process may take
            answer = httpx.post(server.url + "/score", json={"sentence": "the cat"})
            assert answer.json() == expected
        metrics = server.get("/metrics").text
        assert 'unrolled_requests_total{endpoint="/score",status="200"} 31' in metrics
        server.client.close()
        assert server.stop() == 0


def test_processes_end_with_the_one_that_started_them(models: Path) -> None:
    with running(models / "words.safetensors", "--workers", 2) as server:
        assert server.json("/score", sentence="the cat")["tokens"] == 3
        server.client.close()
        server.process.kill()
        _wait(lambda: not _connects(server))


def test_the_application_runs_in_other_servers(models: Path) -> None:
    # In a thread of its own: the browser of other tests has an event loop in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _ask_application(models)).result()


async def _ask_application(models: Path) -> None:
    application = unrolled.app(models / "words.safetensors", cors="*")
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        answer = await client.post("/score", json={"sentence": "the cat"})
        assert answer.json()["tokens"] == 3
        assert (await client.get("/nothing")).status_code == 404


def test_metrics_are_in_prometheus_format(server: Server) -> None:
    server.json("/score", sentence="the cat")
    text = server.get("/metrics").text
    assert text.endswith("\n")
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name.startswith("unrolled_")
            float(value)
    assert 'unrolled_request_seconds_bucket{endpoint="/score",le="+Inf"}' in text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], None),
        (["a.safetensors", "b/a.arpa.gz"], "two models have the name 'a'"),
        (["x y=a.safetensors"], "the model's name is 'x y'"),
    ],
)
def test_names_of_models(given: list[str], message: str | None) -> None:
    if message is None:
        assert named_paths(given) == {}
        return
    with pytest.raises(SettingError, match=message):
        named_paths(given)
