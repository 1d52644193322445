"""What a word that a model does not know costs.

A model has one probability for all of them, that of ``<unk>``. Three readings are in use:

``class``
    ``<unk>`` is a class, and the text says only that a word of it stands there: p(<unk> | h). So
    are the published perplexities of the Penn Treebank. An unknown word may cost less than a known
    one, and perplexities of models are comparable only if their vocabularies are the same.
``each``
    A word of the class is one of N, all equally likely: p(<unk> | h) / N (Ueberla 1994, "adjusted
    perplexity"). Models with different vocabularies can be compared.
``skip``
    It is left out, of the sum and of the number of words, as SRILM's ppl does where <unk> is no
    word of the model, and KenLM's "perplexity excluding OOVs".

>>> UnknownWords("each", 1000).cost
6.907755278982137
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.language_models.protocol import LanguageModel

Array = np.ndarray[Any, Any]
Unknown = str | int

READINGS = ("class", "each", "skip")
ALLOWED = f"{', '.join(READINGS)}, and the number of unknown words that each is one of"


@dataclass(frozen=True)
class UnknownWords:
    """A reading of ``<unk>``.

    Attributes:
        reading: one of `READINGS`.
        types: N, of ``each``.
    """

    reading: str = "class"
    types: int = 1

    @property
    def skipped(self) -> bool:
        """Whether unknown words are left out."""
        return self.reading == "skip"

    @property
    def cost(self) -> float:
        """What an unknown word costs beyond ``<unk>``, in nats."""
        return math.log(self.types)

    def log_probs(self, log_probs: Array, unknown: Array) -> Array:
        """Log-probabilities (T,) of tokens, those of unknown ones (T,) bool under this reading.

        Those that are skipped get 0, so that they add nothing to a sum.
        """
        if self.skipped:
            return np.where(unknown, np.zeros_like(log_probs), log_probs)
        if self.types == 1:
            return log_probs
        result: Array = np.where(unknown, log_probs - self.cost, log_probs).astype(log_probs.dtype)
        return result

    def __str__(self) -> str:
        if self.skipped:
            return "skipped"
        return "as <unk>" if self.types == 1 else f"each as 1 of {self.types:,} words"


AS_A_CLASS = UnknownWords()


def check_unknown(given: Unknown) -> None:
    """Refuse a setting that names no reading, before a model is there.

    Raises:
        SettingError: with the values that are allowed.
    """
    number = not isinstance(given, bool) and str(given).isdecimal() and int(given) > 0
    if given not in READINGS and not number:
        shown = f"'{given}'" if isinstance(given, str) else given
        raise SettingError(f"unknown is {shown}, allowed are {ALLOWED}")


def unknown_words(given: Unknown, model: LanguageModel) -> UnknownWords:
    """The reading that a setting names.

    Args:
        given: ``class``, ``skip``, ``each`` (one of as many words as became ``<unk>`` when the
            model was trained) or that number.

    Raises:
        SettingError: another value; or ``each`` and the number is not known.
    """
    check_unknown(given)
    if given != "each":
        return UnknownWords(str(given)) if given in READINGS else UnknownWords("each", int(given))
    if model.unknown_types < 1:
        raise SettingError(
            f"it is not known how many words <unk> of {model.name} stands for",
            where=model.path,
            hint="Give their number in place of each",
        )
    return UnknownWords("each", model.unknown_types)
