"""Progress on stderr: a bar on a terminal, plain lines when piped, nothing for quick work."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from unrolled.cli.streams import printable
from unrolled.runtime.listeners import compilation_listeners

QUIET_SECONDS = 2.0
quiet = False  # set by the option --quiet


class Stages:
    """Names of stages as they begin, with seconds so far; and a bar while text is read."""

    def __init__(self, total_bytes: int = 0) -> None:
        self.began = time.monotonic()
        self.total_bytes = total_bytes
        self.read = 0
        self.terminal = sys.stderr.isatty()
        self._drawn = 0.0
        self._held: list[str] = []
        self._open = False

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._close()
        self._say(f"{self._clock()} {name}")

    def note(self, sentence: str) -> None:
        """Something that a user should know, --quiet or not, at once."""
        self._close()
        sys.stderr.write(f"note: {printable(sentence)}\n")
        sys.stderr.flush()

    def steps_done(self, done: int, total: int, name: str) -> None:
        """A step of known work is done: a bar."""
        bar = "#" * (20 * done // total)
        text = f"{self._clock()} [{bar:20}] {done} of {total}: {name}"
        if self.terminal:
            self._draw(text)
        else:
            self._say(text)

    def bytes_read(self, count: int) -> None:
        """So many more bytes of the input were read."""
        self.read += count
        now = time.monotonic()
        if now - self._drawn < (0.2 if self.terminal else 10.0) or now - self.began < QUIET_SECONDS:
            return
        rate = self.read / (now - self.began)
        text = f"{self._clock()} {self.read / 1e6:.0f} MB read, {rate / 1e6:.0f} MB/s"
        if self.total_bytes:
            left = max(self.total_bytes - self.read, 0) / rate
            text += f", {100 * self.read / self.total_bytes:.0f} %, {left:.0f} s left"
        self._draw(text)

    def tokens_done(self, count: int) -> None:
        """So many more tokens were scored or drawn."""
        self.read += count
        now = time.monotonic()
        if now - self._drawn < (0.2 if self.terminal else 10.0) or now - self.began < QUIET_SECONDS:
            return
        rate = self.read / (now - self.began)
        self._draw(f"{self._clock()} {self.read:,} tokens, {rate:,.0f} tokens/s")

    def draw_soon(self, text: str) -> None:
        """Show how far work is, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._drawn >= (0.2 if self.terminal else 10.0):
            self._draw(f"{self._clock()} {text}")

    def _draw(self, text: str) -> None:
        self._drawn = time.monotonic()
        if self.terminal:
            _print(f"\r{text}\033[K")
            self._open = True
        else:
            self._say(text)

    def _clock(self) -> str:
        return f"[{time.monotonic() - self.began:6.1f} s]"

    def _say(self, text: str) -> None:
        # Quick work passes in silence: the first lines are shown once two seconds have gone.
        self._held.append(text)
        if time.monotonic() - self.began >= QUIET_SECONDS:
            for line in self._held:
                _print(line + "\n")
            self._held.clear()

    def _close(self) -> None:
        if self._open:
            _print("\n")
            self._open = False


def print_line(line: str) -> None:
    """Print one line of progress."""
    _print(line + "\n")


def _print(text: str) -> None:
    if not quiet:
        sys.stderr.write(text)
        sys.stderr.flush()


def announce_compilation() -> None:
    """Say once that kernels are being compiled, and what would spare it."""
    from unrolled.runtime import code_cache

    compilation_listeners.remove(announce_compilation)
    if code_cache.folder() is not None:  # else the cache warns
        _print("note: compiling kernels, once; `unrolled compile` compiles all ahead of use\n")
