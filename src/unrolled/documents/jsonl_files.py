"""Files of JSONL, compressed or not, read and written in batches of about 1 MiB."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unrolled.documents.annotation import Annotator, Judgement
from unrolled.documents.buckets import FIELD
from unrolled.documents.json_rows import JsonRows, RowFormat
from unrolled.documents.outputs import Output
from unrolled.errors import MissingExtraError, SettingError
from unrolled.runtime.threads import one_ahead
from unrolled.storage.gzip_members import member
from unrolled.text.blocks import Block
from unrolled.text.sources import raw_blocks

BATCH_BYTES = 1 << 20
_UNPACKABLE = (".bz2", ".xz")


@dataclass(frozen=True)
class Batch:
    """Whole lines of a source.

    Attributes:
        data: the lines. line: the number of lines before them. lines: at most so many are here.
        end: bytes of the source, uncompressed, up to their end.
    """

    data: bytes
    line: int
    lines: int
    end: int


class JsonlFile:
    """A source of JSONL, and how its rows are written.

    Args:
        source: the file, or ``-`` for standard input.
        annotator: what the rows get.
        output: the name of the file to be written, whose suffix decides how it is compressed.
        progress: called with the bytes of the source that were read since the last call.

    Raises:
        SettingError: the output's suffix is of a compression that is only read.
    """

    rejected_suffix = ".rejected.tsv"

    def __init__(
        self,
        source: str,
        annotator: Annotator,
        output: str,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.source, self._field, self._progress = source, annotator.annotation.field, progress
        self._pack = _packer(output)
        annotation = annotator.annotation
        self._format = RowFormat(
            annotation.field,
            annotator.names,
            annotator.scorer.integers,
            listed=annotation.by == "paragraph",
            endings=(FIELD, annotation.buckets) if annotation.buckets else None,
            overwrite=annotation.overwrite,
        )
        self._shown = "<stdin>" if source == "-" else source

    def place(self, line: int) -> str:
        """The place of a line, counted from 0."""
        return f"{self._shown}:{line + 1}"

    def groups(self, offset: int, line: int) -> Iterator[Iterable[Batch]]:
        """Batches after so many bytes and lines; all of a group are there without waiting."""
        live = self.source == "-" or not Path(self.source).is_file()
        blocks = raw_blocks(
            self.source, plain=True, live=live, skip=offset, progress=self._progress
        )
        if live:
            yield from (_batches([block], line) for block in blocks)
        else:
            # Decompressed in a thread of its own, so that those that score need not wait for it.
            yield _batches(one_ahead(blocks), line)

    def read(self, batch: Batch) -> JsonRows:
        """The rows of a batch, and their texts."""
        return self._format.parse(
            batch.data, batch.lines, lambda line: self.place(batch.line + line)
        )

    def broken(self, rows: JsonRows) -> list[tuple[int, str]]:
        """Of each broken row its line in the batch, and what is wrong."""
        return [(number, problem) for number, problem, _ in rows.broken(self._field)]

    def write(self, rows: JsonRows, judged: Judgement) -> bytes:
        """The rows that are kept, with their new fields."""
        scores = judged.scores
        written = self._format.write(
            rows, judged.kept, scores.values, scores.bounds, judged.buckets
        )
        return self._pack(written) if written.size else b""

    def rejected(self, rows: JsonRows, line: int) -> bytes:
        """The broken rows in the file of those, a line each, after so many lines before the batch.

        Each has its line's number, what is wrong, and the row as it was, separated by tabs.
        """
        return b"".join(
            f"{line + number + 1}\t{problem}\t".encode() + row + b"\n"
            for number, problem, row in rows.broken(self._field)
        )

    def conclude(self, output: Output, rows: Path | None, rejected: Path | None) -> None:
        """Give the finished files their places."""
        output.finish({"rows": rows, "rejected": rejected} if rows and rejected else {})


def _batches(blocks: Iterable[Block], lines_before: int) -> Iterator[Batch]:
    """Lines of blocks, cut so that it only depends on where the first batch begins."""
    waiting, line, end = b"", lines_before, 0
    for block in blocks:
        start = 0
        while True:
            # To the first newline that makes the batch large enough.
            missing = BATCH_BYTES - len(waiting)
            stop = block.data.find(b"\n", start + missing - 1) + 1
            if stop == 0:
                break
            data, waiting = waiting + block.data[start:stop], b""
            batch = Batch(data, line, data.count(b"\n"), block.offset + stop)
            yield batch
            start, line = stop, line + batch.lines
        waiting += block.data[start:]
        end = block.offset + len(block.data)
    if waiting:
        yield Batch(waiting, line, waiting.count(b"\n") + 1, end)


def _packer(output: str) -> Callable[[bytes], bytes]:
    """How a batch is compressed: as a frame, or member, of its own, at the quickest level."""
    suffix = Path(output).suffix.lower()
    if suffix == ".gz":
        return member
    if suffix == ".zst":
        try:
            import zstandard
        except ImportError:
            raise MissingExtraError("text", "zstandard") from None
        return lambda data: bytes(zstandard.ZstdCompressor(level=1).compress(data))
    if suffix in _UNPACKABLE:
        raise SettingError(
            f"files that end in {suffix} are not written", where=output, hint="Use .zst or .gz"
        )
    return bytes
