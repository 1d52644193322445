r"""Class-based n-gram models: an n-gram model over classes, and the words that each stands for.

Brown et al. 1992, "Class-based n-gram models of natural language", and SRILM's ``ngram -classes``:
p(w|h) = sum over tokens t of p(w|t) p(t|h), where a token is a class, which has w with the
probability p(w|t), or the word itself. A word of several classes leaves open which token it was, so
a state is a set of states of the n-gram model with their probabilities (the forward algorithm).

Classes are defined as in SRILM (classes-format(5)), a line for each word of a class, with its
probability or without::

    GREETING 0.7 hello
    GREETING 0.3 hi

>>> from unrolled import train_ngram
>>> ngram = train_ngram(texts=["GREETING world", "GREETING you"], order=2, smoothing="witten-bell")
>>> members = {"GREETING": {"hello": 0.7, "hi": 0.3}}
>>> model = ClassNgramModel(ngram, members)
>>> hi, hello = (math.exp(model.score(f"{word} world")) for word in ("hi", "hello"))
>>> round(hello / hi, 4)
2.3333
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from unrolled.errors import FormatError, SettingError, TextError, UnrolledWarning
from unrolled.language_models.protocol import LanguageModel, require_normalised
from unrolled.ngram.model import NgramModel
from unrolled.storage.model_file import ModelFile, arrays_under, prefixed
from unrolled.text.tokens import iter_sentences
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

Array = np.ndarray[Any, Any]
Members = Mapping[str, Mapping[str, float]]
State = tuple[Array, Array]  # rows of the n-gram model, (S, order), and their log-probabilities

_NEGLIGIBLE = 1e-12  # share of the probability below which a state is dropped
_SUM = 1e-3  # how far the probabilities of a class may be from a sum of 1


class ClassNgramModel(LanguageModel):
    """An n-gram model over classes and words, as a language model of words.

    Args:
        ngram: the n-gram model; names of classes are words to it.
        members: for each class its words with their probabilities, which are scaled to a sum of 1.
        provenance: where it comes from.
        path: its file.

    Raises:
        SettingError: a class that the n-gram model does not know, one without words, or a
            probability that is none. NotNormalisedError: stupid back-off.

    Warns:
        UnrolledWarning: the probabilities of a class do not sum to one.
    """

    kind, kind_name = "class-ngram", "a class-based n-gram model"

    def __init__(
        self,
        ngram: NgramModel,
        members: Members,
        provenance: dict[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        require_normalised(ngram, "a class-based model")
        words, pairs = _pairs(ngram.vocabulary, members)
        config = {"text": ngram.config["text"]} if "text" in ngram.config else {}
        super().__init__(words, {**config, "classes": len(members)}, provenance, path)
        self.ngram, self.members = ngram, members
        # Pairs of a word and a token that it may be, by word; first[w] to first[w + 1] are w's.
        self._words, self._tokens, self._log_shares = pairs
        self._first = np.searchsorted(self._words, np.arange(len(words) + 1))
        self._single = np.diff(self._first) == 1

    @property
    def name(self) -> str:
        """Such as ``classes of arpa-3``."""
        return f"classes of {self.ngram.name}"

    @property
    def parameters(self) -> int:
        """Those of the n-gram model, and the words' probabilities in their classes."""
        return self.ngram.parameters + sum(len(words) for words in self.members.values())

    def info(self) -> dict[str, Any]:
        """What ``unrolled info`` prints, with the n-gram model inside."""
        return {**super().info(), "classes": len(self.members), "ngram": self.ngram.info()}

    def log_probs(self, ids: Array) -> Array:
        """Log-probability of each of ids (T,), sentences as <s> words </s>; (T,) float32.

        Sentences whose words are in one class each are scored together, the others one by one.
        """
        ids = np.where((ids < 0) | (ids >= len(self.vocabulary)), UNK, ids).astype(np.int64)
        places = self._first[ids]
        scores: Array = self.ngram.log_probs(self._tokens[places]) + self._log_shares[places]
        scores[ids == BOS] = 0
        starts = [*np.flatnonzero(ids == BOS).tolist(), ids.size]
        for low, high in pairwise(starts):
            if not self._single[ids[low:high]].all():
                scores[low + 1 : high] = self._forward(ids[low + 1 : high])
        return scores

    def _forward(self, words: Array) -> list[float]:
        state = self.start()
        scores: list[float] = []
        for word in words.tolist():
            state, score = self._step(state, word)
            scores.append(score)
        return scores

    def start(self) -> State:
        """The state after <s>."""
        return self.ngram.start_states(1), np.zeros(1)

    def advance(self, state: State, word: int) -> State:
        """The state after one more word."""
        return self._step(state, word)[0]

    def _step(self, state: State, word: int) -> tuple[State, float]:
        """The state after a word, and the word's log-probability."""
        rows, logs = state
        word = word if 0 <= word < len(self.vocabulary) else UNK
        pairs = slice(int(self._first[word]), int(self._first[word + 1]))
        tokens, shares = self._tokens[pairs], self._log_shares[pairs]
        after, scores = self.ngram.extend(
            np.repeat(rows, tokens.size, axis=0), np.tile(tokens, len(rows))
        )
        joint = np.repeat(logs, tokens.size) + scores + np.tile(shares, len(rows))
        total = float(np.logaddexp.reduce(joint)) if joint.size else -math.inf
        if total == -math.inf:  # impossible: any state is as good
            return (after, np.full(len(after), -math.log(max(len(after), 1)))), total
        return _merged(after, joint - total), total

    def next_log_probs(self, state: State) -> Array:
        """Log-probability of every word as the next one, (V,) float32."""
        rows, logs = state
        total = np.zeros(len(self.vocabulary))
        for row, log in zip(rows, logs.tolist(), strict=True):
            tokens = self.ngram.next_log_probs(row).astype(np.float64)
            p = np.exp(log + tokens[self._tokens] + self._log_shares)
            total += np.bincount(self._words, p, minlength=total.size)
        with np.errstate(divide="ignore"):
            result: Array = np.log(total).astype(np.float32)
        return result

    # -- storage ---------------------------------------------------------------------------------

    def contents(self) -> dict[str, Any]:
        """The arguments of `write_model`, with those of the n-gram model inside."""
        inner = self.ngram.contents()
        arrays = prefixed("ngram/", inner.pop("arrays"))
        names = [word for words in self.members.values() for word in words]
        arrays["members"] = np.frombuffer("\n".join(names).encode(), np.uint8)
        arrays["probabilities"] = np.array(
            [p for words in self.members.values() for p in words.values()], np.float64
        )
        classes = {name: len(words) for name, words in self.members.items()}
        return {
            "kind": self.kind,
            "config": {**self.config, "sizes": classes, "ngram": inner},
            "arrays": arrays,
            "provenance": self.provenance,
        }

    @classmethod
    def from_file(cls, file: ModelFile) -> ClassNgramModel:
        """The model of an opened file.

        Raises:
            FormatError: arrays or settings that are missing or contradict each other.
        """
        from dataclasses import replace

        where = str(file.path)
        try:
            inner, sizes = file.config["ngram"], dict(file.config["sizes"])
            arrays = arrays_under("ngram/", file.arrays)
            ngram = NgramModel.from_file(
                replace(file, kind="ngram", config=inner["config"], arrays=arrays, crc32={})
            )
            ngram.path = None  # it is not what that file holds
            names = file.array("members", np.uint8).tobytes().decode().split("\n")
            probabilities = file.array("probabilities", np.float64).tolist()
            if not len(names) == len(probabilities) == sum(map(int, sizes.values())):
                raise FormatError("the classes contradict their sizes", where=where)
            members: dict[str, dict[str, float]] = {}
            at = 0
            for name, size in sizes.items():
                pairs = zip(names[at : at + size], probabilities[at : at + size], strict=True)
                members[name] = dict(pairs)
                at += size
            return cls(ngram, members, file.provenance, where)
        except (KeyError, TypeError, ValueError, AttributeError, SettingError) as error:
            raise FormatError(f"the classes are not understood: {error}", where=where) from None


