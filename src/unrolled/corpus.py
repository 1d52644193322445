"""Text to token ids: what a word is, what a bad byte does, and the counting of a whole corpus.

>>> import tempfile, pathlib
>>> folder = tempfile.TemporaryDirectory()
>>> text = pathlib.Path(folder.name, "rose.txt")
>>> _ = text.write_text("a rose is a rose\\n")
>>> corpus = read_corpus(text)
>>> corpus.ids.tolist(), list(corpus.vocabulary)[3:], corpus.tokens
([1, 3, 4, 5, 3, 4, 2], ['a', 'rose', 'is'], 6)
>>> folder.cleanup()
"""

from __future__ import annotations

import dataclasses
import mmap
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import MissingExtraError, SettingError, TextError
from unrolled.text_sources import Block, Sources, raw_blocks, source_bytes
from unrolled.vocabulary import (
    BOS,
    EOS,
    UNK,
    Vocabulary,
    mark_error,
    readonly,
    special_policy,
)

if TYPE_CHECKING:
    from unrolled.word_table import WordTable

__all__ = [
    "Block",
    "Corpus",
    "TextOptions",
    "iter_sentences",
    "read_blocks",
    "read_corpus",
    "source_bytes",
    "tokenise",
]

_TOKENS = ("word", "char", "byte")
_HIGH_RUNS = re.compile(rb"[\x80-\xff]+")
_FINAL_SIGMA = "Σ".encode()


@dataclass(frozen=True)
class TextOptions:
    """How text becomes tokens; a model keeps these and reads later texts in the same way.

    Attributes:
        tokens: ``word``: what ASCII white space parts (NUL, tab, newline, carriage return, space,
            as for lmplz; U+2028 and other Unicode spaces are letters like any other). ``char``:
            characters, with white space as U+2581. ``byte``: bytes, printable ASCII as itself,
            white space as U+2581, others like ``<0xE2>``. Else the path of a SentencePiece
            ``.model`` file.
        lower: lower-case first, as ``str.lower`` does.
        invalid: ``error`` refuses what is not UTF-8, ``replace`` puts U+FFFD in its place.
        specials: what literal marks among the words do. ``unknown``: ``<unk>`` is the unknown word,
            ``<s>`` and ``</s>`` are refused. ``error``: all three are refused, as lmplz does.
            ``skip``: all three are white space, as for ``lmplz --skip_symbols``. ``keep``: each
            becomes its own id, inside sentences too.
        field: the field of JSONL or the column of Parquet that holds text; ``text`` if None.

    Raises:
        SettingError: for a value that is not allowed.
    """

    tokens: str = "word"
    lower: bool = False
    invalid: str = "error"
    specials: str = "unknown"
    field: str | None = None

    def __post_init__(self) -> None:
        if self.tokens not in _TOKENS and not str(self.tokens).endswith(".model"):
            raise SettingError(
                f"tokens is {self.tokens!r}, allowed are {', '.join(_TOKENS)}, "
                "or the path of a SentencePiece file that ends in .model"
            )
        if self.invalid not in ("error", "replace"):
            raise SettingError(f"invalid is {self.invalid!r}, allowed are error, replace")
        special_policy(self.specials)


@dataclass(frozen=True)
class Corpus:
    """A text as ids.

    Attributes:
        ids: (T,) int32, each line as ``<s> words </s>``.
        vocabulary: the words.
        sentences: lines, empty ones included.
        tokens: words and ``</s>``, that is T - sentences.
        oov: words that the vocabulary lacks; a literal ``<unk>`` is not one of them.
        word_counts: (V,) int64, how often each id stands in ``ids``.
    """

    ids: npt.NDArray[np.int32]
    vocabulary: Vocabulary
    sentences: int
    tokens: int
    oov: int
    word_counts: npt.NDArray[np.int64]


