"""N-best lists of a request, rescored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.scoring import score_sentences
from unrolled.rescoring import rescore as rescoring
from unrolled.rescoring.nbest import NbestLists
from unrolled.server.answers import RefusedError
from unrolled.server.fields import RescoreFields
from unrolled.server.models import ServedModel
from unrolled.server.settings import ServerSettings
from unrolled.server.sizes import check_lengths, slices_of

Work = Iterator[Any]


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
    for batch in slices_of(served, lists.texts):
        new[at : at + len(batch)] = score_sentences(model, batch, threads=limits.threads)
        at += len(batch)
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
