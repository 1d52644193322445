"""The command line: parse, call, print. Nothing imports it."""

from __future__ import annotations

import errno
import gc
import re
import signal
import sys
import warnings
from typing import NoReturn

BAD_INPUT = 2
CLOSED_PIPE = 141  # as a shell shows it when SIGPIPE ends a process
_MEMORY = re.compile(
    "out of memory|(not enough|can't allocate|cannot allocate) memory|can't start new thread"
    "|bad_alloc|failed to map segment",
    re.IGNORECASE,
)


def main() -> None:
    """Run ``unrolled``: one line on stderr and exit code 2 for what a user can mend."""
    # Until `signals` handles it, Ctrl-C ends the process at once: Python's own exception can be
    # dropped in what runs while modules are loaded.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Importing makes a million objects and no garbage; looking for it takes a tenth of the start.
    gc.set_threshold(100_000, 50, 50)
    warnings.showwarning = _show_warning
    try:
        _run()
    except SystemExit:
        raise
    except KeyboardInterrupt:  # of a library that handles Ctrl-C itself, as Spark's does
        raise SystemExit(130) from None
    except BaseException as error:  # a library in Rust raises one that is no Exception
        from unrolled.errors import MissingExtraError, UnrolledError

        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            error = MissingExtraError("neural", "torch")
        problem = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnrolledError):
            _fail(problem)
        elif _lacks_memory(error):
            _fail(
                f"out of memory: {problem[:300]}. Use less text, a lower order or a smaller model, "
                "or allow this process more memory (ulimit -v)"
            )
        elif isinstance(error, (ImportError, OSError)) or not isinstance(error, Exception):
            _fail(f"the system or an installed package fails: {problem[:300]}")
        raise
    finally:
        gc.freeze()  # at the end nobody needs to look for garbage, which takes a tenth of a second


def _run() -> None:
    """Run the command and see to it that all results have been written."""
    from unrolled.cli.signals import obey_signals
    from unrolled.cli.streams import open_streams

    if sys.stdout is sys.__stdout__:  # else somebody reads it within this process
        open_streams()
    try:
        obey_signals(_command)
    except BrokenPipeError:
        raise SystemExit(CLOSED_PIPE) from None  # the reader has gone (`| head`)
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # which the parser turned into this
            raise SystemExit(CLOSED_PIPE) from None
        raise


def _command() -> None:
    from unrolled.cli.app import app
    from unrolled.cli.progress import announce_compilation
    from unrolled.runtime.listeners import compilation_listeners

    compilation_listeners[:] = [announce_compilation]
    try:
        app()
    finally:
        sys.stdout.flush()


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether an allocation failed, in whatever library."""
    while error is not None:
        number = getattr(error, "errno", None)
        if isinstance(error, MemoryError) or number == errno.ENOMEM or _MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    try:
        import resource
    except (ImportError, MemoryError):  # no memory to load it either
        return sys.platform != "win32"
    # Where memory is limited, a library that gets none raises anything: SystemError, KeyError ...
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _fail(message: str) -> NoReturn:
    from unrolled.cli.streams import printable

    print(f"unrolled: {printable(message)}", file=sys.stderr)
    raise SystemExit(BAD_INPUT)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object
) -> None:
    from unrolled.cli.streams import printable
    from unrolled.errors import UnrolledWarning

    if issubclass(category, UnrolledWarning):
        print(f"note: {printable(str(message))}", file=sys.stderr)
