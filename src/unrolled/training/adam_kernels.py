"""One pass over memory for a step of Adam."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.runtime.kernels import kernel

Array = np.ndarray[Any, Any]


@kernel
def adam(
    values: Array,
    gradient: Array,
    means: Array,
    squares: Array,
    numbers: Array,
    low: int,
    high: int,
) -> None:
    """A step of values low to high, changed in place like both averages; all (n,), one dtype.

    Args:
        means, squares: averages of the gradient and of its square.
        numbers: what values are multiplied by first, the step's size, the averages' shares of
            what is new, the root of the second one's correction, and epsilon.
    """
    keep, size, share, square_share, root, epsilon = (
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5],
    )  # fmt: skip
    # From 0 on: an index that might be negative is tested, and such loops get no vectors.
    values, gradient = values[low:high], gradient[low:high]
    means, squares = means[low:high], squares[low:high]
    for i in range(values.size):
        g = gradient[i]
        m = means[i] + share * (g - means[i])
        s = squares[i] + square_share * (g * g - squares[i])
        means[i] = m
        squares[i] = s
        values[i] = keep * values[i] - size * m / (np.sqrt(s) / root + epsilon)
