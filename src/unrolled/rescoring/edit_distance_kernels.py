"""Numba kernels of rescoring: edit distances, and errors along a line of weights."""

from __future__ import annotations

import numpy as np

from unrolled.runtime.kernels import kernel


@kernel
def count_errors(references, reference_starts, words, starts, owners, out):  # type: ignore[no-untyped-def]
    """Substitutions, insertions and deletions of each hypothesis against its reference.

    The alignment is one of the fewest errors; among those, it prefers substitutions.

    Args:
        references: (R,) int32 ids of all references, one after the other.
        reference_starts: (U + 1,) int64 where each begins.
        words, starts: the same of the hypotheses, (T,) and (H + 1,).
        owners: (H,) int64 the reference of each hypothesis.
        out: (H, 3) int64, filled in.
    """
    for hypothesis in range(owners.size):
        begin, end = starts[hypothesis], starts[hypothesis + 1]
        first = reference_starts[owners[hypothesis]]
        rows = reference_starts[owners[hypothesis] + 1] - first
        columns = end - begin
        costs = np.empty((rows + 1, columns + 1), np.int32)
        for column in range(columns + 1):
            costs[0, column] = column
        for row in range(1, rows + 1):
            costs[row, 0] = row
            for column in range(1, columns + 1):
                differ = references[first + row - 1] != words[begin + column - 1]
                best = costs[row - 1, column - 1] + differ
                best = min(best, costs[row, column - 1] + 1)
                costs[row, column] = min(best, costs[row - 1, column] + 1)
        row, column = rows, columns
        out[hypothesis] = 0
        while row > 0 or column > 0:
            if row > 0 and column > 0:
                differ = references[first + row - 1] != words[begin + column - 1]
                if costs[row, column] == costs[row - 1, column - 1] + differ:
                    out[hypothesis, 0] += differ
                    row -= 1
                    column -= 1
                    continue
            if column > 0 and costs[row, column] == costs[row, column - 1] + 1:
                out[hypothesis, 1] += 1
                column -= 1
            else:
                out[hypothesis, 2] += 1
                row -= 1


@kernel
def error_changes(base, slope, errors, starts, places, changes):  # type: ignore[no-untyped-def]
    """Where, and by how much, the errors of the best hypotheses change as t rises.

    The score of hypothesis i is base[i] + t slope[i]; in each list the highest wins. Walks the
    upper envelope of each list's lines from t = -inf (Och 2003, section 5).

    Args:
        base, slope: (H,) float64. errors: (H,) int64. starts: (N + 1,) int64, no list empty.
        places: (H,) float64, changes: (H,) int64, filled from their beginning.

    Returns:
        How many were filled, and the errors at t = -inf.
    """
    found, total = 0, 0
    for number in range(starts.size - 1):
        begin, end = starts[number], starts[number + 1]
        best = begin
        for other in range(begin + 1, end):
            if slope[other] < slope[best] or (
                slope[other] == slope[best] and base[other] > base[best]
            ):
                best = other
        total += errors[best]
        while True:
            following, place = best, np.inf
            for other in range(begin, end):
                if slope[other] > slope[best]:
                    crossing = (base[best] - base[other]) / (slope[other] - slope[best])
                    if crossing < place or (crossing == place and slope[other] > slope[following]):
                        following, place = other, crossing
            if following == best:
                break
            places[found] = place
            changes[found] = errors[following] - errors[best]
            found += 1
            best = following
    return found, total
