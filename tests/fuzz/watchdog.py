"""A limit on the time of one attempt."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End the process, with a traceback on standard error if that is open, after so long."""
    with contextlib.ExitStack() as closing:
        report = sys.__stderr__
        if report is None:
            report = closing.enter_context(Path(os.devnull).open("w"))
        faulthandler.dump_traceback_later(seconds, exit=True, file=report)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
