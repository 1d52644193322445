"""How much memory a run may use, and what it takes of memory and disk."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from unrolled.errors import SettingError, UnrolledError
from unrolled.runtime.memory import free_memory, resident_memory
from unrolled.runtime.threads import return_memory

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LEAST = 64 << 20  # bytes for n-grams without which there is no progress worth the name
LEAST_COUNTED = 16 << 20  # and once they are counted
MARGIN = 64 << 20  # buffers, stacks, and what the C library keeps of freed memory

# Measured on 60 M tokens of books at order 5, on two cores: work of one core for a token and each
# word of the order, for an n-gram, and for writing an n-gram to the model.
COUNT_SECONDS, ESTIMATE_SECONDS, WRITE_SECONDS = 28e-9, 40e-9, 30e-9
NGRAMS = 0.49  # distinct n-grams of all lengths for a token and each word of the order
CODE_BYTES = 64 << 20  # of memory that kernels take which are loaded on the way


def ngrams_of(tokens: int, order: int) -> int:
    """About how many distinct n-grams a text of natural language has."""
    return int(NGRAMS * tokens * order)


def memory_bytes(memory: str | int | None) -> int:
    """A budget in bytes: a number, or text such as ``4G``; three quarters of what is free for None.

    Without a budget on a system that does not tell what is free, all of it.

    Raises:
        SettingError: it is no size.

    >>> memory_bytes("1.5G") == 3 << 29
    True
    """
    if memory is None:
        try:
            return free_memory() * 3 // 4
        except OSError:
            return 1 << 62
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", str(memory).strip().lower())
    if found is None or float(found[1]) == 0:
        raise SettingError(
            f"memory is {memory!r} and must be a size above 0 such as '500M' or '4G'"
        )
    return int(float(found[1]) * UNITS[found[2]])


def in_memory_bytes(order: int, quantized: bool = False) -> int:
    """Bytes a token of training in memory, measured on 57 M tokens (39 at order 5), rounded up.

    With quantizing 110 on 10 M tokens.
    """
    return 15 + (20 if quantized else 5) * order


def least_disk(tokens: int, order: int) -> int:
    """Bytes of disk without which training of a text of natural language will surely fail."""
    return 4 * tokens * (order + 1)


class Budget:
    """Bytes of memory that the whole process may use.

    >>> Budget("1G").total
    1073741824
    """

    def __init__(self, memory: str | int | None) -> None:
        self.total = memory_bytes(memory)
        self.given = memory is not None

    def room(self, what: str = "", least: int = LEAST, floor: int = LEAST) -> int:
        """What of it is left for n-grams.

        Args:
            what: what takes up the rest, for the message.
            least: bytes without which nothing can be done.
            floor: the same, whatever is done.

        Raises:
            SettingError: fewer are left.
        """
        return_memory()
        resident, least = resident_memory(), max(least, floor)
        room = self.total - resident - MARGIN
        if room < least and not self.given:
            return least
        if room < least:
            raise self._too_small(resident + MARGIN + least, what and f" with {what}")
        return room

    def check(self) -> None:
        """Refuse to go on where more memory is taken already, as by the words of a text.

        Raises:
            SettingError: so it is.
        """
        resident = resident_memory()
        if self.given and resident > self.total:
            raise self._too_small(resident * 3 // 2, " with the text's vocabulary")

    def exceeded(self, more: int) -> bool:
        """Whether so many bytes more are too many."""
        return resident_memory() + more > self.total

    def _too_small(self, needed: int, what: str) -> SettingError:
        megabytes = -(-needed >> 20) + 1
        return SettingError(
            f"the memory budget of {self.total >> 20}M is too small: at least {megabytes}M are "
            f"needed{what}",
            hint=f"Give --memory {megabytes}M or more",
        )


def check_disk(folder: Path, needed: int) -> None:
    """Refuse work for which a disk has no room.

    Raises:
        UnrolledError: with what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UnrolledError(
            f"the disk is full: {needed:,} bytes are needed and {free:,} are free in {folder}",
            hint="Free some space or give another folder: --temporary",
        )
