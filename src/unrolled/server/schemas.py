"""JSON schemas of answers, and of the fields of requests that are no settings."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
TRUTH: Schema = {"type": "boolean"}
MAYBE: Schema = {"type": ["number", "null"], "description": "null for an infinity"}


def array(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def record(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object; all properties are required but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


_ALTERNATIVE = record(word=TEXT, probability=NUMBER)
_WORD = record(
    ("order", "alternatives", "entropy"),
    word=TEXT, start=WHOLE, end=WHOLE, bits=MAYBE, oov=TRUTH, order=WHOLE,
    alternatives=array(_ALTERNATIVE), entropy=NUMBER,
)  # fmt: skip
_SENTENCE: dict[str, Schema] = {"words": array(_WORD), "bits": MAYBE, "perplexity": MAYBE}
_TAGGED = record(
    words=array(
        record(("start", "end"), word=TEXT, tag=TEXT, confidence=MAYBE, start=WHOLE, end=WHOLE)
    ),
    spans=array(
        record(
            ("begin_char", "end_char"),
            start=WHOLE, end=WHOLE, label=TEXT, text=TEXT, confidence=MAYBE, begin_char=WHOLE,
            end_char=WHOLE,
        )
    ),
)  # fmt: skip
_LAYER = record(
    ("cell_norms", "highway_norms"),
    name=TEXT, norms=array(NUMBER), shares=array(NUMBER), reach=WHOLE, cell_norms=array(NUMBER),
    highway_norms=array(NUMBER),
    heat={**array(array(MAYBE)), "description": "By lag and word; null where there is no such lag"},
)  # fmt: skip
_MODEL: dict[str, Schema] = {
    "name": TEXT, "kind": TEXT, "model": TEXT, "parameters": WHOLE, "loaded": NUMBER,
    "can": array(TEXT), "vocabulary": WHOLE, "tokens": TEXT, "lower": TRUTH, "words": WHOLE,
    "tags": array(TEXT),
}  # fmt: skip
_OF_SOME = ("vocabulary", "tokens", "lower", "words", "tags")
_LOGGED: Schema = {
    **record(
        tokens=array(TEXT), token_logprobs=array(MAYBE), text_offset=array(WHOLE),
        top_logprobs=array({"type": ["object", "null"], "additionalProperties": NUMBER}),
    ),
    "type": ["object", "null"],
}  # fmt: skip
_OPENAI_MODEL = record(id=TEXT, object=TEXT, created=WHOLE, owned_by=TEXT)

ANSWERS: dict[str, Schema] = {
    "/score": {
        "oneOf": [
            record(model=TEXT, log_prob=MAYBE, tokens=WHOLE, oov=WHOLE, perplexity=MAYBE),
            record(model=TEXT, log_probs=array(MAYBE), tokens=array(WHOLE), oov=array(WHOLE)),
        ]
    },
    "/surprisal": {
        "oneOf": [
            record(model=TEXT, **_SENTENCE),
            record(model=TEXT, sentences=array(record(**_SENTENCE))),
        ]
    },
    "/predict": record(model=TEXT, context=TEXT, words=array(_ALTERNATIVE)),
    "/generate": record(
        model=TEXT, text=TEXT, words=array(TEXT), reason={"enum": ["end", "length"]}, seed=WHOLE,
        done=TRUTH,
    ),
    "/rank": record(
        model=TEXT,
        sentences=array(record(index=WHOLE, sentence=TEXT, log_prob=MAYBE, **_SENTENCE)),
    ),
    "/tag": {"oneOf": [_TAGGED, record(model=TEXT, sentences=array(_TAGGED))]},
    "/rescore": record(
        model=TEXT,
        lists=array(
            record(
                id=TEXT,
                hypotheses=array(record(index=WHOLE, text=TEXT, total=NUMBER, lm=NUMBER)),
            )
        ),
    ),
    "/gradients": record(model=TEXT, words=array(TEXT), loss=NUMBER, layers=array(_LAYER)),
    "/v1/completions": record(
        id=TEXT, object=TEXT, created=WHOLE, model=TEXT,
        choices=array(
            record(
                index=WHOLE, text=TEXT, logprobs=_LOGGED,
                finish_reason={"enum": ["stop", "length"]},
            )
        ),
        usage=record(prompt_tokens=WHOLE, completion_tokens=WHOLE, total_tokens=WHOLE),
    ),
    "/tokenize": record(tokens=array(WHOLE), count=WHOLE, max_model_len=WHOLE),
    "/detokenize": record(prompt=TEXT),
    "/health": record(
        status={"enum": ["ok", "degraded", "stopping"]}, version=TEXT, models=array(TEXT),
        errors={"type": "object", "additionalProperties": TEXT},
    ),
    "/models": record(models=array(record((*_OF_SOME, "error"), **_MODEL,
                                          error={"type": ["string", "null"]}))),
    "/models/{name}": record(_OF_SOME, **_MODEL, info={"type": "object"}),
    "/openapi.json": {"type": "object"},
    "/v1/models/{name}": _OPENAI_MODEL,
    "/v1/models": record(object=TEXT, data=array(_OPENAI_MODEL)),
    "/tokenizer_info": record(
        tokenizer_class=TEXT, bos_token=TEXT, eos_token=TEXT, unk_token=TEXT,
        model_max_length=WHOLE, vocab_size=WHOLE,
    ),
}  # fmt: skip
MORE_FIELDS: dict[str, Schema] = {
    "lists": array(
        record(
            ("id",),
            id=TEXT,
            hypotheses=array(record(("acoustic", "old"), text=TEXT, acoustic=NUMBER, old=NUMBER)),
        )
    ),
    "prompt": {"oneOf": [TEXT, array(TEXT), array(WHOLE), array(array(WHOLE))]},
    "stop": {"oneOf": [TEXT, array(TEXT), {"type": "null"}]},
    "tokens": array(WHOLE),
}
