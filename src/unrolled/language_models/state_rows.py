"""States of many hypotheses as rows of one array of bytes, for `LanguageModel.extend`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.text.vocabulary import UNK

Array = np.ndarray[Any, Any]
Layout = Sequence[tuple[np.dtype[Any], int]]


def pack_rows(parts: Sequence[Array]) -> Array:
    """Arrays (N, ...) side by side as bytes: (N, S) uint8.

    >>> rows = pack_rows([np.array([[1, 2]], np.int64), np.array([[0.5]], np.float32)])
    >>> rows.shape
    (1, 20)
    >>> [part.tolist() for part in unpack_rows(rows, [(np.dtype("i8"), 2), (np.dtype("f4"), 1)])]
    [[[1, 2]], [[0.5]]]
    """
    sizes = [part.itemsize * math.prod(part.shape[1:]) for part in parts]
    return np.concatenate(
        [
            np.ascontiguousarray(part).view(np.uint8).reshape(len(part), size)
            for part, size in zip(parts, sizes, strict=True)
        ],
        axis=1,
    )


def unpack_rows(rows: Array, layout: Layout) -> list[Array]:
    """The arrays (N, columns) of rows (N, S) uint8, copied.

    Raises:
        SettingError: rows of another model.
    """
    sizes = [dtype.itemsize * columns for dtype, columns in layout]
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != sum(sizes):
        raise SettingError(
            f"these are no states of this model: {rows.dtype} of shape {rows.shape}, not uint8 "
            f"with rows of {sum(sizes)}"
        )
    parts, at = [], 0
    for (dtype, columns), size in zip(layout, sizes, strict=True):
        part = np.array(rows[:, at : at + size], order="C")
        parts.append(part.view(dtype).reshape(len(rows), columns))
        at += size
    return parts


def known_words(words: Array, size: int, shape: tuple[int, ...]) -> Array:
    """Ids as int64, those outside the vocabulary as <unk>.

    Raises:
        SettingError: another shape, or no integers.
    """
    ids = np.asarray(words)
    if ids.dtype.kind not in "iu" or ids.ndim != len(shape) or len(ids) != shape[0]:
        wanted = "(N,)" if len(shape) == 1 else "(N, K)"
        raise SettingError(
            f"words are {ids.dtype} of shape {ids.shape} and must be integers of shape {wanted}, "
            f"with N = {shape[0]} as there are states"
        )
    return np.where((ids < 0) | (ids >= size), UNK, ids).astype(np.int64)
