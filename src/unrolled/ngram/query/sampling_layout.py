"""The numbers that `sampling_kernels` keeps of each sentence that it is drawing."""

from __future__ import annotations

LANES = 64  # sentences that are drawn together
MOST_REJECTED = 200  # draws of one word; then the whole distribution is computed

(
    SENTENCE,  # the row, -1 if it is to be opened
    POSITION,  # where the next word goes
    TOP,  # node of the longest context, -1 for none
    TOP_LENGTH,  # and its words
    NODE,  # the same of the context that is drawn from now
    LENGTH,
    LOW,  # its children
    HIGH,
    LEFT_LOW,  # children of the context that was backed off from
    LEFT_HIGH,
    SLOT,  # where the alias table is read, -1 for a context without children
    OUTCOME,  # random share; then the child that was drawn, -1 for none
    REJECTED,  # draws of this word that were rejected
    FIELDS,
) = range(14)
