"""``unrolled settings``."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any

import typer

from unrolled.errors import MissingExtraError, SettingError
from unrolled.settings import Setting, settings_of

MODELS = ("net", "tagger", "ngram")
_INTRODUCTION = """# Settings

Made by `unrolled settings --format markdown`. Each setting is given by `--set NAME=VALUE`, by a
line of the TOML file of `--config`, or by name in Python (`train_net(text, hidden=100)`). Those of
the text are one argument there, `options=TextOptions(lower=True)`; of the vocabulary there are
`min_count`, `max_size` and `words`, a list.
"""


def settings_of_model(model: str) -> dict[str, Setting]:
    """The settings of `unrolled train MODEL`."""
    if model == "net":
        from unrolled.cli import nets

        return settings_of(*nets.KINDS)
    if model == "tagger":
        from unrolled.cli import taggers

        return settings_of(*taggers.KINDS)
    from unrolled.cli import train

    return settings_of(*train.KINDS)


def settings(
    model: Annotated[
        str, typer.Argument(help="net, tagger or ngram; all if none is given.", show_default=False)
    ] = "",
    format: Annotated[str, typer.Option(help="text, markdown or json.")] = "text",
) -> None:
    """List what can be set when a model is trained: name, default, values allowed, meaning.

    Each is set with --set NAME=VALUE, or in the file of --config.

    Example:

        unrolled settings ngram
    """
    if model and model not in MODELS:
        raise SettingError(f"the model is '{model}', allowed are {', '.join(MODELS)}")
    if format not in ("text", "markdown", "json"):
        raise SettingError(f"--format is '{format}', allowed are text, markdown, json")
    chosen = {model: settings_of_model(model)} if model else _all_settings()
    if format == "json":
        print(json.dumps({name: list(map(_facts, of.values())) for name, of in chosen.items()}))
        return
    lines = _markdown if format == "markdown" else _text
    if format == "markdown" and not model:
        print(_INTRODUCTION)
    for name, of in chosen.items():
        print("\n".join(lines(name, of)))


def _all_settings() -> dict[str, dict[str, Setting]]:
    """The settings of all models that can be trained with what is installed."""
    found = {}
    for name in MODELS:
        try:
            found[name] = settings_of_model(name)
        except MissingExtraError as error:
            print(f"note: settings of train {name} are not listed: {error}", file=sys.stderr)
    return found


def _facts(one: Setting) -> dict[str, Any]:
    return {"name": one.name, "group": one.group, "default": one.default,
            "allowed": one.allowed, "help": one.help}  # fmt: skip


def _text(model: str, known: dict[str, Setting]) -> Iterator[str]:
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    yield f"unrolled train {model}"
    for group, members in groupby(known.values(), lambda one: one.group):
        yield f"\n{group}"
        for one in members:
            yield f"  {one.name} = {one.default_text}"
            about = f"{one.help} Allowed: {one.allowed}."
            yield textwrap.fill(about, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    yield ""


def _markdown(model: str, known: dict[str, Setting]) -> Iterator[str]:
    yield f"## `unrolled train {model}`\n"
    for group, members in groupby(known.values(), lambda one: one.group):
        yield f"### {group}\n\n| setting | default | allowed | meaning |\n| --- | --- | --- | --- |"
        for one in members:
            cells = (f"`{one.name}`", one.default_text, one.allowed, one.help)
            yield "| " + " | ".join(_escaped(cell) for cell in cells) + " |"
        yield ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
