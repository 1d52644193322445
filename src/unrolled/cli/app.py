"""The commands of ``unrolled``; each loads what it needs only when it is called."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unrolled.cli import models, progress, query, train
from unrolled.cli import options as shared
from unrolled.cli.compare import compare, demo
from unrolled.cli.compile import compile_kernels
from unrolled.cli.experiment import experiment
from unrolled.cli.export import export
from unrolled.cli.gradients import gradients
from unrolled.cli.rescore import rescore
from unrolled.cli.settings import settings
from unrolled.cli.tagging import tag
from unrolled.errors import SettingError
from unrolled.version import __version__

commands = typer.Typer(
    name="unrolled",
    help="Language models from counts to recurrent nets: train, evaluate, compare, convert.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is complete: nothing cut, <unk> shown, and it loads faster
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
commands.add_typer(train.app, name="train")
commands.command()(train.count)
for command in (
    query.evaluate,
    query.score,
    query.rank,
    query.predict,
    query.generate,
    models.info,
    models.convert,
    models.prune,
    models.mix,
    export,
    rescore,
    tag,
    compare,
    demo,
    experiment,
    gradients,
    settings,
):
    commands.command(help=shared.help_of(command))(command)
commands.command("filter")(models.filter_words)
commands.command("compile")(compile_kernels)


@commands.callback(invoke_without_command=True)
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


# What the parser raises, by the names that Typer shows.
_UsageError = typer.BadParameter.__bases__[0]
_ParserError: Any = _UsageError.__bases__[0]


def app() -> None:
    """Run the command that the arguments name.

    Raises:
        SettingError: the arguments name none, or have an option or value that is not allowed.
    """
    try:
        code = commands(prog_name="unrolled", standalone_mode=False)
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
        return SettingError(error.format_message().rstrip(".?"), hint=hint)
    name = option.lstrip("-").replace("-", "_")
    others = getattr(context.command.callback, "other_settings", ()) if context else ()
    found = next((one for one in (name, name.removeprefix("no_")) if one in others), None)
    if found is not None:
        hint = f"It is a setting: --set {found}=VALUE"
    elif error.possibilities:
        hint = f"Did you mean {error.possibilities[0]}"
    return SettingError(f"there is no option {option}", hint=hint)
