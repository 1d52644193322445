"""Symbol tables of OpenFst and Kaldi: words and their numbers, such as words.txt."""

from __future__ import annotations

import os

from unrolled.errors import TextError
from unrolled.storage.atomic import atomic_write
from unrolled.text.tokens import iter_sentences

EPSILON = "<eps>"


class SymbolTable:
    """Words and their labels; ``<eps>`` has label 0.

    Args:
        labels: label of each word.
        where: the file, for messages.

    Raises:
        TextError: label 0 belongs to another word, or two words have one label.
    """

    def __init__(self, labels: dict[str, int], where: str | None = None) -> None:
        self.labels = labels
        owners = {label: word for word, label in labels.items()}
        if len(owners) != len(labels) or owners.get(0, EPSILON) != EPSILON:
            what = "two words have one label" if len(owners) != len(labels) else (
                f"label 0 is {owners[0]!r} and must be {EPSILON}"
            )  # fmt: skip
            raise TextError(f"{what} in the symbol table", where=where)
        self._owners = owners

    def add(self, word: str) -> int:
        """The label of a word, which is added with the next free one if it is not there."""
        if word not in self.labels:
            label = max(self._owners, default=-1) + 1
            self.labels[word], self._owners[label] = label, word
        return self.labels[word]

    def words_by_label(self) -> list[str]:
        """The word of each label; labels without one are written as numbers."""
        words = [str(label) for label in range(max(self._owners, default=0) + 1)]
        for label, word in self._owners.items():
            words[label] = word
        return words

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write lines ``word label`` by ascending label, as arpa2fst does."""
        with atomic_write(path) as file:
            for label in sorted(self._owners):
                file.write(f"{self._owners[label]}\t{label}\n".encode(errors="replace"))

    @classmethod
    def read(cls, path: str) -> SymbolTable:
        """The table of a file of lines ``word label``.

        Raises:
            TextError: with the line, what is no word and label.
        """
        labels: dict[str, int] = {}
        for number, line in enumerate(iter_sentences(path), 1):
            parts = line.split()
            if not parts:
                continue
            place = f"{path}:{number}"
            if len(parts) != 2 or not parts[1].isdecimal() or int(parts[1]) >= 2**31:
                raise TextError(f"is {line!r}, not a word and its label", where=place)
            if parts[0] in labels:
                raise TextError(f"{parts[0]!r} comes twice", where=place)
            labels[parts[0]] = int(parts[1])
        return cls(labels, path)
