"""Options that several commands share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.text.options import TextOptions

Texts = Annotated[
    list[str],
    typer.Argument(
        help="Text files, folders, or - for standard input; .gz .bz2 .xz .zst .jsonl .parquet too.",
        show_default=False,
    ),
]
ModelPath = Annotated[
    str, typer.Argument(help="A model file (.safetensors) or an ARPA file.", show_default=False)
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write.", show_default=False)]
Threads = Annotated[int, typer.Option(help="Threads.", min=1)]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory to use, such as 4G; by default three quarters of what is free. What a large "
        "text needs beyond it goes to temporary files.",
        show_default=False,
    ),
]
Temporary = Annotated[
    Path | None,
    typer.Option(
        help="Folder for temporary files; by default that of the output.", show_default=False
    ),
]
Device = Annotated[
    str, typer.Option(help="Where nets compute: auto (a GPU if there is one), cpu or cuda.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue from the checkpoint, if there is one.")
]
ResumePhases = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on after the last phase that a stopped run over temporary files had done.",
    ),
]
Invalid = Annotated[
    str | None,
    typer.Option(
        help="What is not UTF-8: error, or replace it by U+FFFD; by default as in training."
    ),
]
# How a trained model's input is read: by default as its training text was.
InputTokens = Annotated[
    str | None, typer.Option("--tokens", help="word, char, byte, or a SentencePiece .model file.")
]
InputLower = Annotated[
    bool | None, typer.Option("--lower/--no-lower", help="Lower-case the text first, or do not.")
]
InputField = Annotated[
    str | None, typer.Option("--field", help="Field of JSONL or column of Parquet.")
]

UnknownWord = Annotated[
    str,
    typer.Option(
        "--unknown",
        help="What an unknown word costs: class (the probability of <unk>), skip (nothing, and it "
        "is not counted), each (1 of as many words as became <unk> in training), or the number of "
        "such words.",
    ),
]


def help_of(command: Callable[..., None]) -> str:
    """A command's docstring with each paragraph on one line, for the help page to wrap."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    lines = ([line.strip() for line in text.splitlines()] for text in paragraphs)
    indents = (text[: len(text) - len(text.lstrip())] for text in paragraphs)
    return "\n\n".join(a + " ".join(b) for a, b in zip(indents, lines, strict=True))


def input_options(
    model: LanguageModel,
    tokens: str | None,
    lower: bool | None,
    field: str | None = None,
    invalid: str | None = None,
) -> TextOptions:
    """How a model's input is read: as its training text was, but for what is given."""
    from dataclasses import replace

    given = {"tokens": tokens, "lower": lower, "field": field, "invalid": invalid}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if tokens is not None:
        changed["sentencepiece"] = ""
    elif lower is None and model.kind == "ngram" and "text" not in model.config:
        import sys

        print(
            "note: it is unknown how the text of the model was split into tokens; words in their "
            "own case are assumed (--tokens, --lower)",
            file=sys.stderr,
        )
    return replace(model.text_options, **changed)


def check_unused(given: Mapping[str, Any], why: str) -> None:
    """Refuse options that would do nothing.

    Args:
        given: by their names, those with a true value. why: the rest of the sentence.

    Raises:
        SettingError: with the options that have one.
    """
    from unrolled.errors import SettingError

    names = [name for name, value in given.items() if value]
    if names:
        raise SettingError(f"{', '.join(names)} {'goes' if len(names) == 1 else 'go'} {why}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that an option does not have.

    Raises:
        SettingError: with the values that are allowed.
    """
    from unrolled.errors import SettingError

    if value not in allowed:
        raise SettingError(f"{name} is '{value}', allowed are {', '.join(allowed)}")


_SPACES = re.compile("[\0\t\r ]+")  # of text; what is a space in Unicode only is a letter


def read_words(path: str | Path) -> list[str] | None:
    """Words of a list, one a line; None without a file.

    Raises:
        TextError: the file cannot be read, has no words, or several in a line.
    """
    if not path:
        return None
    from unrolled.errors import TextError
    from unrolled.text.tokens import iter_sentences

    found: list[str] = []
    for number, line in enumerate(iter_sentences(str(path)), 1):
        words = [word for word in _SPACES.split(line) if word]
        if len(words) > 1:
            raise TextError(
                f"the line has {len(words)} words",
                where=f"{path}:{number}",
                hint="Put each on a line of its own",
            )
        found += words
    if not found:
        raise TextError("the list has no words", where=str(path))
    return found


def amount(text: str | None, option: str) -> int | None:
    """A number such as 5000, 20k, 300M or 1.5G; None without a text.

    Raises:
        SettingError: something else, or less than 1.
    """
    from unrolled.errors import SettingError

    if text is None:
        return None
    factors = {"k": 10**3, "m": 10**6, "g": 10**9}
    given = text.strip().lower()
    factor = factors.get(given[-1:], 1)
    try:
        value = int(float(given.rstrip("kmg")) * factor)
    except (ValueError, OverflowError):
        value = 0
    if value < 1:
        raise SettingError(f"{option} is '{text}' and must be a number such as 5000, 20k or 300M")
    return value


def numbers(text: str | None, kind: type[int] | type[float], option: str) -> tuple[Any, ...]:
    """Numbers separated by spaces or commas.

    Raises:
        SettingError: something else is among them.
    """
    from unrolled.errors import SettingError

    try:
        return tuple(kind(part) for part in (text or "").replace(",", " ").split())
    except ValueError:
        raise SettingError(
            f"{option} is '{text}' and must be {kind.__name__} numbers such as '0 0 1'"
        ) from None
