"""The likeliest hidden words of observed ones, by an n-gram model of the hidden ones.

What SRILM's ``disambig`` does: restores case, accents, spelling or tags. Each observed word may
stand for several hidden ones, with a probability p(observed | hidden) for each; of all hidden
sentences the one of highest p(hidden) p(observed | hidden) is found (Viterbi over the model's
states).

>>> from unrolled import train_ngram
>>> model = train_ngram(texts=["The cat ran", "a Cat-fan ran"], order=2, smoothing="witten-bell")
>>> disambiguate(model, ["the cat ran"], {"the": {"The": 1.0}})
['The cat ran']
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from unrolled.errors import SettingError, TextError
from unrolled.language_models.protocol import LanguageModel
from unrolled.text.tokens import iter_sentences
from unrolled.text.vocabulary import EOS

Array = np.ndarray[Any, Any]
Choices = Mapping[str, Mapping[str, float]]

_LOWEST = -1e5  # a word that is impossible for the model


def disambiguate(
    model: LanguageModel,
    sentences: Iterable[str],
    choices: Choices,
    *,
    weight: float = 1.0,
    states: int = 200,
) -> list[str]:
    """The likeliest hidden sentence of each observed one.

    Args:
        model: of the hidden words; any language model.
        sentences: observed words, parted by white space.
        choices: of an observed word its hidden words with p(observed | hidden); a word that has
            none stands for itself.
        weight: of the model's logarithms beside those of ``choices`` (``-lmw``).
        states: most states of the model at a word; the best go on.

    Raises:
        SettingError: a probability that is not above 0, or no state.
    """
    if states < 1:
        raise SettingError(f"states is {states}, it must be at least 1")
    tables = {}
    for observed, hidden in choices.items():
        values = np.array(list(hidden.values()), np.float64)
        if not values.size or not np.isfinite(values).all() or values.min() <= 0:
            raise SettingError(
                f"the probabilities of {observed!r} are {values.tolist()}, and must be above 0"
            )
        tables[observed] = (list(hidden), np.log(values))
    return [_best(model, sentence.split(), tables, weight, states) for sentence in sentences]


def _best(
    model: LanguageModel,
    words: list[str],
    tables: Mapping[str, tuple[list[str], Array]],
    weight: float,
    most: int,
) -> str:
    rows, totals = model.start_states(1), np.zeros(1)
    steps: list[tuple[list[str], Array, Array]] = []  # hidden words; of each state: its word, past
    for word in words:
        hidden, logs = tables.get(word, ([word], np.zeros(1)))
        count = len(hidden)
        ids = np.tile(model.vocabulary.ids(hidden), len(rows))
        after, scores = model.extend(np.repeat(rows, count, axis=0), ids)
        scores = weight * np.maximum(scores, _LOWEST) + np.tile(logs, len(rows))
        joint = np.repeat(totals, count) + scores
        chosen = _distinct(after, joint)[:most]
        steps.append((hidden, chosen % count, chosen // count))
        rows, totals = after[chosen], joint[chosen]
    ends = model.score_beams(rows, np.full((len(rows), 1), EOS))[:, 0]
    at = int(np.argmax(totals + weight * np.maximum(ends, _LOWEST)))
    found = []
    for hidden, which, past in reversed(steps):
        found.append(hidden[which[at]])
        at = int(past[at])
    return " ".join(reversed(found))


def _distinct(rows: Array, scores: Array) -> Array:
    """Places of the best of each set of equal states, the best first."""
    order = np.argsort(-scores, kind="stable")
    if rows.dtype == object:
        return order
    _, first = np.unique(rows[order], axis=0, return_index=True)
    return order[np.sort(first)]


def read_choices(path: str) -> dict[str, dict[str, float]]:
    """The map of a file of SRILM's: lines ``observed hidden1 [p1] hidden2 [p2] ...``.

    A probability that is not given is 1; one of 0 leaves the hidden word out.

    Raises:
        TextError: with the line, an observed word without a hidden one, or one that comes twice.
    """
    choices: dict[str, dict[str, float]] = {}
    for number, line in enumerate(iter_sentences(path), 1):
        parts = line.split()
        if not parts:
            continue
        place = f"{path}:{number}"
        observed, *rest = parts
        if observed in choices:
            raise TextError(f"{observed!r} comes twice", where=place)
        hidden: dict[str, float] = {}
        last = ""
        for part in rest:
            value = _probability(part) if last else None
            if value is None:
                hidden[part], last = 1.0, part
            else:
                hidden[last], last = value, ""
        choices[observed] = {word: p for word, p in hidden.items() if p > 0}
        if not choices[observed]:
            raise TextError(f"{observed!r} has no hidden word", where=place)
    return choices


def _probability(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None
