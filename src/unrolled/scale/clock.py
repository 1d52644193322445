"""How far work over temporary files is: the phase, bytes on disk, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from unrolled.scale.budget import COUNT_SECONDS, ESTIMATE_SECONDS, WRITE_SECONDS, ngrams_of
from unrolled.scale.level_files import LevelFiles
from unrolled.storage.work_folder import WorkFolder

BETWEEN = 10.0  # seconds between two lines of one phase


class Clock:
    """Reports phases with what they hold on disk and the time left.

    The time left is that of the measured costs of what is left, as fast as this machine was so far.

    Args:
        report: called with a line.
        folder: holds the files.
        tokens: of the text. order: longest n-gram.
        estimates: whether a model is estimated from the counts.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        folder: WorkFolder,
        tokens: int,
        order: int,
        estimates: bool = True,
    ) -> None:
        self._report, self._folder = report, folder
        self._counting = tokens * order * COUNT_SECONDS
        self._each = WRITE_SECONDS + estimates * ESTIMATE_SECONDS
        self._left = self._counting + ngrams_of(tokens, order) * self._each
        self._done = 0.0
        self._begun = self._said = time.monotonic()
        self._phase = ""

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._phase = name
        self._said = time.monotonic()
        self._report(f"{name}{self._state()}")

    def counted(self, share: float) -> None:
        """A share of the text was counted."""
        self._advance(share * self._counting)

    def all_counted(self, files: LevelFiles) -> None:
        """All was counted, or had been: the numbers of n-grams are known."""
        self._left = sum(files.size(length) for length in range(2, files.order + 1)) * self._each

    def estimated(self, ngrams: int) -> None:
        """N-grams were estimated."""
        self._advance(ngrams * ESTIMATE_SECONDS)

    def _advance(self, seconds: float) -> None:
        self._done += seconds
        self._left = max(self._left - seconds, 0.0)
        now = time.monotonic()
        if now - self._said >= BETWEEN:
            self._said = now
            self._report(f"{self._phase}, going on{self._state()}")

    def _state(self) -> str:
        elapsed = time.monotonic() - self._begun
        pace = elapsed / self._done if self._done else 1.0
        megabytes = self._folder.size() / 1e6
        return f"; {megabytes:,.0f} MB on disk, about {_duration(self._left * pace)} left"


def _duration(seconds: float) -> str:
    """A time in words.

    >>> _duration(40), _duration(400), _duration(40_000)
    ('40 s', '7 min', '11 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
