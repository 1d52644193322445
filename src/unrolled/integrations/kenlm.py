"""A stand-in for KenLM's Python module: ``import unrolled.integrations.kenlm as kenlm``.

The names, signatures, values and exceptions are those of kenlm 0.3.0; the models are those of
`unrolled.load`: ``.safetensors`` files and ARPA files, compressed ones too. KenLM's binary
files are not read: convert the ARPA file that they were built from.

>>> import unrolled
>>> texts = ["the cat sat", "the dog sat", "a cat ran"]
>>> ngram = unrolled.train_ngram(texts=texts, order=3, smoothing="witten-bell")
>>> model = Model.from_model(ngram)
>>> model.score("the cat sat") > model.score("sat the cat")
True
>>> [(length, oov) for _, length, oov in model.full_scores("the cat flew")]
[(2, False), (3, False), (1, True), (1, False)]
>>> before, after = State(), State()
>>> model.BeginSentenceWrite(before)
>>> for word in ["the", "cat", "sat", "</s>"]:
...     _ = model.BaseScore(before, word, after)
...     before, after = after, before
>>> before == State()  # no context reaches across the end of a sentence
True

A decoder that imports KenLM by itself, such as pyctcdecode, uses this module if it is registered
under KenLM's name first: ``sys.modules["kenlm"] = unrolled.integrations.kenlm``.

What differs, on purpose:

- Any order works, also 1 and those that KenLM was not compiled for.
- ``in_state`` and ``out_state`` may be one object. (KenLM then returns wrong scores.)
- States can be deep-copied and pickled, and are unequal to objects of other types instead of
  raising TypeError. A state of a model of another order is a ValueError.
- NUL is white space, as in lmplz. (KenLM's ``score`` drops what follows it.)
- ``score`` sums in double precision. (KenLM sums in single precision, with errors of about 1e-6.)
- Log zero is -99, as ARPA files write it.
- `Model.full_scores` scores the whole sentence before it returns.
- A `Config` is accepted, and has no effect: models are mapped into memory, and loading is silent.
- `Model.from_model` serves a model in memory. It can be pickled only if it is saved in a file.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import total_ordering
from typing import Any, NamedTuple

from unrolled.errors import SettingError, UnrolledError
from unrolled.language_models.protocol import require_normalised
from unrolled.ngram.model import NgramModel, load_ngram
from unrolled.ngram.query.single_calls import ROOM, SingleCalls, last_step, unpack_rows
from unrolled.text.vocabulary import UNK

_SPACES = bytes.maketrans(b"\v\f", b"  ")  # the white space that parts no words when training


class LoadMethod(enum.IntEnum):
    """How KenLM reads a binary file; no such choice is needed here."""

    LAZY = 0
    POPULATE_OR_LAZY = 1
    POPULATE_OR_READ = 2
    READ = 3
    PARALLEL_READ = 4


class ARPALoadComplain(enum.IntEnum):
    """When KenLM says that a binary file would load faster; nothing is said here."""

    ALL = 0
    EXPENSIVE = 1
    NONE = 2


@dataclass
class Config:
    """KenLM's settings, accepted so that programs need no change."""

    load_method: int = LoadMethod.POPULATE_OR_READ
    show_progress: bool = True
    arpa_complain: int = ARPALoadComplain.ALL


class FullScoreReturn(NamedTuple):
    """What `Model.BaseFullScore` returns.

    Attributes:
        log_prob: log10 probability of the word.
        ngram_length: words of the longest n-gram found, 1 for an unknown word.
        oov: whether the word is unknown.
    """

    log_prob: float
    ngram_length: int
    oov: bool

    def __repr__(self) -> str:
        return f"FullScoreReturn({self.log_prob!r}, {self.ngram_length!r}, {self.oov!r})"


