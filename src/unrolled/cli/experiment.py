"""``unrolled experiment``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def experiment(
    name: Annotated[
        str, typer.Argument(help="mikolov2011-table2, mikolov2011-table3, ladder or large-lstm.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one file each whose name holds train, valid and test, such as "
            "ptb.train.txt; without it the demo text.",
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
    from unrolled.experiments import demo_texts, run_experiment, texts_in

    with compiling_announced():
        texts = demo_texts(output / "text") if data is None else texts_in(data)
        run_experiment(
            name, texts, size=size, output=output,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )  # fmt: skip
    typer.echo(str(output / f"{name}-{size}.json"))
