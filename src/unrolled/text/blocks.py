"""Some whole lines of a text, with their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Block:
    """Some whole lines of one source.

    Attributes:
        data: the bytes, each line but perhaps the last of a source with its newline.
        source: the name to show.
        first_line: number of the first line, from 1; a row for Parquet.
        offset: bytes of the source, uncompressed, before this block.
        lines: the source's line or row of each line, for formats where they differ.
    """

    data: bytes
    source: str
    first_line: int
    offset: int = 0
    lines: npt.NDArray[np.int64] | None = None

    def place(self, line: int) -> str:
        """``source:number`` of a line of the block, counted from 0."""
        if self.lines is not None:
            number = int(self.lines[min(line, self.lines.size - 1)]) if self.lines.size else 1
        else:
            number = self.first_line + line
        return f"{self.source}:{number}"
