"""The command line: parse, call, print. Nothing imports it."""

from __future__ import annotations

import signal
import sys
import warnings

BAD_INPUT = 2


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM: not a KeyboardInterrupt, which the parser would keep for itself."""


def main() -> None:
    """Run ``unrolled``: one line on stderr and exit code 2 for what a user can mend."""
    import gc
    import os

    from unrolled.errors import UnrolledError

    # Importing makes a million objects and no garbage; looking for it takes a tenth of the start.
    gc.set_threshold(100_000, 50, 50)
    warnings.showwarning = _show_warning
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        from unrolled.cli.app import app

        app()
    except UnrolledError as error:
        _fail(f"unrolled: {error}", BAD_INPUT)
    except _Stopped as stopped:
        _fail("\nunrolled: stopped; nothing half-written is left", 128 + stopped.args[0])
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); keep the interpreter from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError:
        _fail("unrolled: out of memory. Use less text, a lower order, or pruning.", 1)
    finally:
        gc.freeze()  # at the end nobody needs to look for garbage, which takes a tenth of a second


def _stop(number: int, _frame: object) -> None:
    raise _Stopped(number)


def _fail(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object
) -> None:
    from unrolled.errors import UnrolledWarning

    if issubclass(category, UnrolledWarning):
        print(f"note: {message}", file=sys.stderr)
