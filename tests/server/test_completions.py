"""`/v1/completions` is OpenAI's, and its numbers are those of the library."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from server.conftest import NAMES as SERVED
from server.running import Server
from unrolled.server.prompts import decode_ids, encode_text

NAMES = ("words", "characters", "net")
TEXTS = (
    "the cat sat", " the  cat", "the cat\nthe dog sat", "the zebra", "a\n\nb", "café au lait",
    "the\tcat ", "x", "\n",
)  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, models: Path) -> Any:
    return unrolled.load(models / f"{request.param}.safetensors")


def name_of(model: Any) -> str:
    return Path(model.path).name.split(".")[0]


def echoed(server: Server, model: Any, prompt: Any, **more: Any) -> Any:
    """The log-probabilities of a prompt."""
    asked = {"model": name_of(model), "prompt": prompt, "max_tokens": 0, "echo": True}
    return server.json("/v1/completions", **asked, logprobs=2, **more)["choices"]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_of_an_echo_are_the_pieces_of_the_prompt(
    server: Server, model: Any, text: str
) -> None:
    (choice,) = echoed(server, model, text)
    logged = choice["logprobs"]
    assert choice["text"] == text
    assert "".join(logged["tokens"]) == text
    offsets = [0, *itertools.accumulate(map(len, logged["tokens"]))][:-1]
    assert logged["text_offset"] == offsets
    assert len(logged["token_logprobs"]) == len(logged["top_logprobs"]) == len(offsets)


@pytest.mark.parametrize("text", TEXTS)
def test_the_sum_of_an_echo_is_the_score_of_its_lines(
    server: Server, model: Any, text: str
) -> None:
    """A newline is a predicted </s>, the end of the prompt is none."""
    *lines, last = text.split("\n")
    expected = sum(model.score(line) for line in lines)
    expected += unrolled.score_sentences(model, [last], eos=False)[0]
    (choice,) = echoed(server, model, text)
    assert sum(choice["logprobs"]["token_logprobs"]) == pytest.approx(expected, abs=1e-5)


def test_token_ids_say_the_same_as_text(server: Server, model: Any) -> None:
    texts = ["the cat sat", "the dog\nsat"]
    name = name_of(model)
    ids = [server.json("/tokenize", model=name, prompt=text)["tokens"] for text in texts]
    for text, one in zip(texts, ids, strict=True):
        assert server.json("/detokenize", model=name, tokens=one)["prompt"] == text
    by_text, by_ids = echoed(server, model, texts), echoed(server, model, ids)
    for one, other in zip(by_text, by_ids, strict=True):
        assert one["text"] == other["text"]
        assert one["logprobs"]["tokens"] == other["logprobs"]["tokens"]
        assert one["logprobs"]["token_logprobs"] == pytest.approx(
            other["logprobs"]["token_logprobs"], abs=1e-6
        )
    assert echoed(server, model, ids[0])[0]["text"] == texts[0]


def test_a_literal_mark_begins_a_sentence_and_is_not_predicted(server: Server, model: Any) -> None:
    plain = [3, 4]
    (without,) = echoed(server, model, plain)
    (marked,) = echoed(server, model, [1, *plain])
    assert marked["logprobs"]["token_logprobs"][0] is None
    assert marked["logprobs"]["top_logprobs"][0] is None
    assert marked["logprobs"]["token_logprobs"][1:] == pytest.approx(
        without["logprobs"]["token_logprobs"]
    )
    (twice,) = echoed(server, model, [*plain, 1, *plain])
    assert twice["logprobs"]["token_logprobs"][3:] == pytest.approx(
        without["logprobs"]["token_logprobs"]
    )


def test_alternatives_are_the_likeliest_of_the_whole_distribution(
    server: Server, model: Any
) -> None:
    (choice,) = echoed(server, model, "the cat")
    ids = encode_text(model, "the cat")
    state = model.start()
    logged = choice["logprobs"]
    for id, top in zip(ids, logged["top_logprobs"], strict=True):
        row = model.next_log_probs(state)
        best = np.argsort(-row, kind="stable")[:2]
        for one in best.tolist():
            assert top[model.vocabulary.word(one)] == pytest.approx(row[one], abs=1e-5)
        assert set(top) <= {model.vocabulary.word(one) for one in (*best.tolist(), id)}
        state = model.advance(state, id)


def test_the_likeliest_words_are_drawn_without_temperature(server: Server, model: Any) -> None:
    asked = {"model": name_of(model), "prompt": "the", "max_tokens": 5, "temperature": 0}
    found = server.json("/v1/completions", **asked, logprobs=1)
    (choice,) = found["choices"]
    ids, state = encode_text(model, "the"), model.start()
    for id in ids:
        state = model.advance(state, id)
    expected = []
    for _ in range(5):
        row = model.next_log_probs(state).copy()
        row[0] = -np.inf
        expected.append(int(row.argmax()))
        if expected[-1] == 2:
            break
        state = model.advance(state, expected[-1])
    if expected[-1] == 2:
        assert choice["finish_reason"] == "stop"
        assert choice["logprobs"]["tokens"][-1] == ""
    else:
        assert choice["finish_reason"] == "length"
    words = [id for id in expected if id != 2]
    assert "the" + choice["text"] == decode_ids(model, [*ids, *words])
    assert found["usage"] == {
        "prompt_tokens": len(ids), "completion_tokens": len(expected),
        "total_tokens": len(ids) + len(expected),
    }  # fmt: skip


def test_several_completions_are_seeded_and_stop(server: Server) -> None:
    asked = {"model": "words", "prompt": ["the", "a"], "n": 3, "max_tokens": 8, "seed": 5}
    found = server.json("/v1/completions", **asked)
    assert [choice["index"] for choice in found["choices"]] == list(range(6))
    again = server.json("/v1/completions", **asked)
    assert [one["text"] for one in again["choices"]] == [one["text"] for one in found["choices"]]
    assert len({choice["text"] for choice in found["choices"]}) > 1
    whole = found["choices"][0]["text"]
    stop = whole.split()[1]
    cut = server.json("/v1/completions", **asked, stop=[stop, "nothing"])["choices"][0]
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"


@pytest.mark.parametrize("name", NAMES)
def test_streamed_pieces_are_the_text(server: Server, name: str) -> None:
    asked = {"model": name, "prompt": ["the", "a"], "max_tokens": 6, "seed": 1, "echo": True}
    whole = server.json("/v1/completions", **asked)["choices"]
    events = server.post("/v1/completions", {**asked, "stream": True}).text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    pieces = ["", ""]
    reasons = [None, None]
    for event in events[:-2]:
        (choice,) = json.loads(event.removeprefix("data: "))["choices"]
        pieces[choice["index"]] += choice["text"]
        reasons[choice["index"]] = choice["finish_reason"] or reasons[choice["index"]]
    assert pieces == [choice["text"] for choice in whole]
    assert reasons == [choice["finish_reason"] for choice in whole]


def test_models_are_listed_as_openai_lists_them(server: Server) -> None:
    found = server.get("/v1/models").json()
    assert found["object"] == "list"
    assert tuple(model["id"] for model in found["data"]) == tuple(
        name for name in SERVED if name != "tags"
    )
    assert server.get("/v1/models/net").json() == found["data"][SERVED.index("net")]
    assert server.get("/v1/models/none").status_code == 404


def test_impossible_tokens_are_numbers(server: Server) -> None:
    """What is impossible has a very low log-probability, as clients add numbers up."""
    found = server.json(
        "/v1/completions", model="words", prompt=[1, 1, 3], max_tokens=0, echo=True, logprobs=0
    )
    values = found["choices"][0]["logprobs"]["token_logprobs"]
    assert values[:2] == [None, None]
    assert math.isfinite(values[2])
