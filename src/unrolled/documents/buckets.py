"""Buckets of documents by perplexity, such as head, middle and tail, as CCNet has them.

A document is in the first bucket whose cut-off is above its perplexity, or else in the last one.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import SettingError

Array = np.ndarray[Any, Any]

FIELD = "bucket"
_SHIFT = 12  # bits of a float32 left out: 11 of 23 of its fraction stay, so bins are 0.05 % wide
_BINS = 1 << (31 - _SHIFT)  # of all float32 that are not negative


@dataclass(frozen=True)
class Buckets:
    """Names of buckets, and the perplexity below which each but the last one ends.

    Raises:
        SettingError: fewer than two names, two that are equal, or cut-offs that do not rise.
    """

    names: tuple[str, ...]
    cutoffs: tuple[float, ...]

    def __post_init__(self) -> None:
        check_names(self.names)
        rising = all(a < b for a, b in pairwise(self.cutoffs))
        if len(self.cutoffs) != len(self.names) - 1 or not rising:
            raise SettingError(
                f"the cut-offs are {', '.join(f'{one:g}' for one in self.cutoffs) or 'none'}, and "
                f"{len(self.names)} buckets need {len(self.names) - 1} that rise"
            )

    def of(self, perplexities: Array) -> Array:
        """The number of the bucket of each perplexity (N,); (N,) int64."""
        found: Array = np.searchsorted(np.array(self.cutoffs), perplexities, side="right")
        return found


def check_names(names: Sequence[str]) -> None:
    """Refuse names of buckets that tell nothing apart.

    Raises:
        SettingError: fewer than two names, an empty one, or two that are equal.
    """
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise SettingError(
            f"the buckets are '{','.join(names)}'", hint="Give two or more names, each once"
        )


class PerplexityCounts:
    """How often perplexities occur, in bins 0.05 % wide: bounded, whatever their number.

    >>> counts = PerplexityCounts()
    >>> counts.add(np.arange(1.0, 1001))
    >>> [round(cutoff) for cutoff in counts.quantiles([1 / 4, 1 / 2])]
    [250, 500]
    """

    def __init__(self, stored: Sequence[Sequence[int]] = ((), ())) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.counts[list(stored[0])] = stored[1]

    def stored(self) -> list[list[int]]:
        """Bins that are not empty, and their counts: the argument that makes it again."""
        places = np.flatnonzero(self.counts)
        return [places.tolist(), self.counts[places].tolist()]

    def add(self, perplexities: Array) -> None:
        """Count perplexities (N,)."""
        largest = np.finfo(np.float32).max  # in place of an infinity, whose bin has no upper end
        values = np.minimum(perplexities, largest).astype(np.float32)
        bits = values.view(np.uint32) >> np.uint32(_SHIFT)
        places, counts = np.unique(bits, return_counts=True)
        self.counts[places] += counts

    def quantiles(self, shares: Sequence[float]) -> tuple[float, ...]:
        """The perplexities below which these shares of all lie, to a bin's width.

        Raises:
            SettingError: nothing was counted.
        """
        total = np.cumsum(self.counts)
        if total[-1] == 0:
            raise SettingError("there are no documents to find the cut-offs of buckets in")
        places = np.searchsorted(total, np.array(shares) * total[-1]) + 1  # the bin's upper end
        ends = (places.astype(np.uint32) << np.uint32(_SHIFT)).view(np.float32)
        return tuple(ends.astype(np.float64).tolist())


def even_shares(buckets: int) -> tuple[float, ...]:
    """The shares of documents below each cut-off where all buckets are of one size."""
    return tuple(number / buckets for number in range(1, buckets))


def write_cutoffs(buckets: Buckets, path: str | os.PathLike[str]) -> None:
    """Write a JSON object with the cut-off of each bucket but the last."""
    from unrolled.storage.atomic import atomic_write

    named = dict(zip(buckets.names, buckets.cutoffs, strict=False))
    with atomic_write(path) as file:
        file.write(json.dumps(named, indent=1).encode() + b"\n")


def cutoffs_file(path: str) -> str:
    """The file that `read_cutoffs` reads.

    >>> cutoffs_file("cutoff.csv:de"), cutoffs_file("cutoffs.json")
    ('cutoff.csv', 'cutoffs.json')
    """
    file, _, _ = path.rpartition(":")
    return file if file.endswith(".csv") else path


def read_cutoffs(path: str, names: Sequence[str], shares: Sequence[float] | None = None) -> Buckets:
    """Buckets with the cut-offs of a file.

    Args:
        path: a JSON object with the cut-off of each bucket but the last, as `write_cutoffs` makes
            it; or a table as CCNet's ``cutoff.csv``, with a column of perplexities for each
            language and a row for each percentile, named as ``cutoff.csv:de``.
        names: of the buckets.
        shares: of documents below each cut-off, for a table; by default even ones.

    Raises:
        SettingError: the file cannot be read, or lacks one of the cut-offs.
    """
    file = cutoffs_file(path)
    if file != path:
        column = path[len(file) + 1 :]
        return Buckets(tuple(names), _table_cutoffs(file, column, shares, len(names)))
    if path.endswith(".csv"):
        raise SettingError("the table has a column a language", where=path, hint=f"Name {path}:en")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        cutoffs = tuple(float(found[name]) for name in names[:-1])
    except OSError as error:
        raise SettingError(f"the file cannot be read ({error.strerror})", where=path) from None
    except (ValueError, TypeError, KeyError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is not as expected ({error})"
        raise SettingError(
            f"the file of cut-offs {what}",
            where=path,
            hint=f"It is a JSON object such as {json.dumps(dict.fromkeys(names[:-1], 500.0))}",
        ) from None
    return Buckets(tuple(names), cutoffs)


def _table_cutoffs(
    file: str, column: str, shares: Sequence[float] | None, buckets: int
) -> tuple[float, ...]:
    """The perplexities at the percentiles of a table: 33 and 66 for three even buckets."""
    try:
        with Path(file).open(encoding="utf-8", newline="") as lines:
            head, *rows = list(csv.reader(lines)) or [[]]
    except (OSError, ValueError) as error:
        raise SettingError(f"the file cannot be read ({error})", where=file) from None
    if column not in head[1:]:
        known = ", ".join(head[1:9])
        raise SettingError(f"the table has no column {column!r}; it has {known}", where=file)
    place, by_percentile = head.index(column), {}
    try:
        for row in rows:
            by_percentile[int(row[0])] = float(row[place])
        wanted = [math.floor(100 * share) for share in shares or even_shares(buckets)]
        return tuple(by_percentile[percentile] for percentile in wanted)
    except (ValueError, KeyError, IndexError) as error:
        raise SettingError(
            f"the table is not one of percentiles and perplexities ({error})", where=file
        ) from None
