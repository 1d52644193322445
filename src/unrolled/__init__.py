"""Language models and sequence taggers, from counts to recurrent nets, that run on a laptop.

Names are loaded when they are first used, so that ``import unrolled`` loads neither NumPy, Numba
nor torch:

>>> import unrolled
>>> unrolled.Vocabulary.from_words(["the", "cat"]).id("cat")
4
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.corpus import Corpus as Corpus
    from unrolled.corpus import TextOptions as TextOptions
    from unrolled.corpus import read_corpus as read_corpus
    from unrolled.errors import FormatError as FormatError
    from unrolled.errors import MissingExtraError as MissingExtraError
    from unrolled.errors import NotNormalisedError as NotNormalisedError
    from unrolled.errors import SettingError as SettingError
    from unrolled.errors import TextError as TextError
    from unrolled.errors import UnrolledError as UnrolledError
    from unrolled.errors import UnrolledWarning as UnrolledWarning
    from unrolled.vocabulary import Vocabulary as Vocabulary

__version__ = "0.1.0"

# Public name -> the module that holds it.
_HOMES = {
    "Corpus": "corpus",
    "FormatError": "errors",
    "MissingExtraError": "errors",
    "NotNormalisedError": "errors",
    "SettingError": "errors",
    "TextError": "errors",
    "TextOptions": "corpus",
    "UnrolledError": "errors",
    "UnrolledWarning": "errors",
    "Vocabulary": "vocabulary",
    "read_corpus": "corpus",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    """Load the module of a public name at its first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"unrolled.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
