"""A cache of the features of words that do not depend on the sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unrolled.runtime.threads import ForkSafeLock

Array = np.ndarray[Any, Any]

MOST_KNOWN = 100_000  # words whose rows are cached


class KnownWords:
    """Rows of words, each computed once, whichever thread asks for it.

    Args:
        width: D.

    >>> known = KnownWords(2)
    >>> known.rows(["a", "b", "a"], lambda words: [[ord(word), 1] for word in words]).tolist()
    [[97.0, 1.0], [98.0, 1.0], [97.0, 1.0]]
    """

    def __init__(self, width: int) -> None:
        self._places: dict[str, int] = {}
        self._rows = np.empty((0, width), np.float32)
        self._lock = ForkSafeLock()

    def rows(self, words: Sequence[str], compute: Callable[[list[str]], Any]) -> Array:
        """Rows (N, D) float32; those of words that are not known are computed, (U, D)."""
        with self._lock:
            return self._taken(words, compute)

    def _taken(self, words: Sequence[str], compute: Callable[[list[str]], Any]) -> Array:
        known = self._places
        new = [word for word in dict.fromkeys(words) if word not in known]
        if new:
            if len(known) + len(new) > MOST_KNOWN:
                known.clear()
                new = list(dict.fromkeys(words))
            first, end = len(known), len(known) + len(new)
            rows = compute(new)
            if end > len(self._rows):
                grown = np.empty((max(2 * first, end, 1024), self._rows.shape[1]), np.float32)
                grown[:first] = self._rows[:first]
                self._rows = grown
            self._rows[first:end] = rows
            known.update(zip(new, range(first, end), strict=True))
        places = np.fromiter(map(known.__getitem__, words), np.int64, len(words))
        result: Array = self._rows[places]
        return result

    def forget(self) -> None:
        """Drop all rows."""
        with self._lock:
            self._places.clear()
