"""``unrolled experiment``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unrolled.experiments import EXPERIMENTS


def experiment(
    name: Annotated[str, typer.Argument(help=", ".join(EXPERIMENTS) + ".")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the experiment reads from. For language models: one file each "
            "whose name holds train, valid and test, such as ptb.train.txt; without it the demo "
            "text.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="smoke, laptop or paper.")] = "laptop",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for results, models and pictures.")
    ] = Path("results"),
) -> None:
    """Run a published experiment again, and set its numbers beside the published ones.

    Examples:

        unrolled experiment mikolov2011-table2 --data ptb/ -o results/

        unrolled experiment mikolov2011-table3 --data ptb/ --size smoke
    """
    from unrolled.cli.progress import compiling_announced
    from unrolled.experiments import run_experiment

    with compiling_announced():
        run_experiment(
            name, data, size=size, output=output,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )  # fmt: skip
    typer.echo(str(output / f"{name}-{size}.json"))
