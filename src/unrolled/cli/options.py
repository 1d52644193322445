"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from unrolled.language_models.protocol import LanguageModel
    from unrolled.text.corpus import TextOptions

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
Device = Annotated[
    str, typer.Option(help="Where nets compute: auto (a GPU if there is one), cpu or cuda.")
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(help="Where to save training's state.", show_default="OUTPUT.checkpoint"),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue from the checkpoint, if there is one.")
]
Tokens = Annotated[str, typer.Option(help="word, char, byte, or a SentencePiece .model file.")]
Lower = Annotated[bool, typer.Option("--lower", help="Lower-case the text first.")]
Normalise = Annotated[
    str,
    typer.Option(
        "--normalise", "--normalize",
        help="Unicode form that the text is brought to first: none, nfc (a letter and its accent "
        "become one character) or nfkc (no-break spaces become plain ones too).",
    ),
]  # fmt: skip
Invalid = Annotated[str, typer.Option(help="What is not UTF-8: error, or replace it by U+FFFD.")]
Specials = Annotated[
    str,
    typer.Option(
        help="Literal <unk> <s> </s> in the text: unknown (<unk> is the unknown word, the others "
        "are refused), error, skip, or keep."
    ),
]
Field = Annotated[
    str | None, typer.Option(help="Field of JSONL or column of Parquet.", show_default="text")
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
MinCount = Annotated[int, typer.Option(help="Words that come fewer times become <unk>.", min=0)]
VocabularySize = Annotated[
    int | None, typer.Option(help="Keep only so many of the most frequent words.", min=1)
]
Vocabulary = Annotated[
    Path | None, typer.Option(help="The vocabulary: the words of this file, one a line.")
]


def text_options(**given: Any) -> TextOptions:
    """Text options from the command line."""
    from unrolled.text.corpus import TextOptions

    return TextOptions(**given)


def input_options(
    model: LanguageModel, tokens: str | None, lower: bool | None, field: str | None = None
) -> TextOptions:
    """How a model's input is read: as its training text was, but for what is given."""
    from dataclasses import replace

    given = {"tokens": tokens, "lower": lower, "field": field}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if tokens is not None:
        changed["sentencepiece"] = ""
    elif lower is None and model.kind == "ngram" and "text" not in model.config:
        import sys

        print(
            "note: the model does not tell how its text was cut into tokens; words in their own "
            "case are assumed (--tokens, --lower)",
            file=sys.stderr,
        )
    return replace(model.text_options, **changed)


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that an option does not have.

    Raises:
        SettingError: with the values that are allowed.
    """
    from unrolled.errors import SettingError

    if value not in allowed:
        raise SettingError(f"{name} is '{value}', allowed are {', '.join(allowed)}")


def read_words(path: Path | None) -> list[str] | None:
    """Words of a list, one a line.

    Raises:
        TextError: the file cannot be read.
    """
    if path is None:
        return None
    from unrolled.text.corpus import iter_sentences

    return [line.strip() for line in iter_sentences(str(path)) if line.strip()]


def numbers(text: str | None, kind: type[int] | type[float], option: str) -> tuple[Any, ...]:
    """Numbers parted by spaces or commas.

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


def three_numbers(text: str, option: str) -> tuple[float, float, float]:
    """Three numbers; fewer than three are filled up with the last.

    Raises:
        SettingError: none, more, or something that is no number.
    """
    from unrolled.errors import SettingError

    found = numbers(text, float, option)
    if not 1 <= len(found) <= 3:
        raise SettingError(f"{option} is '{text}' and must be one to three numbers")
    first, second, third = (found + found[-1:] * 2)[:3]
    return first, second, third
