"""The commands of ``unrolled``; each loads what it needs only when it is called."""

from __future__ import annotations

from typing import Annotated

import typer

from unrolled.cli import models, query, train
from unrolled.cli.compare import compare, demo
from unrolled.cli.compile import compile_kernels
from unrolled.cli.experiment import experiment
from unrolled.cli.export import export
from unrolled.cli.gradients import gradients
from unrolled.cli.rescore import rescore
from unrolled.cli.tagging import tag
from unrolled.version import __version__

app = typer.Typer(
    name="unrolled",
    help="Language models from counts to recurrent nets: train, evaluate, compare, convert.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app, name="train")
app.command()(train.count)
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
):
    app.command()(command)
app.command("filter")(models.filter_words)
app.command("compile")(compile_kernels)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Language models from counts to recurrent nets: train, evaluate, compare, convert."""
    if show:
        typer.echo(f"unrolled {__version__}")
        raise typer.Exit
