"""Classes of words for the factored softmax p(w | h) = p(c | h) p(w | c, h).

A class is a slice of the vocabulary, whose ids go by falling frequency: that is all a class-based
output layer needs to know, and it makes every class one block of the output matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.errors import SettingError

Array = np.ndarray[Any, Any]

BINNINGS = ("frequency", "sqrt-frequency")


def class_borders(word_counts: Array, classes: int, *, by: str = "sqrt-frequency") -> Array:
    """Cut the vocabulary into slices of about equal mass.

    With ``frequency`` the mass of a word is its count (Mikolov et al. 2011, section 3): the
    frequent words get classes of their own and the last class holds most of the vocabulary. With
    ``sqrt-frequency`` it is the square root of the count, which evens the sizes: a token of the
    Penn Treebank then meets 36 words of its class on average instead of 100.

    Args:
        word_counts: (V,) how often each id stands in the training text, in the order of the ids.
        classes: how many are wanted; there are fewer where one word outweighs several.
        by: ``frequency`` or ``sqrt-frequency``.

    Returns:
        (C + 1,) int64: class c is the ids borders[c] to borders[c + 1]; no class is empty.

    Raises:
        SettingError: fewer than one class, or an unknown way of binning.

    >>> class_borders(np.array([4, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1]), 3, by="frequency").tolist()
    [0, 2, 5, 11]
    """
    if classes < 1:
        raise SettingError(f"classes is {classes}, allowed are 1 and more")
    if by not in BINNINGS:
        raise SettingError(f"classes by '{by}' are unknown, allowed are {', '.join(BINNINGS)}")
    mass = np.asarray(word_counts, np.float64)
    if by == "sqrt-frequency":
        mass = np.sqrt(mass)
    total = max(float(mass.sum()), 1.0)
    middle = (np.cumsum(mass) - mass / 2) / total
    wanted = np.minimum((middle * classes).astype(np.int64), classes - 1)
    # What never comes joins the word before it: <s>, which is never predicted, must not be a class.
    wanted = np.maximum.accumulate(np.where(mass > 0, wanted, 0))
    begins = np.flatnonzero(np.diff(wanted, prepend=-1) > 0)
    return np.append(begins, mass.size).astype(np.int64)
