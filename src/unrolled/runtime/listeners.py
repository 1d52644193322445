"""Who is called when a kernel has to be compiled: apart from `compiler`, which loads Numba."""

from __future__ import annotations

from collections.abc import Callable

compilation_listeners: list[Callable[[], None]] = []


def notify_compilation() -> None:
    """Called by the compiler when it begins with a kernel, on the thread that needs the kernel."""
    for listener in compilation_listeners.copy():  # one may remove itself
        listener()