def _merged(rows: Array, logs: Array) -> State:
    """States that are equal as one, without those that hardly matter."""
    if len(rows) == 1:
        return rows, logs
    distinct, owners = np.unique(rows, axis=0, return_inverse=True)
    p = np.bincount(owners.reshape(-1), np.exp(logs), minlength=len(distinct))
    kept = p > _NEGLIGIBLE
    return distinct[kept], np.log(p[kept] / p[kept].sum())


def _pairs(tokens: Vocabulary, members: Members) -> tuple[Vocabulary, tuple[Array, Array, Array]]:
    """The words, and the pairs of a word and a token with log p(word | token), by word."""
    found: list[tuple[str, int, float]] = []
    for name, words in members.items():
        token = tokens.id(name)
        if token <= EOS:
            raise SettingError(
                f"the class {name!r} is none of the n-gram model's words",
                hint="Its n-grams must hold the names of the classes",
            )
        if not words:
            raise SettingError(f"the class {name!r} has no words")
        values = np.array(list(words.values()), np.float64)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.sum() > 0):
            raise SettingError(f"the probabilities of the class {name!r} are {values.tolist()}")
        if abs(values.sum() - 1) > _SUM:
            warnings.warn(
                f"the probabilities of the class {name!r} sum to {values.sum():.4g} and are "
                "scaled to a sum of 1",
                UnrolledWarning,
                stacklevel=4,
            )
        values /= values.sum()
        found += [
            (word, token, math.log(p)) for word, p in zip(words, values.tolist(), strict=True) if p
        ]
    own = [word for word in tokens if word not in members]
    vocabulary = Vocabulary.from_words(dict.fromkeys([*own, *(word for word, _, _ in found)]))
    ids = np.concatenate(
        [vocabulary.ids(own), vocabulary.ids([word for word, _, _ in found])]
    ).astype(np.int64)
    of_tokens = np.concatenate([tokens.ids(own), [token for _, token, _ in found]])
    shares = np.concatenate([np.zeros(len(own)), [share for _, _, share in found]])
    order = np.argsort(ids, kind="stable")
    return vocabulary, (ids[order], of_tokens[order].astype(np.int64), shares[order])


def read_classes(path: str) -> dict[str, dict[str, float]]:
    """The classes of a file of SRILM's format; a probability that is not given is 1.

    Raises:
        TextError: with the line, a class without a word, an expansion of several words, or a word
            that a class has twice.
    """
    members: dict[str, dict[str, float]] = {}
    for number, line in enumerate(iter_sentences(path), 1):
        parts = line.split()
        if not parts:
            continue
        place = f"{path}:{number}"
        name, *words = parts
        p = 1.0
        if len(words) > 1 and _is_probability(words[0]):
            p, words = float(words[0]), words[1:]
        if not words:
            raise TextError(f"the class {name!r} has no word", where=place)
        if len(words) > 1:
            raise TextError(
                f"{' '.join(words)!r} are several words, and a class has single words here",
                where=place,
            )
        if words[0] in members.setdefault(name, {}):
            raise TextError(f"the class {name!r} has {words[0]!r} twice", where=place)
        members[name][words[0]] = p
    if not members:
        raise TextError("there are no classes", where=path)
    return members


def _is_probability(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
