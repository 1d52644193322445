"""``unrolled experiment``."""

from __future__ import annotations

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
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Runs in parallel, of experiments on taggers; by default one for each core, on a "
            "GPU 16 at most.",
            min=1,
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where taggers compute: auto (a GPU if there is one), cpu or cuda.",
            show_default="auto",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run it again in a temporary folder and compare its numbers with the results in "
            "the output folder: exit 1 and a sentence for each one outside its spread.",
        ),
    ] = False,
    seeds: Annotated[
        int,
        typer.Option(
            help="How often it is run, each time from other seeds; from two on the results have "
            "the spread of each number, by which --check goes.",
            min=1,
        ),
    ] = 1,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="A row of the table to run, of pixel-mnist; may be given more than once. The "
            "other rows that the results have are kept.",
            show_default=False,
        ),
    ] = None,
    draw: Annotated[
        bool,
        typer.Option(
            "--draw", help="Run nothing; draw the pictures again from the results in the folder."
        ),
    ] = False,
) -> None:
    """Run a published experiment, and compare its numbers with the published ones.

    Examples:

        unrolled experiment mikolov2011-table2 --data ptb/ -o results/

        unrolled experiment mikolov2011-table3 --data ptb/ --size smoke

        unrolled experiment irsoy2014-depth --data mpqa/ --size paper --device cuda --jobs 16

        unrolled experiment pixel-mnist --data mnist/ --size paper --rows "IRNN, plain"

        unrolled experiment vanishing-gradient --draw -o results/

        unrolled experiment echo-state --size smoke --check -o results/smoke/

    An interrupted experiment continues after the models that it has finished.
    """
    from unrolled.cli.progress import print_line
    from unrolled.errors import SettingError
    from unrolled.experiments import check_experiment, draw_experiment, run_experiment

    if draw:
        _check_draw(data=data, jobs=jobs, device=device, check=check or None, rows=rows)
        for path in draw_experiment(name, size=size, output=output):
            typer.echo(str(path))
        return
    path = output / f"{name}-{size}.json"
    if check:
        if seeds > 1:
            raise SettingError("--check runs it once, so it takes no --seeds")
        if rows:
            raise SettingError("--check runs all rows that there are, so it takes no --rows")
        found = check_experiment(
            name, data, size=size, output=output, jobs=jobs, device=device, report=print_line
        )
        for deviation in found.outside:
            typer.echo(f"{path}: {deviation}.")
        within = found.compared - len(found.outside)
        typer.echo(f"{path}: {within} of {found.compared} numbers are within their spread.")
        raise typer.Exit(1 if found.outside else 0)
    run_experiment(
        name, data, size=size, output=output, jobs=jobs, device=device, seeds=seeds,
        rows=rows or (), report=print_line,
    )  # fmt: skip
    typer.echo(str(path))


def _check_draw(**given: object) -> None:
    from unrolled.errors import SettingError

    for name, value in given.items():
        if value is not None:
            raise SettingError(
                f"--draw runs nothing, so it takes no --{name}", hint="Leave one of them out"
            )
