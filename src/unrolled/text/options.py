"""Settings of how text is read; nothing here loads NumPy."""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from unrolled.errors import FormatError, SettingError, TextError
from unrolled.settings import check_settings, configure, record_of, setting

_TOKENS = ("word", "char", "byte")
_LARGEST_SENTENCEPIECE = 64 << 20  # bytes; a few of a model file can unpack to any number

TABLE_FORMATS = ("csv", "tsv", "jsonl", "parquet", "text")


@dataclass(frozen=True)
class TextOptions:
    """How text becomes tokens; a model keeps these and reads later texts in the same way.

    ``word`` tokens are what ASCII white space separates (NUL, tab, newline, carriage return, space,
    as for lmplz; U+2028 and other Unicode spaces are letters like any other). ``char`` tokens are
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

    normalise: str = setting(
        "none",
        "Unicode form that the text is brought to first: nfc (a letter and its accent become one "
        "character) or nfkc (ligatures, full-width letters and no-break spaces become plain too).",
        choices=("none", "nfc", "nfkc"),
    )
    sentencepiece: str = setting(
        "", "The SentencePiece file itself, as `stored` packs it.", internal=True
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def sentencepiece_file(self) -> str:
        """The path of the SentencePiece file that ``tokens`` names; empty for other tokens."""
        return "" if self.tokens in _TOKENS else self.tokens

    def stored(self) -> dict[str, Any]:
        """What a model file keeps of the options; a SentencePiece file is packed into it.

        Raises:
            TextError: the SentencePiece file cannot be read.
        """
        packed = self
        if self.tokens not in _TOKENS:
            content = base64.b64encode(zlib.compress(self.sentencepiece_content())).decode()
            packed = replace(self, tokens=Path(self.tokens).name, sentencepiece=content)
        optional = {"normalise": "none", "sentencepiece": ""}
        return {
            name: value
            for name, value in asdict(packed).items()
            if name not in optional or value != optional[name]
        }

    def sentencepiece_content(self) -> bytes:
        """The SentencePiece file that ``tokens`` names, or the one that a model file brought along.

        Raises:
            TextError: it cannot be read.
        """
        if self.sentencepiece:
            return _unpacked(self.sentencepiece)
        return _file_content(self.tokens)


def stored_options(config: Mapping[str, Any], where: str | None) -> TextOptions:
    """How a model's training text was cut into tokens: the opposite of `TextOptions.stored`.

    Args:
        config: a model's settings, in which the options are ``text``.

    Raises:
        FormatError: the file asks for options that this version does not know.
    """
    try:
        given = dict(config.get("text", {}))
        packed = given.pop("sentencepiece", "")
        options: TextOptions
        (options,) = configure(given, TextOptions)
        if packed:
            options = replace(options, sentencepiece=packed)
            options.sentencepiece_content()
    except (TypeError, ValueError, zlib.error, SettingError) as error:
        raise FormatError(
            f"the model's text options are not understood: {error}", where=where
        ) from None
    return options


@lru_cache(maxsize=4)
def _unpacked(packed: str) -> bytes:
    source = zlib.decompressobj()
    content = source.decompress(base64.b64decode(packed), _LARGEST_SENTENCEPIECE)
    if not source.eof:
        raise ValueError(f"the SentencePiece file has more than {_LARGEST_SENTENCEPIECE:,} bytes")
    return content


@lru_cache(maxsize=4)
def _file_content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise TextError(
            "there is no such SentencePiece model", where=path, hint="Give its path with --tokens"
        ) from None
    except OSError as error:
        raise TextError(f"the file cannot be read ({error.strerror})", where=path) from None


def training_record(*configs: Any, texts: Any, valid: Any = None, threads: int) -> dict[str, Any]:
    """What a model file keeps of its training, so that it can be repeated.

    Args:
        configs: all settings.
        texts, valid: what the model was trained on; files are named.
    """
    run = {"texts": _file_names(texts), "valid": _file_names(valid), "threads": threads}
    return {"settings": record_of(*configs), "run": run}


def _file_names(sources: Any) -> list[str]:
    if sources is None or isinstance(sources, (str, os.PathLike)):
        sources = [] if sources is None else [sources]
    return [os.fspath(one) for one in sources if isinstance(one, (str, os.PathLike))]


@dataclass(frozen=True)
class VocabularyLimits:
    """Which words of a text make up its vocabulary; the others become <unk>."""

    min_count: int = setting(
        0, "Words that occur fewer times become <unk>.", group="Vocabulary", minimum=0
    )
    vocabulary_size: int | None = setting(
        None, "How many of the most frequent words to keep.", minimum=1
    )
    vocabulary: str = setting("", "The vocabulary: the words of this file, one a line.")

    def __post_init__(self) -> None:
        check_settings(self)
