"""`/v1/completions` as OpenAI's, and the tokenizer that lm-evaluation-harness asks a server for.

How a prompt becomes sentences and tokens is described in `unrolled.server.prompts`.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.generation import draw, greedy
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.server.answers import RefusedError
from unrolled.server.fields import CompletionFields
from unrolled.server.models import ServedModel
from unrolled.server.prompts import (
    MAX_PROMPTS,
    Prompt,
    check_ids,
    decode_ids,
    encode_text,
    pieces_of,
    read_prompts,
)
from unrolled.server.settings import ServerSettings
from unrolled.server.sizes import NUMBERS, check_lengths
from unrolled.server.word_scores import likeliest_ids
from unrolled.text.vocabulary import BOS, EOS

Array = np.ndarray[Any, Any]
Work = Iterator[Any]


def _log_probs(model: LanguageModel, ids: Sequence[int], threads: int) -> Array:
    """Log-probability of each token of a prompt, (T,) float32; NaN of <s>."""
    whole: list[int] = [BOS]
    places: list[int] = []
    for id in ids:
        if id == BOS and whole[-1] != BOS:
            whole += [] if whole[-1] == EOS else [EOS]
        elif id != BOS and whole[-1] == EOS:
            whole.append(BOS)
        if id != BOS or whole[-1] != BOS:
            whole.append(id)
        places.append(len(whole) - 1)
    if whole[-1] != EOS:
        whole.append(EOS)
    with model.use_threads(threads):
        scores = model.checked(model.log_probs(np.array(whole, np.int32)))
    found = scores[places]
    found[np.array(ids, np.int64) == BOS] = np.nan
    return found


def _state_of(model: LanguageModel, ids: Sequence[int]) -> Any:
    state = model.start()
    for id in ids:
        state = _after(model, state, id)
        yield None
    return state


def _after(model: LanguageModel, state: Any, id: int) -> Any:
    return model.start() if id in (BOS, EOS) else model.advance(state, id)


class _Logged:
    """The tokens of a choice with their log-probabilities and alternatives."""

    def __init__(self, model: LanguageModel, count: int) -> None:
        self.model, self.count = model, count
        self.tokens: list[str] = []
        self.log_probs: list[float | None] = []
        self.top: list[dict[str, float] | None] = []
        self.offsets: list[int] = []

    def add(self, piece: str, offset: int, id: int, log_prob: float, row: Array | None) -> None:
        """One token; ``row`` (V,) is the distribution that it comes from."""
        self.tokens.append(piece)
        self.offsets.append(offset)
        if math.isnan(log_prob):
            self.log_probs.append(None)
            self.top.append(None)
            return
        log_prob = max(log_prob, -1e5)  # as a number: OpenAI's clients expect one
        self.log_probs.append(log_prob)
        top = {}
        if row is not None:
            for best in likeliest_ids(row, self.count):
                top[self.model.vocabulary.word(best)] = float(row[best])
            # The same number as above, whichever way the model came to it.
            top[self.model.vocabulary.word(id)] = log_prob
        self.top.append(top)

    def record(self) -> dict[str, Any]:
        return {"tokens": self.tokens, "token_logprobs": self.log_probs,
                "top_logprobs": self.top, "text_offset": self.offsets}  # fmt: skip


def complete(
    served: ServedModel, asked: CompletionFields, limits: ServerSettings, prompt: Any, stop: Any
) -> Work:
    """Every choice as it ends; while they stream, pieces of them: (number, piece, reason)."""
    model = served.language_model("completions")
    require_normalised(model, "completions")
    prompts = read_prompts(model, prompt, limits)
    stops = _stops(stop)
    _check_size(asked, limits, prompts)
    for number, one in enumerate(prompts):
        echoed = None
        if asked.echo:
            echoed = yield from _echo(model, one, asked.logprobs, limits)
        state = None
        for copy in range(asked.n):
            logged = _Logged(model, asked.logprobs or 0)
            if echoed is not None:
                for name in ("tokens", "log_probs", "top", "offsets"):
                    getattr(logged, name).extend(getattr(echoed, name))
            if state is None and asked.max_tokens:
                state = yield from _state_of(model, one.ids)
            index = number * asked.n + copy
            yield from _choice(model, one, state, asked, (index, copy, stops, logged))


def _echo(model: LanguageModel, prompt: Prompt, count: int | None, limits: ServerSettings) -> Any:
    """The prompt's own tokens, with log-probabilities if they are asked for."""
    logged = _Logged(model, count or 0)
    if count is None:
        return logged
    scores = _log_probs(model, prompt.ids, limits.threads).tolist() if prompt.ids else []
    state, offset = model.start(), 0
    for id, piece, score in zip(prompt.ids, prompt.pieces, scores, strict=True):
        row = None
        if count and id != BOS:
            row = model.checked(model.next_log_probs(state))
            yield None
        logged.add(piece, offset, id, score, row)
        offset += len(piece)
        if count:
            state = _after(model, state, id)
    return logged


