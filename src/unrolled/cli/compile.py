"""``unrolled compile``."""

from __future__ import annotations

from typing import Annotated

import typer


def compile_kernels(
    processes: Annotated[
        int | None,
        typer.Option(help="Processes that share the work; by default one a core.", min=1, max=2),
    ] = None,
) -> None:
    """Compile all kernels now, so that no later command has to; for images of containers too.

    Example:

        unrolled compile
    """
    from unrolled import compilation
    from unrolled.cli.progress import Stages
    from unrolled.runtime.listeners import compilation_listeners

    compilation_listeners.clear()
    with Stages() as stages:
        folder = compilation.compile_kernels(processes=processes, progress=stages.steps_done)
    typer.echo(f"compiled kernels are cached in {folder}")
