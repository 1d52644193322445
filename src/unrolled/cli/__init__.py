"""The command line: parse, call, print. Nothing imports it."""

from __future__ import annotations

import sys
import warnings

BAD_INPUT = 2
CLOSED_PIPE = 141  # as a shell shows it when SIGPIPE ends a process


def main() -> None:
    """Run ``unrolled``: one line on stderr and exit code 2 for what a user can mend."""
    import gc

    from unrolled.cli.signals import signals_obeyed
    from unrolled.cli.streams import open_streams
    from unrolled.errors import UnrolledError

    # Importing makes a million objects and no garbage; looking for it takes a tenth of the start.
    gc.set_threshold(100_000, 50, 50)
    warnings.showwarning = _show_warning
    if sys.stdout is sys.__stdout__:  # else somebody reads it within this process
        open_streams()
    try:
        with signals_obeyed():
            _run()
    except UnrolledError as error:
        _fail(f"unrolled: {error}", BAD_INPUT)
    except MemoryError:
        _fail("unrolled: out of memory. Use less text, a lower order, or pruning.", 1)
    finally:
        gc.freeze()  # at the end nobody needs to look for garbage, which takes a tenth of a second


def _run() -> None:
    """Run the command and see to it that all results have been written."""
    from unrolled.cli.app import app

    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise SystemExit(CLOSED_PIPE) from None  # the reader has gone (`| head`)
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # which the parser turned into this
            raise SystemExit(CLOSED_PIPE) from None
        raise


def _fail(message: str, code: int) -> None:
    from unrolled.cli.streams import printable

    print(printable(message), file=sys.stderr)
    raise SystemExit(code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object
) -> None:
    from unrolled.cli.streams import printable
    from unrolled.errors import UnrolledWarning

    if issubclass(category, UnrolledWarning):
        print(f"note: {printable(str(message))}", file=sys.stderr)
