"""Settings of how text is read; nothing here loads NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.settings import check_settings, setting

_TOKENS = ("word", "char", "byte")


@dataclass(frozen=True)
class TextOptions:
    """How text becomes tokens; a model keeps these and reads later texts in the same way.

    ``word`` tokens are what ASCII white space parts (NUL, tab, newline, carriage return, space, as
    for lmplz; U+2028 and other Unicode spaces are letters like any other). ``char`` tokens are
    characters, with white space as U+2581. ``byte`` tokens are bytes, printable ASCII as itself,
    white space as U+2581, others like ``<0xE2>``.

    Raises:
        SettingError: a value that is not allowed.
    """

    tokens: str = setting(
        "word",
        "What a token is; or the path of a SentencePiece .model file.",
        group="Text",
        allowed=", ".join(_TOKENS) + ", or the path of a SentencePiece file that ends in .model",
        check=lambda value: value in _TOKENS or value.endswith(".model"),
    )
    lower: bool = setting(False, "Lower-case the text first, as str.lower does.")
    invalid: str = setting(
        "error",
        "What is not UTF-8: refuse it, or replace it by U+FFFD.",
        choices=("error", "replace"),
    )
    specials: str = setting(
        "unknown",
        "Literal <unk> <s> </s> in the text: unknown (<unk> is the unknown word, the others are "
        "refused), error (all are refused, as lmplz does), skip (they are white space), or keep "
        "(each becomes its own id).",
        choices=("unknown", "error", "skip", "keep"),
    )
    field: str | None = setting(
        None,
        "Field of JSONL or column of Parquet that holds the text.",
        shown_default="text",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class VocabularyLimits:
    """Which words of a text make up its vocabulary; the others become <unk>."""

    min_count: int = setting(
        0, "Words that come fewer times become <unk>.", group="Vocabulary", minimum=0
    )
    vocabulary_size: int | None = setting(
        None, "Keep only so many of the most frequent words.", minimum=1
    )
    vocabulary: str = setting("", "Keep only the words of this file, one a line.")

    def __post_init__(self) -> None:
        check_settings(self)
