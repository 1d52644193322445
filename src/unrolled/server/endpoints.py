"""What each request gives: work that yields its result, and None wherever it may be interrupted.

Log-probabilities are natural logarithms; bits are surprisals, -log2 p. What is impossible has the
log-probability null, as JSON knows no infinity.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.generation import draw_words, predict
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.language_models.scoring import Surprisal, score_sentences, surprisals
from unrolled.language_models.sentences import text_of, words_of
from unrolled.rescoring import rescore as rescoring
from unrolled.rescoring.nbest import NbestLists
from unrolled.server.answers import RefusedError
from unrolled.server.fields import (
    GenerateFields,
    GradientFields,
    PredictFields,
    RankFields,
    RescoreFields,
    ScoreFields,
    SurprisalFields,
    TagFields,
)
from unrolled.server.models import ServedModel
from unrolled.server.settings import ServerSettings
from unrolled.server.work import sentence_sums
from unrolled.text.alignment import owners_of_tokens, token_spans, words_by_space

if TYPE_CHECKING:
    from unrolled.tagging.scoring.results import Tagged

Work = Iterator[Any]

_BITS = 1 / math.log(2)
# Characters that are scored before others may have their turn.
_SHARED_SLICE, _NET_SLICE = 200_000, 10_000
MAX_GRADIENT_WORDS = 200
MAX_CONTEXT = 1000  # words that are read step by step


def score(served: ServedModel, asked: ScoreFields, limits: ServerSettings) -> Work:
    """Log-probabilities of sentences."""
    model = served.language_model("score")
    texts = asked.texts()
    check_lengths(model, texts, limits)
    columns: list[list[Any]] = [[], [], []]
    for some in _slices(served, texts):
        scores = model.token_scores(some, threads=limits.threads)
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
        "perplexity": _perplexity(log_prob, tokens),
    }


def _perplexity(log_prob: float, tokens: int) -> float:
    mean = -log_prob / max(tokens, 1)
    return math.exp(mean) if mean < 700 else math.inf


def surprisal(served: ServedModel, asked: SurprisalFields, limits: ServerSettings) -> Work:
    """The surprisal of every word, with the likeliest alternatives if they are asked for."""
    model = served.language_model("surprisal")
    texts = asked.texts()
    check_total(model, texts, limits)
    if asked.alternatives:
        require_normalised(model, "alternatives")
        for text in texts:
            _short_context(model, text)
    found = []
    for some in _slices(served, texts):
        records = _word_records(model, some, limits.threads, asked.by)
        for text, words in zip(some, records, strict=True):
            if asked.alternatives:
                yield from _add_alternatives(model, text, words, asked.alternatives)
            found.append(_sentence_record(words))
        yield None
    if asked.sentence is not None:
        yield {"model": served.name, **found[0]}
    else:
        yield {"model": served.name, "sentences": found}


def _word_records(
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


def _sentence_record(words: list[dict[str, Any]]) -> dict[str, Any]:
    """The words of a sentence, their sum, and the perplexity of a word."""
    for word in words:
        word.pop("first", None)
    bits = math.fsum(word["bits"] for word in words)
    perplexity = _perplexity(-bits / _BITS, len(words))
    return {"words": words, "bits": bits, "perplexity": perplexity}


def _add_alternatives(
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
            record["entropy"] = float(-(np.exp(possible) @ possible) * _BITS)
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


def next_words(served: ServedModel, asked: PredictFields, limits: ServerSettings) -> Work:
    """The likeliest next words."""
    model = served.language_model("predict")
    _short_context(model, asked.context)
    found = predict(model, asked.context, asked.count)
    words = [{"word": word, "probability": probability} for word, probability in found]
    yield {"model": served.name, "context": asked.context, "words": words}


def generate(served: ServedModel, asked: GenerateFields, limits: ServerSettings) -> Work:
    """Words drawn one by one; then all of them as one text."""
    model = served.language_model("generate")
    words = _short_context(model, asked.context)
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
    for some in _slices(served, texts):
        for text, words in zip(some, _word_records(model, some, limits.threads), strict=True):
            record = _sentence_record(words)
            log_prob = -record["bits"] / _BITS
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
    for some in _slices(served, inputs):
        found += [_tagged_record(text, tagged) for text, tagged in
                  zip(some, tagger.tag(some), strict=True)]  # fmt: skip
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


def rescore(
    served: ServedModel, asked: RescoreFields, limits: ServerSettings, given: Any = None
) -> Work:
    """N-best lists in the order of their new totals."""
    model = served.language_model("rescore")
    weights = rescoring.RescoringWeights(asked.lm_scale, asked.mix, asked.word_penalty)
    lists = _nbest_lists(given, limits)
    check_lengths(model, lists.texts, limits)
    new = np.empty(len(lists.texts))
    at = 0
    for some in _slices(served, lists.texts):
        new[at : at + len(some)] = score_sentences(model, some, threads=limits.threads)
        at += len(some)
        yield None
    new = np.maximum(new, rescoring.LOWEST)
    totals = rescoring.totals(lists, new, weights)
    order = rescoring.ranked(lists, totals)
    found = []
    for number, name in enumerate(lists.utterances):
        first = int(lists.starts[number])
        places = order[first : lists.starts[number + 1]].tolist()
        hypotheses = [
            {"index": at - first, "text": lists.texts[at], "total": totals[at], "lm": new[at]}
            for at in places
        ]
        found.append({"id": name, "hypotheses": hypotheses})
    yield {"model": served.name, "lists": found}


def _nbest_lists(given: Any, limits: ServerSettings) -> NbestLists:
    """The field ``lists``: each has ``hypotheses``, each with text and perhaps acoustic and old."""
    if type(given) is not list or not given:
        raise SettingError("lists is needed: a list of n-best lists, each with its hypotheses")
    names: list[str] = []
    sizes: list[int] = []
    hypotheses: list[Mapping[str, Any]] = []
    for number, one in enumerate(given):
        own = one.get("hypotheses") if type(one) is dict else None
        if type(own) is not list or not own:
            raise SettingError("it needs hypotheses, a list of at least one",
                               where=f"lists[{number}]")  # fmt: skip
        name = one.get("id", number)
        if type(name) not in (str, int):
            raise SettingError("its id is no text", where=f"lists[{number}]")
        names.append(str(name))
        sizes.append(len(own))
        hypotheses += own
    if len(hypotheses) > limits.max_sentences:
        raise RefusedError(
            413, f"lists has {len(hypotheses):,} hypotheses, allowed are {limits.max_sentences:,}"
        )
    for number, one in enumerate(hypotheses):
        if type(one) is not dict or type(one.get("text")) is not str:
            raise SettingError("it needs text", where=f"hypothesis {number}")
    acoustic = [_number(one, "acoustic", number) for number, one in enumerate(hypotheses)]
    old = [_number(one, "old", number) for number, one in enumerate(hypotheses)]
    if any(value is not None for value in old) and None in old:
        raise SettingError(
            "some hypotheses have an old score and others have none", hint="Give all or none"
        )
    return NbestLists(
        "json",
        names,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        [" ".join(one["text"].split()) for one in hypotheses],
        np.array([value or 0.0 for value in acoustic]),
        None if None in old else np.array(old, np.float64),
    )


def _number(one: Mapping[str, Any], name: str, number: int) -> float | None:
    value = one.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) < 1e30:
        shown = str(value)[:100]
        raise SettingError(f"{name} is {shown}, allowed are numbers", where=f"hypothesis {number}")
    return float(value)


def gradients(served: ServedModel, asked: GradientFields, limits: ServerSettings) -> Work:
    """How much of each word's error reaches the states before it, by layer and lag."""
    from unrolled.gradients.measure import sentence_gradients

    model = served.language_model("gradients")
    check_lengths(model, [asked.sentence], limits)
    words = words_of(asked.sentence, model.text_options)
    if not words:
        raise SettingError("sentence is empty: it has no gradients")
    if len(words) > MAX_GRADIENT_WORDS:
        raise _too_long(len(words), "tokens", MAX_GRADIENT_WORDS)
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
        return {**found, "words": len(tagger.lexicon), "tags": list(tagger.tags.names),
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


def check_lengths(model: LanguageModel, texts: Sequence[str], limits: ServerSettings) -> None:
    """Refuse a sentence with too many tokens.

    Raises:
        RefusedError: there is one (413).
    """
    most = limits.max_sentence
    for text in texts:
        if 4 * len(text) <= most:  # a character is four bytes at most, and a token one or more
            continue
        count = len(words_of(text, model.text_options)) if len(text) <= 8 * most else len(text)
        if count > most:
            raise _too_long(count, "tokens", most)


def check_total(model: LanguageModel, texts: Sequence[str], limits: ServerSettings) -> None:
    """Refuse more than is answered word by word.

    Raises:
        RefusedError: too many tokens (413).
    """
    check_lengths(model, texts, limits)
    most = limits.max_tokens
    if 4 * sum(map(len, texts)) + len(texts) <= most:
        return
    count = 0
    for text in texts:
        count += len(words_of(text, model.text_options)) + 1
        if count > most:
            raise RefusedError(
                413,
                f"the sentences have more than {most:,} tokens, which is what is answered word by "
                "word",
                hint="Send them in several requests",
            )


def _short_context(model: LanguageModel, text: str) -> list[str]:
    """The words of a context, which is read step by step.

    Raises:
        RefusedError: it has too many (413).
    """
    words = words_of(text, model.text_options) if len(text) < 100 * MAX_CONTEXT else []
    if len(words) > MAX_CONTEXT or (text and len(text) >= 100 * MAX_CONTEXT):
        raise _too_long(len(words) or len(text), "tokens", MAX_CONTEXT)
    return words


def _too_long(count: int, what: str, most: int) -> RefusedError:
    return RefusedError(
        413, f"a sentence has {count:,} {what}, allowed are {most:,}", hint="Cut it into sentences"
    )


def _slices(served: ServedModel, texts: Sequence[Any]) -> Iterator[list[Any]]:
    """Texts that are worked on before others may have their turn."""
    most = _SHARED_SLICE if served.shared else _NET_SLICE
    some: list[Any] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text) + 1
        if size >= most:
            yield some
            some, size = [], 0
    if some:
        yield some
