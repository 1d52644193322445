"""How the numbers that `scoring_kernels.score` works with are laid out, and room for them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BATCH = 1 << 18  # most words that are sorted at a time
GROUP = 64  # searches that go step by step together

# A batch's lists, uint32, each `stride` long, in one array: the words whose context of the order at
# hand is an n-gram, by ascending nodes of the contexts; these nodes; and for the sort, where each
# bucket ends, and each word's bucket. After the sort, for links, the last two hold, in turns, how
# many children the context had in which each word was found last, and which of them it was.
LISTS = 4

# A group's working numbers, int64, rows of one array: one address for all of them.
ROW = GROUP + 1
ITEM = 0 * ROW  # of each search: the place of its word in the batch,
KEY = 1 * ROW  # how its children's fields spell the word,
START = 2 * ROW  # first child, or before that the first child of the block of 64 nodes,
STOP = 3 * ROW  # one past the last child, or before that the children from there to this node,
RANK = 4 * ROW  # place in ends,
PLACE = 5 * ROW  # guess of the child, or before that whether ends says where the children begin,
KIND = 6 * ROW  # children as the directory codes them,
WEIGHT = 7 * ROW  # place of the context's back-off weight,
SPAN = 8 * ROW  # children of the suffix's context, where words are links.
# Then two sets of rows, in turns: what is read a group later, when its cache lines have come.
LATER = 9 * ROW
FOUND = 0 * ROW  # words whose n-grams were found,
NODE = 1 * ROW  # and these;
DUE = 2 * ROW  # words that a back-off weight is due for,
RANKED = 3 * ROW  # and the weights' places.
SET = 4 * ROW


def work_arrays(size: int, batch: int = BATCH) -> tuple[Array, Array, Array]:
    """The arrays that `score` works in, for a text of ``size`` words."""
    batch = max(min(size, batch), 1)
    rows, lists = np.empty(LATER + 2 * SET, np.int64), np.empty(LISTS * (batch + ROW), np.uint32)
    return rows, lists, np.empty(batch, np.float64)
