"""The command line: parse, call, print. Nothing imports it."""

from __future__ import annotations

import sys
import warnings

INTERRUPTED = 130
BAD_INPUT = 2


def main() -> None:
    """Run ``unrolled``: one line on stderr and exit code 2 for what a user can mend."""
    import os

    from unrolled.cli.app import app
    from unrolled.errors import UnrolledError

    warnings.showwarning = _show_warning
    try:
        app()
    except UnrolledError as error:
        _fail(f"unrolled: {error}", BAD_INPUT)
    except KeyboardInterrupt:
        _fail("unrolled: stopped; nothing half-written is left", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); keep the interpreter from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError:
        _fail("unrolled: out of memory. Use less text, a lower order, or pruning.", 1)


def _fail(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object
) -> None:
    from unrolled.errors import UnrolledWarning

    if issubclass(category, UnrolledWarning):
        print(f"note: {message}", file=sys.stderr)
