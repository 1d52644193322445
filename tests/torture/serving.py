"""A server under requests, whose model's file is replaced, damaged and removed."""

from __future__ import annotations

import math
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

import unrolled
from server.running import Server, running
from torture.figures import Figures

SENTENCE = "the cat sat on the mat"
THREADS = 4
TEXTS = {
    "first": ["the cat sat on the mat", "the dog ran"] * 5,
    "second": ["a cat ran on the mat", "the mat sat"] * 5,
}


class _Clients:
    """Threads that ask for the same score until they are stopped, and what they got."""

    def __init__(self, server: Server, scores: list[float]) -> None:
        self.server, self.scores = server, scores
        self.stopping = False
        self.answers: Counter[str] = Counter()
        self.threads = [threading.Thread(target=self._ask) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.server.url, timeout=30) as client:
            while not self.stopping:
                try:
                    answer = client.post("/score", json={"sentence": SENTENCE})
                    self.answers[self._kind(answer)] += 1
                except httpx.TransportError as error:
                    self.answers["ended" if self.stopping else f"no answer: {error}"] += 1

    def _kind(self, answer: httpx.Response) -> str:
        if answer.status_code == 429:
            return "shed"
        if answer.status_code != 200:
            return f"status {answer.status_code}: {answer.text[:200]}"
        found = answer.json()["log_prob"]
        right = any(math.isclose(found, score, rel_tol=1e-6) for score in self.scores)
        return "right" if right else f"a wrong score: {found}"

    def stop(self) -> str | None:
        """Wait for the threads; what was wrong with any answer."""
        self.stopping = True
        for thread in self.threads:
            thread.join(60)
        wrong = [kind for kind in self.answers if kind not in ("right", "shed", "ended")]
        return wrong[0] if wrong else None


def try_serving(figures: Figures, rng: random.Random, rounds: int) -> None:
    """Start a server, do things to its model's file under requests, and end it; so many times."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contents, scores = {}, []
        for model_name, texts in TEXTS.items():
            model = unrolled.train_ngram(texts=texts, order=3, smoothing="witten-bell")
            model.save(folder / "made.safetensors")
            contents[model_name] = (folder / "made.safetensors").read_bytes()
            scores.append(model.score(SENTENCE))
        for number in range(rounds):
            how = rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
            problem = _round(folder / "served.safetensors", contents, scores, rng, how)
            figures.count("servers under faults", f"{number}, ended by {how.name}", problem)


def _round(
    path: Path, contents: dict[str, bytes], scores: list[float], rng: random.Random,
    how: signal.Signals,
) -> str | None:  # fmt: skip
    path.write_bytes(contents["first"])
    with running(path, "--reload", 0.1) as server:
        clients = _Clients(server, scores)
        for _ in range(5):
            _disturb(path, contents, rng)
            time.sleep(rng.uniform(0.05, 0.4))
        if how != signal.SIGKILL and not _ends_with_what_is_there(path, contents, server, scores):
            clients.stop()
            return "a replaced model is not loaded"
        clients.stopping = True  # an answer is due to each request that was accepted
        code = server.stop(how)
        problem = clients.stop()
    if problem is None and how != signal.SIGKILL and code not in (0, 128 + how, -how):
        return f"the exit code is {code}"
    return problem


def _disturb(path: Path, contents: dict[str, bytes], rng: random.Random) -> None:
    """Replace the model's file by a good or a broken one, or remove it."""
    good = contents[rng.choice(list(contents))]
    new = {
        "good": good,
        "cut": good[: rng.randrange(len(good))],
        "noise": rng.randbytes(1000),
        "flipped": bytes([good[0] ^ 1]) + good[1:],
        "gone": None,
    }[rng.choice(["good", "good", "cut", "noise", "flipped", "gone"])]
    if new is None:
        path.unlink(missing_ok=True)
        return
    other = path.with_suffix(".new")
    other.write_bytes(new)
    other.replace(path)


def _ends_with_what_is_there(
    path: Path, contents: dict[str, bytes], server: Server, scores: list[float]
) -> bool:
    """Whether a good file is loaded within some seconds, whatever was there before."""
    other = path.with_suffix(".new")
    other.write_bytes(contents["second"])
    other.replace(path)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = server.json("/score", sentence=SENTENCE)["log_prob"]
        if math.isclose(found, scores[1], rel_tol=1e-6):
            return True
        time.sleep(0.1)
    return False
