"""What annotating asks of a file of documents, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from unrolled.documents.annotation import Judgement
from unrolled.documents.outputs import Output


class RowFile(Protocol):
    """A source of rows, and how they are written. Its methods are called by several threads.

    A batch has ``line``, the number of lines or rows before it, and ``end``, the bytes of the
    source up to its end. What `read` makes of it has ``count``, all lines or rows; ``text`` and
    ``lines``, as of `DocumentScorer.score`.
    """

    source: str
    rejected_suffix: str

    def place(self, line: int) -> str:
        """The place of a line or row, counted from 0."""

    def groups(self, offset: int, line: int) -> Iterator[Iterable[Any]]:
        """Batches after so many bytes and lines; all of a group are there without waiting."""

    def read(self, batch: Any) -> Any:
        """The rows of a batch, and their texts."""

    def broken(self, rows: Any) -> list[tuple[int, str]]:
        """Of each broken row its number in the batch, and what is wrong."""

    def rejected(self, rows: Any, line: int) -> bytes:
        """The broken rows for the file of those, after so many rows before the batch."""

    def write(self, rows: Any, judged: Judgement) -> bytes:
        """The rows that are kept, with their new fields."""

    def conclude(self, output: Output, rows: Path | None, rejected: Path | None) -> None:
        """Give what is written its place."""
