"""``unrolled gradients``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unrolled.cli import options as shared

if TYPE_CHECKING:
    from unrolled.gradients.measure import GradientReport


def gradients(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL TEXT...",
            help="A trained net and a text; or nothing, with --cell.",
            show_default=False,
        ),
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(help="A fresh cell instead: elman, irnn, lstm or gru.", show_default=False),
    ] = None,
    hidden: Annotated[int, typer.Option(help="Units of a fresh cell.", min=1)] = 100,
    layers: Annotated[int, typer.Option(help="Fresh cells one above the other.", min=1)] = 1,
    nonlinearity: Annotated[
        str, typer.Option(help="Of a fresh elman: tanh, sigmoid, relu or linear.")
    ] = "tanh",
    start: Annotated[
        str,
        typer.Option(
            help="Initial recurrent weights of a fresh cell: identity, orthogonal, radius or "
            "sparse.",
            show_default="the cell's default",
        ),
    ] = "",
    forget_bias: Annotated[float, typer.Option(help="Of a fresh lstm's forget gate.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Steps that errors may flow back.", min=2)] = 35,
    batch: Annotated[int, typer.Option(help="Sequences in a batch.", min=1)] = 32,
    batches: Annotated[int, typer.Option(help="Batches of the text to use.", min=1)] = 4,
    weights: Annotated[
        bool, typer.Option("--weights", help="Also each lag's share of dE/dU.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of fresh parameters.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for pictures and gradients.json."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    threads: shared.Threads = 2,
) -> None:
    """Show how far back gradients reach, and what their Jacobians do (extra `neural`).

    Prints, for each lag k, the mean norm of dE(t)/dh(t-k), its share of the total, the spectral
    norm of k steps' Jacobians and its bound (beta_W beta_h)^k; of an LSTM also the cell state's
    norm, and the part that passed through the cell state only. With -o it writes pictures: norm by
    lag, by lag and time, singular values, and a comparison of a trained net with its untrained
    state, or of a fresh cell with other cells.

    Examples:

        unrolled gradients lstm.safetensors valid.txt

        unrolled gradients rnn.safetensors valid.txt --steps 50 -o pictures/

        unrolled gradients --cell elman --start orthogonal -o pictures/
    """
    from unrolled.cli.progress import Stages
    from unrolled.errors import SettingError
    from unrolled.gradients.measure import compare_cells, measure_cell, measure_gradients

    _check(inputs, cell)
    if output is not None and (str(output) == "-" or (output.exists() and not output.is_dir())):
        raise SettingError("pictures are written to a folder", where=str(output),
                           hint="Name one with -o, or print numbers with --json")  # fmt: skip
    with Stages() as stages:
        stages.stage("gradients by lag and Jacobians")
        if cell is not None:
            fresh: Any = {"hidden": hidden, "layers": layers, "steps": steps, "batch": batch,
                          "seed": seed}  # fmt: skip
            report = measure_cell(
                cell, nonlinearity=nonlinearity, start=start, forget_bias=forget_bias,
                weights=weights, **fresh,
            )  # fmt: skip
        else:
            model, *texts = inputs or []
            given: Any = {"steps": steps, "batch": batch, "batches": batches, "threads": threads}
            report = measure_gradients(model, texts, weights=weights, **given)
        if output is not None:
            stages.stage("gradients to compare with")
            if cell is not None:
                others = compare_cells(**fresh)
            else:
                untrained = measure_gradients(model, texts, fresh=seed, **given)
                others = {untrained.name: untrained}
            _write(output, report, others)
    typer.echo(json.dumps(report.record()) if json_ else _text(report))


def _check(inputs: list[str] | None, cell: str | None) -> None:
    from unrolled.errors import SettingError

    if (inputs or []) and cell is not None:
        raise SettingError(f"a model and --cell {cell} exclude each other", hint="Name one of them")
    if cell is None and len(inputs or []) < 2:
        raise SettingError(
            "a model and a text are needed, or --cell",
            hint="Such as `unrolled gradients lstm.safetensors valid.txt`, or "
            "`unrolled gradients --cell lstm`",
        )


def _write(folder: Path, report: GradientReport, others: dict[str, GradientReport]) -> None:
    from unrolled.report.gradient_plots import write_pictures
    from unrolled.storage.atomic import atomic_write

    write_pictures(folder, report, others)
    record = {
        **report.record(),
        "others": {name: other.record()["layers"] for name, other in others.items()},
    }
    with atomic_write(folder / "gradients.json") as file:
        file.write(json.dumps(record).encode() + b"\n")


def _text(report: GradientReport) -> str:
    return "\n".join([report.table(), "", *report.diagnostics()])