def _choice(
    model: LanguageModel, prompt: Prompt, state: Any, asked: CompletionFields,
    more: tuple[int, int, list[str], _Logged],
) -> Work:  # fmt: skip
    """One completion of a prompt."""
    index, copy, stops, logged = more
    text, reason, used = "", "length", 0
    if asked.echo:
        yield {"index": index, "piece": prompt.text}
    start = len(prompt.text) if asked.echo else 0  # of the added text in the whole one
    seed = None if asked.seed is None else [asked.seed, copy]
    random = np.random.default_rng(seed)
    for _ in range(asked.max_tokens):
        row = model.checked(model.next_log_probs(state))
        if asked.temperature == 0:
            id = greedy(row)
        else:
            id = draw(row, asked.temperature, None, random)
        used += 1
        if id == EOS:
            reason = "stop"
            if asked.logprobs is not None:
                logged.add("", start + len(text), id, float(row[id]), row)
            break
        piece = pieces_of(model, [id], (prompt.text + text)[-1:])[0]
        if asked.logprobs is not None:
            offset = start + len(text)
            logged.add(piece, offset, id, float(row[id]), row)
        ended = _stopped(text, piece, stops)
        if ended is not None:
            yield {"index": index, "piece": ended[len(text) :]}
            text, reason = ended, "stop"
            break
        text += piece
        yield {"index": index, "piece": piece}
        state = model.advance(state, id)
    whole = (prompt.text if asked.echo else "") + text
    yield {"index": index, "text": whole, "reason": reason,
           "logprobs": None if asked.logprobs is None else logged.record(),
           "prompt_tokens": len(prompt.ids) if copy == 0 else 0,
           "completion_tokens": used}  # fmt: skip


def _stopped(text: str, piece: str, stops: list[str]) -> str | None:
    """The text up to the first stop, if one is complete now."""
    whole = text + piece
    places = [whole.find(stop) for stop in stops]
    found = [place for place in places if place >= 0]
    return whole[: min(found)] if found else None


def _stops(given: Any) -> list[str]:
    if given is None:
        return []
    found = [given] if type(given) is str else given
    if type(found) is not list or len(found) > 16 or not all(type(one) is str for one in found):
        raise SettingError("stop is no text or list of up to 16 texts")
    return [one for one in found if one]


def _check_size(asked: CompletionFields, limits: ServerSettings, prompts: list[Prompt]) -> None:
    """Refuse more tokens, choices or log-probabilities than a request may have.

    Raises:
        SettingError: too many tokens to draw. RefusedError: too much in the answer (413).
    """
    choices = asked.n * len(prompts)
    words = asked.max_tokens * choices
    if words > max(limits.max_words, len(prompts)):  # one for each prompt is always allowed
        raise SettingError(
            f"the request asks for {words:,} tokens, allowed are {limits.max_words:,}",
            hint="Lower max_tokens, n or the number of prompts",
        )
    if choices > MAX_PROMPTS:
        raise RefusedError(
            413, f"the request asks for {choices:,} completions, allowed are {MAX_PROMPTS:,}",
            hint="Lower n or the number of prompts",
        )  # fmt: skip
    echoed = asked.echo * asked.n * sum(len(prompt.ids) for prompt in prompts)
    numbers = (echoed + words) * (1 + (asked.logprobs or 0))
    most = NUMBERS * limits.max_tokens
    if numbers > most:
        raise RefusedError(
            413,
            f"the answer would have {numbers:,} tokens and log-probabilities, allowed are {most:,}",
            hint="Send fewer prompts, or lower n, max_tokens or logprobs",
        )


def completion_record(served: ServedModel, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer with all choices."""
    prompt = sum(choice["prompt_tokens"] for choice in choices)
    completion = sum(choice["completion_tokens"] for choice in choices)
    return {
        **header(served.name),
        "choices": [
            {"index": choice["index"], "text": choice["text"], "logprobs": choice["logprobs"],
             "finish_reason": choice["reason"]}
            for choice in choices
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion,
                  "total_tokens": prompt + completion},
    }  # fmt: skip


def header(name: str) -> dict[str, Any]:
    """What every object of an answer begins with."""
    return {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion",
            "created": int(time.time()), "model": name}  # fmt: skip


def tokenizer_info(model: LanguageModel, limits: ServerSettings) -> dict[str, Any]:
    """What vLLM's ``/tokenizer_info`` gives."""
    return {
        "tokenizer_class": "unrolled",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": limits.max_sentence,
        "vocab_size": len(model.vocabulary),
    }


def tokenize(model: LanguageModel, text: Any, limits: ServerSettings) -> dict[str, Any]:
    """What vLLM's ``/tokenize`` gives: the tokens of a text, without <s> and </s> around it."""
    if type(text) is not str:
        raise SettingError("prompt is no text")
    check_lengths(model, [text], limits)
    ids = encode_text(model, text)
    return {"tokens": ids, "count": len(ids), "max_model_len": limits.max_sentence}


def detokenize(model: LanguageModel, ids: Any, limits: ServerSettings) -> dict[str, Any]:
    """What vLLM's ``/detokenize`` gives: the text of tokens."""
    if type(ids) is not list or not all(type(id) is int for id in ids):
        raise SettingError("tokens is no list of token ids")
    if len(ids) > limits.max_sentence:
        raise RefusedError(413, f"tokens has {len(ids):,} ids, allowed are {limits.max_sentence:,}")
    check_ids(model, ids)
    return {"prompt": decode_ids(model, ids)}
