"""Every endpoint gives what the library gives for the same model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import unrolled
from server.conftest import NAMES
from server.hostile import valid
from server.running import Server


@pytest.fixture(scope="module")
def words(models: Path) -> Any:
    return unrolled.load(models / "words.safetensors")


@pytest.fixture(scope="module")
def net(models: Path) -> Any:
    return unrolled.load(models / "net.safetensors")


@pytest.mark.parametrize("name", ["words", "characters", "backoff", "net"])
@pytest.mark.parametrize("sentence", ["the cat sat .", "", "the zebra\tsat", "café"])
def test_a_sentence_has_the_score_of_the_library(
    server: Server, models: Path, name: str, sentence: str
) -> None:
    found = server.json("/score", model=name, sentence=sentence)
    model: Any = unrolled.load(models / f"{name}.safetensors")
    scores = model.token_scores([sentence])
    if scores.sums[0] == -math.inf:
        assert (found["log_prob"], found["perplexity"]) == (None, None)
        return
    assert found["log_prob"] == pytest.approx(scores.sums[0], rel=1e-6)
    assert found["tokens"] == scores.ids.size - 1
    assert found["oov"] == scores.oov.sum()
    assert found["perplexity"] == pytest.approx(math.exp(-scores.sums[0] / (scores.ids.size - 1)))


def test_many_sentences_have_the_scores_of_the_library(server: Server, words: Any) -> None:
    sentences = ["the cat sat .", "a dog", "", "zebra"]
    found = server.json("/score", sentences=sentences)
    assert found["log_probs"] == pytest.approx(words.scores(sentences).tolist())
    assert found["tokens"] == [5, 3, 1, 2]
    assert found["oov"] == [0, 0, 0, 1]
    without = server.json("/score", sentences=sentences, eos=False)
    assert without["log_probs"] == pytest.approx(
        unrolled.score_sentences(words, sentences, eos=False).tolist()
    )
    assert server.json("/score", sentences=[])["log_probs"] == []


def test_surprisal_is_that_of_every_word(server: Server, words: Any) -> None:
    found = server.json("/surprisal", sentence="the cat flew", alternatives=3)
    expected = list(unrolled.surprisals(words, ["the cat flew"]))
    assert [word["word"] for word in found["words"]] == ["the", "cat", "flew", "</s>"]
    assert [word["bits"] for word in found["words"]] == pytest.approx([t.bits for t in expected])
    assert [word["oov"] for word in found["words"]] == [False, False, True, False]
    assert [(word["start"], word["end"]) for word in found["words"]] == [
        (0, 3), (4, 7), (8, 12), (12, 12),
    ]  # fmt: skip
    likeliest = [(one["word"], one["probability"]) for one in found["words"][1]["alternatives"]]
    assert likeliest == unrolled.predict(words, "the", 3)


def test_tokens_below_words_are_summed_to_words(server: Server, models: Path) -> None:
    model: Any = unrolled.load(models / "characters.safetensors")
    tokens = server.json("/surprisal", model="characters", sentence="the  cat", by="token")["words"]
    assert [token["bits"] for token in tokens] == pytest.approx(
        [token.bits for token in unrolled.surprisals(model, ["the  cat"])]
    )
    asked = {"model": "characters", "sentence": "the  cat", "alternatives": 1}
    words = server.json("/surprisal", **asked)["words"]
    assert [(word["word"], word["start"], word["end"]) for word in words] == [
        ("the", 0, 3), ("cat", 5, 8), ("</s>", 8, 8),
    ]  # fmt: skip
    bits = [token["bits"] for token in tokens]
    expected = [sum(bits[:3]), sum(bits[3:8]), bits[8]]
    assert [word["bits"] for word in words] == pytest.approx(expected)
    assert all(word["alternatives"] for word in words)
    (empty,) = server.json("/surprisal", model="characters", sentence=" ")["words"]
    assert empty["word"] == "</s>"


def test_the_next_words_are_those_of_the_library(server: Server, words: Any) -> None:
    found = server.json("/predict", context="the", count=4)
    assert [(one["word"], one["probability"]) for one in found["words"]] == unrolled.predict(
        words, "the", 4
    )


def test_generation_streams_the_words_of_the_library(server: Server, words: Any) -> None:
    asked = {"context": "the", "seed": 7, "max_words": 6}
    expected = unrolled.generate(words, context="the", seed=7, max_words=6)
    answer = server.post("/generate", asked)
    assert answer.headers["content-type"] == "text/event-stream"
    *events, last, rest = answer.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    items = [json.loads(event.removeprefix("data: ")) for event in events]
    assert items[-1]["text"] == items[-2]["text"] == expected
    assert items[-1]["words"] == [item["word"] for item in items[:-1]]
    lines = server.post("/generate", asked, headers={"Accept": "application/x-ndjson"}).text
    assert [json.loads(line) for line in lines.splitlines()] == items
    assert server.json("/generate", **asked, stream=False) == items[-1]


def test_ranking_is_that_of_the_library(server: Server, words: Any) -> None:
    sentences = ["mat the on sat cat the", "the cat sat on the mat ."]
    found = server.json("/rank", sentences=sentences)["sentences"]
    expected = unrolled.rank(words, sentences)
    assert [(one["log_prob"], one["sentence"]) for one in found] == [
        (pytest.approx(score), sentence) for score, sentence in expected
    ]
    assert [one["index"] for one in found] == [1, 0]


def test_tags_are_those_of_the_tagger(server: Server, models: Path) -> None:
    tagger: Any = unrolled.load(models / "tags.safetensors")
    text = "Ann met Bob Smith in Rome ."
    (expected,) = tagger.tag([text])
    found = server.json("/tag", sentence=text)
    assert [word["tag"] for word in found["words"]] == list(expected.tags)
    assert [word["confidence"] for word in found["words"]] == pytest.approx(expected.confidences)
    assert [(span["start"], span["end"], span["label"]) for span in found["spans"]] == [
        span[:3] for span in expected.spans
    ]
    given = server.json("/tag", words=text.split())
    assert [word["tag"] for word in given["words"]] == list(expected.tags)


def test_hypotheses_come_in_the_order_of_their_totals(server: Server, words: Any) -> None:
    texts = ["sat cat the .", "the cat sat ."]
    hypotheses = [{"text": text, "acoustic": -1.5, "old": -3.0} for text in texts]
    (found,) = server.json("/rescore", lists=[{"id": "u1", "hypotheses": hypotheses}])["lists"]
    assert found["id"] == "u1"
    assert [one["index"] for one in found["hypotheses"]] == [1, 0]
    best = found["hypotheses"][0]
    assert best["lm"] == pytest.approx(words.score("the cat sat ."))
    assert best["total"] == pytest.approx(-1.5 + 0.5 * -3.0 + 0.5 * best["lm"])


def test_gradients_are_those_of_the_net(server: Server, net: Any) -> None:
    from unrolled.gradients.measure import sentence_gradients

    found = server.json("/gradients", model="net", sentence="the cat sat")
    assert found["words"] == ["the", "cat", "sat", "</s>"]
    lags, loss = sentence_gradients(net, net.vocabulary.ids(["the", "cat", "sat"]))
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["layers"][0]["norms"] == pytest.approx(lags.layers[0].norms, rel=1e-4)
    heat = found["layers"][0]["heat"]
    assert [len(row) for row in heat] == [4, 4, 4, 4]
    assert [value is None for value in heat[1]] == [True, False, False, False]


def test_models_are_described(server: Server) -> None:
    found = server.get("/models").json()["models"]
    assert tuple(model["name"] for model in found) == NAMES
    can = {model["name"]: model["can"] for model in found}
    assert "gradients" in can["net"] and "gradients" not in can["words"]
    assert "predict" in can["words"] and "predict" not in can["backoff"]
    assert can["tags"] == ["tag"]
    assert server.get("/models/words").json()["info"]["order"] == 3
    assert server.get("/health").json()["status"] == "ok"


def test_a_path_may_name_the_model(server: Server) -> None:
    found = server.json("/models/characters/score", sentence="the")
    assert found == server.json("/score", model="characters", sentence="the")


def test_the_document_is_openapi(server: Server) -> None:
    from openapi_spec_validator import validate

    document = server.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_answers_are_as_the_document_describes_them(server: Server) -> None:
    from jsonschema import Draft202012Validator

    paths = server.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        if path == "/metrics":
            continue
        described = next(iter(methods.values()))["responses"]["200"]
        schema = described["content"]["application/json"]["schema"]
        if "get" in methods:
            answers = [server.get(path.replace("{name}", name)).json() for name in ("words", "net")]
        else:
            answers = [server.json(path, **valid(path))]
            if path in ("/score", "/surprisal", "/tag"):
                answers.append(server.json(path, sentences=["the cat", ""]))
        for answer in answers:
            Draft202012Validator(schema).validate(answer)


def test_the_page_is_served(server: Server) -> None:
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "javascript")):
        answer = server.get(path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
