"""Sentences word by word: surprisals, places in the text, alternatives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from unrolled.language_models.protocol import LanguageModel
from unrolled.language_models.scoring import Surprisal, surprisals
from unrolled.language_models.sentences import words_of
from unrolled.text.alignment import owners_of_tokens, token_spans, words_by_space

Work = Iterator[Any]

BITS = 1 / math.log(2)


def perplexity_of(log_prob: float, tokens: int) -> float:
    mean = -log_prob / max(tokens, 1)
    return math.exp(mean) if mean < 700 else math.inf


def word_records(
    model: LanguageModel, texts: Sequence[str], threads: int, by: str = "word"
) -> list[list[dict[str, Any]]]:
    """Of each text a record for every word or token, and for the end.

    ``first`` in a record is the number of its first token.
    """
    sentences: list[list[Surprisal]] = [[]]
    for token in surprisals(model, texts, threads=threads):
        sentences[-1].append(token)
        if token.last:
            sentences.append([])
    whole = by == "word" and model.text_options.tokens != "word"
    made = _whole_words if whole else _tokens
    return [
        made(text.replace("\n", " "), tokens, model)
        for text, tokens in zip(texts, sentences, strict=False)
    ]


def _tokens(text: str, tokens: list[Surprisal], model: LanguageModel) -> list[dict[str, Any]]:
    spans = [*token_spans(text, model.text_options), (len(text), len(text))]
    records = []
    for number, (token, (start, end)) in enumerate(zip(tokens, spans, strict=True)):
        record = {"word": token.word, "start": start, "end": end, "bits": token.bits,
                  "oov": token.oov, "first": number}  # fmt: skip
        if token.length is not None:
            record["order"] = token.length
        records.append(record)
    return records


def _whole_words(text: str, tokens: list[Surprisal], model: LanguageModel) -> list[dict[str, Any]]:
    """Tokens below words, summed to the words of the text."""
    words = words_by_space(text)
    owners = owners_of_tokens(text, words, model.text_options).tolist() if words else []
    records: list[dict[str, Any]] = [
        {"word": word.text, "start": word.start, "end": word.end, "bits": 0.0, "oov": False}
        for word in words
    ]
    end = len(text)
    records.append({"word": "</s>", "start": end, "end": end, "bits": 0.0, "oov": False})
    owners += [len(words)] * (len(tokens) - len(owners))  # white space alone is of the end
    for number, (token, owner) in enumerate(zip(tokens, owners, strict=True)):
        record = records[owner]
        record["bits"] += token.bits
        record["oov"] |= token.oov
        record.setdefault("first", number)
    return records


def sentence_record(words: list[dict[str, Any]]) -> dict[str, Any]:
    """The words of a sentence, their sum, and the perplexity of a word."""
    for word in words:
        word.pop("first", None)
    bits = math.fsum(word["bits"] for word in words)
    perplexity = perplexity_of(-bits / BITS, len(words))
    return {"words": words, "bits": bits, "perplexity": perplexity}


def add_alternatives(
    model: LanguageModel, text: str, words: list[dict[str, Any]], count: int
) -> Work:
    """The likeliest tokens at each word's first one, and the entropy there in bits."""
    state, places = model.start(), {word["first"]: word for word in words if "first" in word}
    ids = model.vocabulary.ids(words_of(text, model.text_options)).tolist()
    for number, id in enumerate([*ids, None]):
        if record := places.get(number):
            log_probs = model.checked(model.next_log_probs(state))
            record["alternatives"] = _likeliest(model, log_probs, count)
            possible = log_probs[log_probs > -np.inf].astype(np.float64)
            record["entropy"] = float(-(np.exp(possible) @ possible) * BITS)
        if id is not None:
            state = model.advance(state, id)
        yield None


def _likeliest(model: LanguageModel, log_probs: Any, count: int) -> list[dict[str, Any]]:
    best = likeliest_ids(log_probs, count)
    return [
        {"word": model.vocabulary.word(id), "probability": math.exp(log_probs[id])} for id in best
    ]


def likeliest_ids(log_probs: Any, count: int) -> list[int]:
    """The ids of the likeliest words, best first; impossible ones are left out."""
    count = min(count, log_probs.size)
    if count == 1:
        best = int(log_probs.argmax())
        return [best] if log_probs[best] > -np.inf else []
    few = np.argpartition(-log_probs, count - 1)[:count]
    few = few[np.lexsort((few, -log_probs[few]))]
    found: list[int] = few[log_probs[few] > -np.inf].tolist()
    return found
