"""Kernels of the hashed n-gram features: rows of scores and slices of a table.

``starts`` (N, n) int64 says where each row's features begin in the table, -1 for none; a row's
scores take so many entries from there on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import kernel

Array = np.ndarray[Any, Any]


@kernel
def add_features(table: Array, starts: Array, scores: Array) -> None:
    """scores[i, j] += table[starts[i, k] + j] for all k; scores (N, M)."""
    for i in range(starts.shape[0]):
        for k in range(starts.shape[1]):
            start = starts[i, k]
            if start >= 0:
                for j in range(scores.shape[1]):
                    scores[i, j] += table[start + j]


@kernel
def collect(gradient: Array, starts: Array, offsets: Array, errors: Array, scale: float) -> None:
    """Add the errors of rows to the gradient of the table.

    Args:
        gradient: of the table's size, added to.
        offsets: (N + 1,) int64; row i has errors[offsets[i]:offsets[i + 1]].
        scale: what errors are multiplied by.
    """
    for i in range(starts.shape[0]):
        for k in range(starts.shape[1]):
            start = starts[i, k] - offsets[i]
            if starts[i, k] >= 0:
                for j in range(offsets[i], offsets[i + 1]):
                    gradient[start + j] += scale * errors[j]


@kernel
def adagrad_rows(
    table: Array, squares: Array, gradient: Array, starts: Array, offsets: Array, rate: float
) -> None:
    """One step for all entries that rows refer to, whose gradients become 0."""
    for i in range(starts.shape[0]):
        for k in range(starts.shape[1]):
            start = starts[i, k]
            if start >= 0:
                adagrad(table, squares, gradient, start, start + offsets[i + 1] - offsets[i], rate)


@kernel
def adagrad(
    table: Array, squares: Array, gradient: Array, low: int, high: int, rate: float
) -> None:
    """w -= rate * g / sqrt(sum of all g^2 so far) for entries low to high; then g = 0."""
    for place in range(low, high):
        g = gradient[place]
        if g != 0:
            squares[place] += g * g
            table[place] -= rate * g / np.sqrt(squares[place])
            gradient[place] = 0
