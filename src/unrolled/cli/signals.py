"""Ctrl-C and SIGTERM: the command ends within a second, with exit code 130 or 143."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 0.4  # for leaving all `with` blocks; then the process ends in any case

_received: list[int] = []
_running = False  # whether `Stopped` is caught
_ending = threading.Lock()


class Stopped(BaseException):
    """Ctrl-C or SIGTERM: not a KeyboardInterrupt, which the parser would handle itself."""


def obey_signals(command: Callable[[], None]) -> None:
    """Call the command, and end the process, whatever the command does, on Ctrl-C or SIGTERM.

    The handler raises `Stopped` in the main thread, so that temporary files and folders are removed
    by whoever made them. That is not enough: Python drops an exception that is raised in a callback
    from C or in a destructor, calls no handler before a compiled function returns, and a library
    may catch everything. So a second thread, which the operating system tells of the signal, ends
    the process after `GRACE_SECONDS`.
    """
    global _running
    try:
        for number in SIGNALS:
            signal.signal(number, _stop)
        reading, writing = os.pipe()
        if sys.platform != "win32":
            os.set_blocking(writing, False)
            signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
            os.register_at_fork(after_in_child=_reset)
        threading.Thread(target=_watch, args=(reading,), daemon=True).start()
        sys.unraisablehook, sys.excepthook = _end_or_report, _end_or_print
        try:
            _running = True
            command()
        finally:
            _running = False
    finally:
        if _received:
            end()
        _reset()
    os.close(writing)


@contextlib.contextmanager
def signals_released() -> Iterator[None]:
    """Let a command handle its signals itself: a server ends when its requests are answered."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    pipe = signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(pipe, warn_on_full_buffer=False)


def end() -> None:
    """Remove temporary files, end the processes that this one started, and exit at once."""
    _ending.acquire()  # for good: whoever comes second waits for the exit
    # Nothing is imported here: another thread may hold the lock of a module.
    if "multiprocessing.process" in sys.modules:
        for child in sys.modules["multiprocessing.process"].active_children():
            child.kill()
    remove = getattr(sys.modules.get("unrolled.storage.atomic"), "remove_unfinished", None)
    if remove is not None:
        remove()
    with contextlib.suppress(OSError):
        os.write(2, b"\nunrolled: stopped; nothing half-written is left\n")
    os._exit(128 + _received[0])


def _stop(number: int, frame: FrameType | None) -> None:
    # Only the first time: a second Ctrl-C must not interrupt the removal of temporary files.
    if not _received:
        _received.append(number)
        if not _running or _is_importing(frame):
            end()
        raise Stopped(number)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded: code in C++ that is in the midst of it may abort."""
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def _watch(pipe: int) -> None:
    """Wait for a signal, which the operating system's handler writes into the pipe."""
    while number := os.read(pipe, 1):
        if number[0] in SIGNALS:
            time.sleep(GRACE_SECONDS)
            _received.append(number[0])
            end()
    os.close(pipe)


def _end_or_report(unraisable: sys.UnraisableHookArgs) -> None:
    """Exceptions that Python drops: `Stopped` ends the process, others are printed as always."""
    if isinstance(unraisable.exc_value, Stopped):
        end()
    sys.__unraisablehook__(unraisable)


def _end_or_print(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """The same for exceptions that nothing caught, or that a library in C prints and forgets."""
    if isinstance(error, Stopped):
        end()
    sys.__excepthook__(kind, error, trace)


def _reset() -> None:
    """The signals' usual effect: in forked processes, which share the pipe, and at the end."""
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