def read_blocks(sources: Sources, options: TextOptions | None = None) -> Iterator[Block]:
    """Blocks of some 8 MiB of whole lines, in valid UTF-8, lower-cased and cut into tokens.

    In each, tokens are parted by white space whatever the options, ready for
    ``Vocabulary.encode_block(block.data, place=block.place)``.

    Args:
        sources: files, folders, ``-`` for standard input; one or a list. ``.gz .bz2 .xz .zst`` are
            decompressed, ``.jsonl`` and ``.parquet`` give one field.
        options: see TextOptions.

    Raises:
        TextError: with the place, for what cannot be read.
    """
    options = options or TextOptions()
    for block in raw_blocks(sources, options.field):
        yield dataclasses.replace(block, data=_prepared(block, options))


def tokenise(text: str | bytes, options: TextOptions | None = None) -> bytes:
    """One text as read_blocks gives it: UTF-8, tokens parted by white space, lines kept.

    >>> tokenise("Déjà vu", TextOptions(tokens="char", lower=True)).decode()
    'd é j à ▁ v u'
    """
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return _prepared(Block(data, "<text>", 1), options or TextOptions())


def iter_sentences(sources: Sources, options: TextOptions | None = None) -> Iterator[str]:
    """The lines of read_blocks as strings, tokens parted by white space, without line ends."""
    for block in read_blocks(sources, options):
        lines = block.data.decode(errors="replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        yield from (line.removesuffix("\r") for line in lines)


def _prepared(block: Block, options: TextOptions) -> bytes:
    data = block.data
    if options.tokens != "byte":
        data = _checked(block, options.invalid)
    if options.lower:
        data = _lowered(data)
    if options.tokens in ("char", "byte"):
        return _spelt(data, options.tokens == "char")
    if options.tokens != "word":
        return _pieces(data, options.tokens)
    return data


def _checked(block: Block, invalid: str) -> bytes:
    data = block.data
    if data.isascii():
        return data
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if invalid == "replace":
            return data.decode(errors="replace").encode()
        line = data.count(b"\n", 0, error.start)
        hint = "Convert it, or replace what is wrong with --invalid replace"
        if block.first_line == 1 and data.startswith((b"\xff\xfe", b"\xfe\xff")):
            hint = "It looks like UTF-16: convert it to UTF-8"
        raise TextError(
            f"byte 0x{data[error.start]:02x} at offset {block.offset + error.start} is not UTF-8",
            where=block.place(line),
            hint=hint,
        ) from None
    return data


def _lowered(data: bytes) -> bytes:
    """``str.lower`` on UTF-8; what is not UTF-8 (only ``byte`` tokens have it) stays."""
    if data.isascii():
        return data.lower()
    high = np.count_nonzero(np.frombuffer(data, np.uint8) >= 128)
    # Some accents and quotes in English are cheaper one by one. Only the capital sigma, whose
    # lower case depends on its neighbours, forbids it.
    if 32 * high < len(data) and _FINAL_SIGMA not in data:
        return _HIGH_RUNS.sub(_lowered_run, data.lower())
    return data.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")


def _lowered_run(match: re.Match[bytes]) -> bytes:
    run = match.group().decode(errors="surrogateescape")
    return run.lower().encode(errors="surrogateescape")


def _spelt(data: bytes, characters: bool) -> bytes:
    from unrolled.encoding import spell

    out = np.empty(7 * len(data) + 8, np.uint8)
    written = spell(readonly(np.frombuffer(data, np.uint8)), characters, out)
    return out[:written].tobytes()


def _pieces(data: bytes, model: str) -> bytes:
    processor = _sentencepiece(model)
    lines = data.decode().split("\n")
    return "\n".join(" ".join(pieces) for pieces in processor.encode(lines, out_type=str)).encode()


@lru_cache(maxsize=4)
def _sentencepiece(model: str) -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise MissingExtraError("text", "sentencepiece") from None
    if not Path(model).is_file():
        raise TextError("there is no such SentencePiece model", where=model)
    try:
        return sentencepiece.SentencePieceProcessor(model_file=model)
    except (RuntimeError, OSError):
        raise TextError("the file is not a SentencePiece model", where=model) from None


def read_corpus(
    sources: Sources,
    *,
    options: TextOptions | None = None,
    vocabulary: Vocabulary | None = None,
    min_count: int = 0,
    max_size: int | None = None,
    words: Iterable[str] | None = None,
    threads: int = 2,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Read a text as ids, with a given vocabulary or with its own.

    Its own has the words by descending count, equal ones by first appearance, the same whatever
    the number of threads. Words cut off become ``<unk>``.

    Args:
        sources: see read_blocks.
        options: see TextOptions.
        vocabulary: the words; None for those of the text.
        min_count: leave out words that come fewer times.
        max_size: keep that many words at most, ``<unk> <s> </s>`` not counted.
        words: leave out all other words.
        threads: threads that encode, while another reads.
        progress: called with the bytes of the files read since the last call.

    Raises:
        TextError: when the text cannot be read, with the place.
        SettingError: when a limit is negative, or given along with a vocabulary.
    """
    options = options or TextOptions()
    limited = min_count > 0 or max_size is not None or words is not None
    if vocabulary is not None and limited:
        raise SettingError(
            "min_count, max_size and words are for a new vocabulary, not a given one"
        )
    for name, value in (("min_count", min_count), ("max_size", max_size or 0)):
        if value < 0:
            raise SettingError(f"{name} is {value}, allowed are 0 and more")
    if threads < 1:
        raise SettingError(f"threads is {threads}, allowed are 1 and more")
    if vocabulary is not None:
        return _encoded(sources, options, vocabulary, threads, progress)
    return _counted(sources, options, (min_count, max_size, words), threads, progress)


@dataclass
class _Piece:
    """The ids of one block, in a mapping of their own that goes back to the system when dropped."""

    ids: npt.NDArray[np.int32]
    worker: int = 0
    sentences: int = 0
    oov: int = 0
    first_new: int = 0
    stop_new: int = 0


def _encoded(
    sources: Sources,
    options: TextOptions,
    vocabulary: Vocabulary,
    threads: int,
    progress: Callable[[int], None] | None,
) -> Corpus:
    def encode(block: Block, worker: int) -> _Piece:
        got = vocabulary.encode_block(block.data, specials=options.specials, place=block.place)
        return _Piece(_set_apart(got.ids), worker, got.sentences, got.oov)

    pieces = _on_threads(read_blocks(sources, options), encode, threads, progress)
    oov = sum(piece.oov for piece in pieces)
    return _joined(pieces, vocabulary, None, oov)


def _counted(
    sources: Sources,
    options: TextOptions,
    limits: tuple[int, int | None, Iterable[str] | None],
    threads: int,
    progress: Callable[[int], None] | None,
) -> Corpus:
    from unrolled.word_table import ForbiddenMark, WordTable

    policy = special_policy(options.specials)
    tables = [WordTable() for _ in range(threads)]

    def count(block: Block, worker: int) -> _Piece:
        table, first = tables[worker], tables[worker].words
        try:
            ids = table.count(block.data, policy)
        except ForbiddenMark as mark:
            data = np.frombuffer(block.data, np.uint8)
            raise mark_error(data, mark.position, options.specials, block.place) from None
        return _Piece(_set_apart(ids), worker, first_new=first, stop_new=table.words)

    pieces = _on_threads(read_blocks(sources, options), count, threads, progress)
    table, maps = _merged(tables, pieces)

    table.stop_counting()
    order = _kept(table, *limits)
    ranks = np.zeros(table.words, np.int32)
    ranks[order] = np.arange(order.size, dtype=np.int32)
    oov = int(table.counts[3:][ranks[3:] == 0].sum())
    return _joined(pieces, table.vocabulary(order), [ranks[map_] for map_ in maps], oov)


def _merged(
    tables: list[WordTable], pieces: list[_Piece]
) -> tuple[WordTable, list[npt.NDArray[np.int64]]]:
    """One table of all words by first appearance, and each table's ids in it.

    Each block's new words are entered in the order of the blocks. A word that another thread saw
    in an earlier block is there already, so the order is that of one thread alone.
    """
    from unrolled.vocabulary import SPECIAL_POLICIES
    from unrolled.word_table import WordTable

    if len(tables) == 1:
        return tables[0], [np.arange(tables[0].words)]
    merged = WordTable()
    maps = [np.arange(table.words) for table in tables]
    for piece in pieces:
        if piece.stop_new > piece.first_new:
            new = tables[piece.worker].spaced(piece.first_new, piece.stop_new)
            ids = merged.count(new, SPECIAL_POLICIES["keep"])
            maps[piece.worker][piece.first_new : piece.stop_new] = ids[1:-1]
    merged.counts[:] = 0
    for table, ids in zip(tables, maps, strict=True):
        merged.counts[ids] += table.counts
    return merged, maps


def _kept(
    table: WordTable, min_count: int, max_size: int | None, words: Iterable[str] | None
) -> npt.NDArray[np.int64]:
    """The ids of the words to keep, in their new order."""
    counts = table.counts
    order: npt.NDArray[np.int64] = np.argsort(-counts[3:], kind="stable") + 3
    order = order[counts[order] >= min_count]
    if words is not None:
        every = table.vocabulary(np.arange(table.words, dtype=np.int64))
        listed = np.zeros(table.words, bool)
        listed[every.ids(list(words))] = True
        order = order[listed[order]]
    return np.concatenate([np.array([UNK, BOS, EOS]), order[:max_size]]).astype(np.int64)


def _set_apart(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    # malloc keeps freed blocks of this size for itself; a mapping really goes.
    kept = np.frombuffer(mmap.mmap(-1, max(ids.nbytes, 4)), np.int32)[: ids.size]
    kept[:] = ids
    return kept


def _joined(
    pieces: list[_Piece],
    vocabulary: Vocabulary,
    ranks: list[npt.NDArray[np.int32]] | None,
    oov: int,
) -> Corpus:
    """All pieces in one array, each dropped once copied, so that memory never holds them twice."""
    ids = np.empty(sum(piece.ids.size for piece in pieces), np.int32)
    counts = np.zeros(len(vocabulary), np.int64)
    at = 0
    for rank, piece in enumerate(pieces):
        part = ids[at : at + piece.ids.size]
        if ranks is None:
            part[:] = piece.ids
        else:
            np.take(ranks[piece.worker], piece.ids, out=part, mode="clip")
        counts += np.bincount(part, minlength=len(vocabulary))
        at += part.size
        pieces[rank] = _Piece(ids[:0])
    sentences = int(counts[BOS])
    return Corpus(ids, vocabulary, sentences, ids.size - sentences, oov, counts)


def _on_threads(
    blocks: Iterator[Block],
    work: Callable[[Block, int], _Piece],
    threads: int,
    progress: Callable[[int], None] | None,
) -> list[_Piece]:
    """``work(block, worker)`` of all blocks, in their order; few blocks wait at a time.

    One thread reads here, so that Ctrl-C reaches it; a kernel ends within a block's time.
    """
    done: dict[int, _Piece] = {}
    failed: list[BaseException] = []
    waiting: queue.Queue[tuple[int, Block] | None] = queue.Queue(maxsize=1)

    def worker(number: int) -> None:
        while (task := waiting.get()) is not None:
            try:
                if not failed:
                    done[task[0]] = work(task[1], number)
            except BaseException as error:
                failed.append(error)

    crew = [threading.Thread(target=worker, args=(rank,), daemon=True) for rank in range(threads)]
    for thread in crew:
        thread.start()
    try:
        for rank, block in enumerate(blocks):
            waiting.put((rank, block))
            if failed:
                break
            if progress is not None:
                progress(block.consumed)
    except BaseException as error:
        failed.append(error)
        raise
    finally:
        for _ in crew:
            waiting.put(None)
        for thread in crew:
            thread.join()
    if failed:
        raise failed[0]
    return [done[rank] for rank in range(len(done))]
