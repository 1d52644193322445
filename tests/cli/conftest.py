"""What tests of commands share: calling ``unrolled`` in this process."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest

from unrolled.cli import main
from unrolled.errors import UnrolledWarning

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Call ``unrolled`` in this process: (exit code, stdout, stderr)."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unrolled", *map(str, words)])
        capsys.readouterr()
        code = 0
        with warnings.catch_warnings():  # also puts back the printer that main installs
            warnings.simplefilter("default", UnrolledWarning)
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield call
    for number, handler in before.items():
        signal.signal(number, handler)  # main's own would stop pytest in place of Ctrl-C
