"""The commands of ``unrolled``; each loads what it needs only when it is called."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Annotated, Any, get_args

import typer

from unrolled.cli import options as shared
from unrolled.cli import progress
from unrolled.errors import SettingError
from unrolled.settings import setting
from unrolled.version import __version__

# Command -> where it is defined. Only the module of the command that runs is imported.
COMMANDS = {
    "train": "train:app",
    "count": "train:count",
    "evaluate": "query:evaluate",
    "score": "query:score",
    "surprisal": "surprisal:surprisal",
    "annotate": "annotate:annotate",
    "rank": "query:rank",
    "predict": "query:predict",
    "generate": "query:generate",
    "info": "models:info",
    "convert": "models:convert",
    "prune": "models:prune",
    "filter": "models:filter_words",
    "mix": "models:mix",
    "export": "export:export",
    "rescore": "rescore:rescore",
    "tag": "tagging:tag",
    "serve": "serve:serve",
    "compare": "compare:compare",
    "demo": "compare:demo",
    "experiment": "experiment:experiment",
    "gradients": "gradients:gradients",
    "settings": "settings:settings",
    "compile": "compile:compile_kernels",
}


def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no progress on standard error.")
    ] = False,
) -> None:
    """Language models from counts to recurrent nets: train, evaluate, compare, convert."""
    progress.quiet = quiet
    if show:
        typer.echo(f"unrolled {__version__}")
        raise typer.Exit


def parser(arguments: Sequence[str] = ()) -> typer.Typer:
    """The parser of the command that the arguments name, or of all commands if they name none."""
    made = typer.Typer(
        name="unrolled",
        help="Language models from counts to recurrent nets: train, evaluate, compare, convert.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help is complete: nothing cut, <unk> shown; it loads faster
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    made.callback(invoke_without_command=True)(version)
    first = next((word for word in arguments if not word.startswith("-")), "")
    for name in [first] if first in COMMANDS else COMMANDS:
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(import_module(f"unrolled.cli.{module}"), function)
        if isinstance(command, typer.Typer):
            made.add_typer(command, name=name)
        else:
            made.command(name, help=shared.help_of(command))(command)
    return made


# What the parser raises, by the names that Typer shows.
_UsageError = typer.BadParameter.__bases__[0]
_ParserError: Any = _UsageError.__bases__[0]


def app() -> None:
    """Run the command that the arguments name.

    Raises:
        SettingError: the arguments name none, or have an option or value that is not allowed.
    """
    try:
        code = parser(sys.argv[1:])(prog_name="unrolled", standalone_mode=False)
    except _ParserError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            raise SystemExit(2) from None
        raise _setting_error(error) from None
    if isinstance(code, int):
        raise SystemExit(code)


def _setting_error(error: Any) -> SettingError:
    """An error of the parser in one sentence, with what to do about it."""
    context, option = getattr(error, "ctx", None), getattr(error, "option_name", "")
    hint = f"See `{context.command_path} --help`" if context is not None else None
    if type(error).__name__ != "NoSuchOption":
        wrong = _wrong_number(error, context)
        return SettingError(wrong or error.format_message().rstrip(".?"), hint=hint)
    name = option.lstrip("-").replace("-", "_")
    others = getattr(context.command.callback, "other_settings", ()) if context else ()
    found = next((one for one in (name, name.removeprefix("no_")) if one in others), None)
    if found is not None:
        hint = f"It is a setting: --set {found}=VALUE"
    elif error.possibilities:
        hint = f"Did you mean {error.possibilities[0]}"
    return SettingError(f"there is no option {option}", hint=hint)


def _wrong_number(error: Any, context: Any) -> str | None:
    """What is wrong with the value of an option that takes numbers; None of other errors.

    The parser's own sentence names no value, or not the option, by its version. The limits are
    those that the command declares.
    """
    option = getattr(error, "param", None)
    command = getattr(getattr(context, "command", None), "callback", None)
    if option is None or command is None:
        return None
    declared = inspect.signature(command, eval_str=True).parameters.get(option.name)
    kind, *about = get_args(declared.annotation) if declared is not None else (None,)
    kind = next((one for one in (kind, *get_args(kind)) if one in (int, float)), None)
    if kind is None or not about:
        return None
    limits = setting(kind(), "", minimum=about[0].min, maximum=about[0].max)
    found = re.match(r"'?(.+?)'? is not (?:in the range|a valid)", str(error))  # click's sentence
    problems: Any = getattr(error.__cause__, "errors", lambda: [{}])()  # or pydantic's
    value = found[1] if found else problems[0].get("input")
    name = max((name for name in option.opts if name.startswith("--")), default=option.name)
    try:
        replace(limits.metadata["setting"], name=name, type=kind).parsed(str(value))
    except SettingError as wrong:
        return str(wrong)
    return None
