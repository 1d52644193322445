"""Parts of a data set for training, tuning and testing, as they were published."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import SettingError, TextError
from unrolled.tagging.data.columns import TaggedSentence, read_columns

MPQA_FOLDS = 10
_FETCH_MPQA = "Fetch the data of github.com/oir/deep-recurrent"


@dataclass(frozen=True)
class Split:
    """Sentences for training, for choosing between trained models, and for testing."""

    train: list[TaggedSentence]
    dev: list[TaggedSentence]
    test: list[TaggedSentence]

    def shortened(self, most: int | None) -> Split:
        """Each part with so many sentences at most; None: with all."""
        return Split(self.train[:most], self.dev[:most], self.test[:most])

    def changed(self, change: Callable[[TaggedSentence], TaggedSentence]) -> Split:
        """Each part with its sentences changed."""
        parts = (self.train, self.dev, self.test)
        return Split(*([change(sentence) for sentence in part] for part in parts))

    def __add__(self, other: Split) -> Split:
        """The parts of both."""
        return Split(self.train + other.train, self.dev + other.dev, self.test + other.test)


def read_mpqa(folder: str | os.PathLike[str], kind: str = "dse") -> list[TaggedSentence]:
    """Irsoy and Cardie's MPQA 1.2: all 14,492 sentences, with the document of each.

    Args:
        folder: holds ``dse.txt``, ``ese.txt`` and ``sentenceid.txt``.
        kind: ``dse`` for direct, ``ese`` for expressive subjective expressions.

    Raises:
        TextError: a file is missing, or there are not as many sentences as lines of sentenceid.txt.
        SettingError: the kind is neither.
    """
    if kind not in ("dse", "ese"):
        raise SettingError(f"the kind of expressions is {kind!r}, allowed are dse and ese")
    path = Path(folder)
    sentences = read_columns(_present(path / f"{kind}.txt", _FETCH_MPQA))
    ids = _lines(path / "sentenceid.txt", _FETCH_MPQA)
    if len(ids) != len(sentences):
        what = f"{len(ids)} lines for {len(sentences)} sentences of {kind}.txt"
        raise TextError(what, where=str(path / "sentenceid.txt"))
    named = []
    for number, (line, sentence) in enumerate(zip(ids, sentences, strict=True), 1):
        fields = line.split()
        if len(fields) != 3:
            what = f"{len(fields)} columns, not the ranks of document and sentence and a name"
            raise TextError(what, where=f"{path / 'sentenceid.txt'}:{number}")
        named.append(dataclasses.replace(sentence, document=fields[2]))
    return named


def mpqa_fold(folder: str | os.PathLike[str], number: int) -> tuple[frozenset[str], ...]:
    """The documents of one of the ten published folds, to train, to tune and to test.

    Fold n trains on ``filelist_train<n>``, tests on ``filelist_test<n>``, and tunes on those 135
    documents of ``doclist.mpqaOriginalSubset`` that are in no fold, the same for all.

    Raises:
        SettingError: the fold is not one of 0 to 9.
        TextError: a list is missing, or names a document of another part.
    """
    if number not in range(MPQA_FOLDS):
        raise SettingError(f"the fold is {number}, allowed are 0 to {MPQA_FOLDS - 1}")
    lists = Path(folder) / "datasplit"
    every = frozenset(_lines(lists / "doclist.mpqaOriginalSubset", _FETCH_MPQA))
    test = frozenset(_lines(lists / f"filelist_test{number}", _FETCH_MPQA))
    train = frozenset(_lines(lists / f"filelist_train{number}", _FETCH_MPQA))
    if both := train & test:
        what = f"{min(both)} is in the training part as well"
        raise TextError(what, where=str(lists / f"filelist_test{number}"))
    return train, every - train - test, test


def read_mpqa_fold(folder: str | os.PathLike[str], kind: str, number: int) -> Split:
    """Sentences of one published fold: 360 documents to train, 135 to tune, 40 to test."""
    parts, sentences = mpqa_fold(folder, number), read_mpqa(folder, kind)
    return Split(
        *([sentence for sentence in sentences if sentence.document in names] for names in parts)
    )


def read_sentiment(folder: str | os.PathLike[str], name: str) -> Split:
    """A split of entity-level sentiment: ``laptop14``, or a fold ``twitter1`` to ``twitter10``.

    Files are ``<name>_train.txt``, ``<name>_dev.txt``, ``<name>_test.txt`` of a word and an IOBES
    tag a line.

    Raises:
        TextError: a file is missing.
    """
    return _three_files(folder, *(f"{name}_{part}.txt" for part in ("train", "dev", "test")))


def read_conll2003(folder: str | os.PathLike[str]) -> Split:
    """The English data of CoNLL-2003 from ``eng.train``, ``eng.testa`` and ``eng.testb`` (IOB1).

    Raises:
        TextError: a file is missing.
    """
    return _three_files(folder, "eng.train", "eng.testa", "eng.testb")


def _three_files(folder: str | os.PathLike[str], train: str, dev: str, test: str) -> Split:
    return Split(*(read_columns(_present(Path(folder) / name)) for name in (train, dev, test)))


def _present(path: Path, hint: str | None = None) -> Path:
    if not path.is_file():
        raise TextError("there is no such file", where=str(path), hint=hint)
    return path


def _lines(path: Path, hint: str) -> list[str]:
    text = _present(path, hint).read_text(encoding="utf-8")
    return [line.strip() for line in text.split("\n") if line.strip()]
