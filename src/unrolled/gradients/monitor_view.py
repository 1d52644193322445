"""The monitor's last snapshot on stderr: lines that stay in place on a terminal, or plain ones."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.gradients.diagnostics import LayerState, Snapshot

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 35  # lags drawn
_DECADES = 4  # below the largest norm, from a full bar to none
_QUIET = 10.0  # seconds between plain lines


class MonitorView:
    """Shows snapshots on stderr.

    On a terminal the last one stays at the bottom, and lines of `say` scroll above it. Elsewhere
    there is a line for each new diagnostic, and a line of numbers every ten seconds at most.
    """

    def __init__(self) -> None:
        self._live: Any = None
        self._title = ""
        self._last: Snapshot | None = None
        self._said: set[str] = set()
        self._printed = -math.inf
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        """Show the newest snapshot."""
        self._last = snapshot
        if self._live is not None:
            self._draw()
            return
        for line in snapshot.diagnostics:
            if line not in self._said:
                self._said.add(line)
                self._print(f"step {snapshot.step}: {line}")
        now = time.monotonic()
        if now - self._printed >= _QUIET:
            self._printed = now
            self._print(head_line(snapshot))

    def title(self, text: str) -> None:
        """Set the first line, such as the progress of training."""
        self._title = text
        if self._live is not None:
            self._draw()

    def say(self, line: str) -> None:
        """Print a line."""
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            self._print(line)

    def close(self) -> None:
        """Stop updating; the last snapshot stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        from rich.text import Text

        lines = [self._title] if self._title else []
        if self._last is not None:
            lines += snapshot_lines(self._last)
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="ellipsis"), refresh=True)

    @staticmethod
    def _print(line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def snapshot_lines(snapshot: Snapshot) -> list[str]:
    """A snapshot as lines: numbers, a bar for each lag of each layer, diagnostics."""
    layers = [_layer_line(layer) for layer in snapshot.layers]
    return [head_line(snapshot), *layers, *(f"! {line}" for line in snapshot.diagnostics)]


def head_line(snapshot: Snapshot) -> str:
    """The numbers of the whole net."""
    clipped = snapshot.clipped
    parts = [f"step {snapshot.step}", f"gradient norm {snapshot.norm:.3g}"]
    parts += [] if clipped is None else [f"clipped {100 * clipped:.0f} %"]
    ranked = sorted(snapshot.parameters.items(), key=lambda item: -item[1])
    parts += [f"{name} {value:.2g}" for name, value in ranked[:3]]
    return ", ".join(parts)


def _layer_line(layer: LayerState) -> str:
    omega = "" if layer.omega is None else f", Omega {layer.omega:.2g}"
    radius = max(layer.radius.values(), default=math.nan)
    return (
        f"{layer.name}: lag 0 {bars(layer.norms)} {len(layer.norms) - 1}, reaches {layer.reach}, "
        f"radius {radius:.2f}{omega}, dead {100 * layer.dead:.0f} %"
    )


def bars(norms: list[float]) -> str:
    """Norms by lag as a row of bars, on a logarithmic scale of four decades.

    >>> bars([1.0, 0.1, 0.01, 1e-5])
    '█▆▄ '
    """
    wide = -(-len(norms) // _WIDTH)
    shown = norms[::wide]
    top = max((value for value in shown if math.isfinite(value)), default=0.0)
    if top <= 0:
        return " " * len(shown)
    found = []
    for value in shown:
        height = 0.0
        if value > 0 and math.isfinite(value):
            height = 1 + math.log10(value / top) / _DECADES
        found.append(_BARS[max(min(math.ceil(height * 8), 8), 0)])
    return "".join(found)
