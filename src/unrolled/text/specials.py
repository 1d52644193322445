"""<unk>, <s> and </s>: their ids, and what they do where a text holds them literally."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from unrolled.errors import SettingError, TextError

UNK, BOS, EOS = 0, 1, 2
SPECIALS = ("<unk>", "<s>", "</s>")

# The policies, as kernels know them.
MARKS_STOP = 0  # <unk> is the unknown word; <s> and </s> stop the kernel
ALL_STOP = 1
ALL_SKIPPED = 2  # as if they were white space
ALL_KEPT = 3  # each becomes its own id
SPECIAL_POLICIES = {
    "unknown": MARKS_STOP,
    "error": ALL_STOP,
    "skip": ALL_SKIPPED,
    "keep": ALL_KEPT,
}


def special_policy(specials: str) -> int:
    """The number that the kernels know a policy by.

    Raises:
        SettingError: there is no such policy.
    """
    policy = SPECIAL_POLICIES.get(specials)
    if policy is None:
        raise SettingError(f"specials is {specials!r}, allowed are {', '.join(SPECIAL_POLICIES)}")
    return policy


def reserved_token_error(
    data: npt.NDArray[np.uint8], position: int, place: Callable[[int], str] | None
) -> TextError:
    """The error for the special token at a position of a block of text.

    Args:
        place: names a line of the block, counted from 0.
    """
    token = data[position : position + 5].tobytes()
    name = next(special for special in SPECIALS if token.startswith(special.encode()))
    line = newlines(data[:position])
    return TextError(
        f"the text holds {name}, which marks sentences and unknown words",
        where=place(line) if place is not None else f"line {line + 1}",
        hint="Remove it, or skip such marks with specials=skip",
    )


def newlines(data: npt.NDArray[np.uint8]) -> int:
    """How many newlines a block has."""
    step = 1 << 20  # keeps the array of comparisons small
    return sum(
        int(np.count_nonzero(data[at : at + step] == 10)) for at in range(0, data.size, step)
    )
