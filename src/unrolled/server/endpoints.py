"""What each request gives: work that yields its result, and None wherever it may be interrupted.

Log-probabilities are natural logarithms; bits are surprisals, -log2 p. What is impossible has the
log-probability null, as JSON knows no infinity.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.generation import draw_words, predict
from unrolled.language_models.protocol import require_normalised
from unrolled.language_models.sentences import text_of, words_of
from unrolled.server.answers import RefusedError
from unrolled.server.fields import (
    GenerateFields,
    GradientFields,
    PredictFields,
    RankFields,
    ScoreFields,
    SurprisalFields,
    TagFields,
)
from unrolled.server.models import ServedModel
from unrolled.server.settings import ServerSettings
from unrolled.server.sizes import check_lengths, check_total, short_context, slices_of, too_long
from unrolled.server.word_scores import (
    BITS,
    add_alternatives,
    perplexity_of,
    sentence_record,
    word_records,
)
from unrolled.server.work import sentence_sums

if TYPE_CHECKING:
    from unrolled.tagging.scoring.results import Tagged

Work = Iterator[Any]

MAX_GRADIENT_WORDS = 100


def score(served: ServedModel, asked: ScoreFields, limits: ServerSettings) -> Work:
    """Log-probabilities of sentences."""
    model = served.language_model("score")
    texts = asked.texts()
    check_lengths(model, texts, limits)
    columns: list[list[Any]] = [[], [], []]
    for batch in slices_of(served, texts):
        scores = model.token_scores(batch, threads=limits.threads)
        if not asked.eos:
            scores.log_probs[scores.starts[1:] - 1] = 0
        for column, values in zip(columns, sentence_sums(scores), strict=True):
            column.extend(values)
        yield None
    log_probs, tokens, oov = columns
    if not asked.eos:
        tokens = [count - 1 for count in tokens]
    if asked.sentence is not None:
        yield score_record(served.name, log_probs[0], tokens[0], oov[0])
    else:
        yield {"model": served.name, "log_probs": log_probs, "tokens": tokens, "oov": oov}


def score_record(name: str, log_prob: float, tokens: int, oov: int) -> dict[str, Any]:
    """The score of one sentence."""
    return {
        "model": name,
        "log_prob": log_prob,
        "tokens": tokens,
        "oov": oov,
        "perplexity": perplexity_of(log_prob, tokens),
    }


def surprisal(served: ServedModel, asked: SurprisalFields, limits: ServerSettings) -> Work:
    """The surprisal of every word, with the likeliest alternatives if they are asked for."""
    model = served.language_model("surprisal")
    texts = asked.texts()
    check_total(model, texts, limits, asked.alternatives)
    if asked.alternatives:
        require_normalised(model, "alternatives")
        for text in texts:
            short_context(model, text)
    found = []
    for batch in slices_of(served, texts):
        records = word_records(model, batch, limits.threads, asked.by)
        for text, words in zip(batch, records, strict=True):
            if asked.alternatives:
                yield from add_alternatives(model, text, words, asked.alternatives)
            found.append(sentence_record(words))
        yield None
    if asked.sentence is not None:
        yield {"model": served.name, **found[0]}
    else:
        yield {"model": served.name, "sentences": found}


def next_words(served: ServedModel, asked: PredictFields, limits: ServerSettings) -> Work:
    """The likeliest next words."""
    model = served.language_model("predict")
    short_context(model, asked.context)
    found = predict(model, asked.context, asked.count)
    words = [{"word": word, "probability": probability} for word, probability in found]
    yield {"model": served.name, "context": asked.context, "words": words}


def generate(served: ServedModel, asked: GenerateFields, limits: ServerSettings) -> Work:
    """Words drawn one by one; then all of them as one text."""
    model = served.language_model("generate")
    words = short_context(model, asked.context)
    if asked.max_words > limits.max_words:
        raise SettingError(f"max_words is {asked.max_words}, allowed are 1 to {limits.max_words}")
    seed = asked.seed if asked.seed is not None else secrets.randbits(32)
    drawn = draw_words(
        model, words, max_words=asked.max_words, temperature=asked.temperature, top_k=asked.top_k,
        seed=seed,
    )  # fmt: skip
    added = 0
    for word, log_prob in drawn:
        words.append(word)
        added += 1
        yield {"word": word, "probability": math.exp(log_prob),
               "text": text_of(words, model.text_options)}  # fmt: skip
    yield {
        "model": served.name,
        "text": text_of(words, model.text_options),
        "words": words[len(words) - added :],
        "reason": "length" if added == asked.max_words else "end",
        "seed": seed,
        "done": True,
    }


def rank(served: ServedModel, asked: RankFields, limits: ServerSettings) -> Work:
    """Sentences by falling log-probability, each word by word."""
    model = served.language_model("rank")
    texts = list(asked.sentences or ())
    if len(texts) < 2:
        raise SettingError(f"sentences has {len(texts)} texts, needed are two or more to rank")
    check_total(model, texts, limits)
    found: list[dict[str, Any]] = []
    for batch in slices_of(served, texts):
        for text, words in zip(batch, word_records(model, batch, limits.threads), strict=True):
            record = sentence_record(words)
            log_prob = -record["bits"] / BITS
            found.append({"index": len(found), "sentence": text, "log_prob": log_prob, **record})
        yield None
    found.sort(key=lambda record: record["bits"])
    yield {"model": served.name, "sentences": found}


def tag(served: ServedModel, asked: TagFields, limits: ServerSettings) -> Work:
    """Tags, spans, and how sure the tagger is of each."""
    tagger = served.tagger("tag")
    given = [asked.sentence is not None, asked.sentences is not None, asked.words is not None]
    if sum(given) != 1:
        raise SettingError("the request needs one of sentence, sentences and words")
    inputs: list[Any] = [asked.sentence] if given[0] else list(asked.sentences or ())
    if asked.words is not None:
        inputs = [list(asked.words)]
    size = sum(map(len, asked.words if asked.words is not None else inputs))
    if size > 8 * limits.max_tokens:
        raise RefusedError(
            413,
            f"the sentences have {size:,} characters, allowed are {8 * limits.max_tokens:,}",
            hint="Send them in several requests",
        )
    found = []
    for batch in slices_of(served, inputs):
        found += [_tagged_record(text, tagged) for text, tagged in
                  zip(batch, tagger.tag(batch), strict=True)]  # fmt: skip
        yield None
    if asked.sentences is None:
        yield {"model": served.name, **found[0]}
    else:
        yield {"model": served.name, "sentences": found}


def _tagged_record(text: Any, tagged: Tagged) -> dict[str, Any]:
    words = []
    for number, (word, name) in enumerate(zip(tagged.words, tagged.tags, strict=True)):
        record = {"word": word, "tag": name, "confidence": tagged.confidences[number]}
        if tagged.offsets:
            record["start"], record["end"] = tagged.offsets[number]
        words.append(record)
    spans = []
    for span in tagged.spans:
        shown = {"start": span.start, "end": span.end, "label": span.label,
                 "text": " ".join(tagged.words[span.start : span.end]),
                 "confidence": span.confidence}  # fmt: skip
        if tagged.offsets:
            shown |= {"begin_char": span.begin_char, "end_char": span.end_char}
            shown["text"] = text[span.begin_char : span.end_char]
        spans.append(shown)
    return {"words": words, "spans": spans}


def gradients(served: ServedModel, asked: GradientFields, limits: ServerSettings) -> Work:
    """How much of each word's error reaches the states before it, by layer and lag."""
    from unrolled.gradients.measure import sentence_gradients

    model = served.language_model("gradients")
    check_lengths(model, [asked.sentence], limits)
    words = words_of(asked.sentence, model.text_options)
    if not words:
        raise SettingError("sentence is empty: it has no gradients")
    if len(words) > MAX_GRADIENT_WORDS:
        raise too_long(len(words), "tokens", MAX_GRADIENT_WORDS)
    lags, loss = sentence_gradients(model, model.vocabulary.ids(words))
    layers = [{**layer.record(), "heat": np.ascontiguousarray(layer.heat)} for layer in lags.layers]
    yield {
        "model": served.name,
        "words": [*words, "</s>"],
        "loss": loss,
        "layers": layers,
    }


def describe(served: ServedModel) -> dict[str, Any]:
    """A model in a few fields."""
    model = served.model
    found: dict[str, Any] = {
        "name": served.name,
        "kind": model.kind,
        "model": model.name,
        "parameters": model.parameters,
        "loaded": served.loaded,
    }
    if served.is_tagger:
        tagger = served.tagger("describe")
        return {**found, "words": len(tagger.vocabulary), "tags": list(tagger.tags.names),
                "can": ["tag"]}  # fmt: skip
    language = served.language_model("describe")
    options = language.text_options
    can = ["score", "surprisal", "rank", "rescore"]
    if language.normalised:
        can += ["predict", "generate", "completions"]
    if model.kind == "net" and language.config.get("cell") not in (None, "feed-forward"):
        can.append("gradients")
    return {**found, "vocabulary": len(language.vocabulary), "tokens": _token_kind(options.tokens),
            "lower": options.lower, "can": can}  # fmt: skip


def _token_kind(tokens: str) -> str:
    return tokens if tokens in ("word", "char", "byte") else "sentencepiece"