@total_ordering
class State:
    """The context that a model has seen, to score a text word by word; empty when made.

    Two states are equal if they hold the same words, so that all continuations have the same
    scores. A model stores the longest context that can still matter, so that decoders can merge
    hypotheses. Only states of one model can be compared.
    """

    __slots__ = ("_data",)
    _data: bytearray | None  # of `SingleCalls`; None is no context, in a model of any order

    def __init__(self) -> None:
        self._data = None

    def _words(self) -> bytes:
        data = self._data
        return b"" if data is None else bytes(data[8 : 8 + 8 * data[0]])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        return self._words() == other._words()

    def __lt__(self, other: State) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        mine, theirs = self._words(), other._words()
        return (len(mine), mine) < (len(theirs), theirs)

    def __hash__(self) -> int:
        return hash(self._words())

    def __copy__(self) -> State:
        copied = State()
        copied._data = None if self._data is None else bytearray(self._data)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        return self.__copy__()


class Model:
    """An n-gram model with KenLM's interface; probabilities are log10.

    Text is split at ASCII white space, whatever tokens the model was trained on: a model of
    lower-case words or of SentencePiece tokens needs such input, as in KenLM.

    Threads may share a model, and `score` releases the GIL.

    Args:
        path: a ``.safetensors`` or an ARPA file.
        config: accepted and not used.

    Attributes:
        path: the absolute path of the file in bytes; empty for a model that has none.

    Raises:
        OSError: the file cannot be read or holds no n-gram model.
        TypeError: the path is neither text nor bytes.
    """

    path: bytes

    def __init__(self, path: str | bytes | os.PathLike[str], config: Config | None = None) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            raise TypeError(f"Cannot convert {type(path)} to string")
        _check("config", Config, Config() if config is None else config)
        where = os.path.abspath(os.fsencode(path))  # noqa: PTH100  (bytes, with links unresolved)
        try:
            self._serve(load_ngram(os.fsdecode(where), "KenLM's interface"), where)
        except UnrolledError as error:
            raise OSError(f"Cannot read model '{path!s}' ({error})") from error

    @classmethod
    def from_model(cls, model: NgramModel) -> Model:
        """A model that is in memory already, with KenLM's interface; nothing is copied.

        Raises:
            NotNormalisedError: stupid back-off, whose rule for unseen contexts KenLM lacks.
        """
        served = cls.__new__(cls)
        where = b"" if model.path is None else os.path.abspath(os.fsencode(model.path))  # noqa: PTH100
        served._serve(model, where)
        return served

    def _serve(self, model: NgramModel, path: bytes) -> None:
        require_normalised(model, "KenLM's interface")
        self.path = path
        self._order = model.order
        calls = SingleCalls(model.trie, model.vocabulary)
        self._score_text, self._score_words = calls.score_text, calls.score_words
        self._begin, self._null, self._null_state = calls.begin, calls.null, bytearray(calls.null)
        self._step, self._word_id = calls.step, calls.word_id

    @property
    def order(self) -> int:
        """The longest n-gram."""
        return self._order

    def score(self, sentence: str | bytes, bos: bool = True, eos: bool = True) -> float:
        """Log10 probability of a sentence.

        Args:
            sentence: words separated by white space.
            bos: whether it begins a sentence. eos: whether </s> is predicted at its end.

        Raises:
            TypeError: the sentence is neither text nor bytes.
        """
        # Each of these lines takes some hundredths of a microsecond, of which the call has few.
        given = type(sentence)
        if given is str:
            sentence = sentence.encode()  # type: ignore[union-attr]
        elif given is not bytes:
            sentence = _in_bytes(sentence)
        total: float = self._score_text(sentence, self._begin if bos else self._null, eos)
        if total != total:  # NaN: there are separators of which training text has none
            text = sentence.translate(_SPACES)
            total = self._score_text(text, self._begin if bos else self._null, eos)
        return total

    def perplexity(self, sentence: str | bytes) -> float:
        """10^(-score / tokens) of a whole sentence, whose tokens are its words and </s>."""
        scores = [score for score, _, _ in self.full_scores(sentence)]
        try:
            return float(10.0 ** (-sum(scores) / len(scores)))
        except OverflowError:
            return float("inf")

    def full_scores(
        self, sentence: str | bytes, bos: bool = True, eos: bool = True
    ) -> Iterator[tuple[float, int, bool]]:
        """Log10 probability of every word, and of </s> if ``eos``, n-gram length, unknown or not.

        The arguments are those of `score`.
        """
        given = type(sentence)
        if given is str:
            sentence = sentence.encode()  # type: ignore[union-attr]
        elif given is not bytes:
            sentence = _in_bytes(sentence)
        rows, start = bytearray(ROOM * (len(sentence) + 4)), self._begin if bos else self._null
        count: int = self._score_words(sentence, start, eos, rows)
        if count < 0:
            count = self._score_words(sentence.translate(_SPACES), start, eos, rows)
        return unpack_rows(rows, count)

    # -- word by word ----------------------------------------------------------------------------

    def BeginSentenceWrite(self, state: State) -> None:  # noqa: N802  (KenLM's name)
        """Make a state the one after <s>."""
        _check("state", State, state)
        state._data = bytearray(self._begin)

    def NullContextWrite(self, state: State) -> None:  # noqa: N802
        """Make a state the one without context."""
        _check("state", State, state)
        state._data = bytearray(self._null)

    def BaseScore(self, in_state: State, word: str, out_state: State) -> float:  # noqa: N802
        """Log10 probability of a word after ``in_state``; writes the state after it.

        Raises:
            TypeError: an argument is not of its type.
            SettingError: a state of a model of another order; it is also a ValueError.
        """
        try:
            score: float = self._step(
                word.encode(),
                in_state._data or self._null_state,
                out_state._data or self._fresh(out_state),
            )
            if score == score:
                return score
        except (AttributeError, TypeError):  # what is wrong is found below
            pass
        return self._checked_step(in_state, word, out_state)

    def BaseFullScore(  # noqa: N802
        self, in_state: State, word: str, out_state: State
    ) -> FullScoreReturn:
        """As `BaseScore`, with the length of the n-gram found and whether the word is unknown."""
        score = self.BaseScore(in_state, word, out_state)
        assert out_state._data is not None  # it was written to
        length, word_id = last_step(out_state._data)
        return FullScoreReturn(score, length, word_id == UNK)

    def _fresh(self, state: State) -> bytearray:
        state._data = data = bytearray(self._null)
        return data

    def _checked_step(self, in_state: State, word: str, out_state: State) -> float:
        """Raise what is wrong with a step; or take it, if ``out_state`` was of another model."""
        _check("in_state", State, in_state)
        _check("word", str, word)
        _check("out_state", State, out_state)
        before = in_state._data or self._null_state
        if len(before) != len(self._null):
            raise SettingError(
                f"in_state is of a model of order {(len(before) // 8 - 1) // 2}, and this one is "
                f"of order {self.order}",
                hint="A state goes with the model that wrote it",
            )
        score: float = self._step(word.encode(), before, self._fresh(out_state))
        return score

    def __contains__(self, word: str | bytes) -> bool:
        return bool(self._word_id(_in_bytes(word)) != UNK)

    def __repr__(self) -> str:
        return f"<Model from {os.path.basename(self.path)!r}>"  # noqa: PTH119  (bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.path:
            raise SettingError(
                "a model is pickled by its path, and this one has none",
                hint="Save it to a file and open that",
            )
        return Model, (self.path,)


class LanguageModel(Model):
    """The name that `Model` had in KenLM once."""


def _in_bytes(text: object) -> bytes:
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text if type(text) is bytes else bytes(text)
    raise TypeError(f"Cannot convert {type(text)} to string")


def _check(name: str, wanted: type, given: object) -> None:
    if not isinstance(given, wanted):
        raise TypeError(
            f"Argument '{name}' has incorrect type "
            f"(expected {wanted.__name__}, got {type(given).__name__})"
        )
