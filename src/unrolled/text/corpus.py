"""A whole text as token ids, with a given vocabulary or its own.

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

import mmap
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from unrolled.errors import SettingError
from unrolled.text.sources import Block, Sources, source_bytes
from unrolled.text.specials import ALL_KEPT, reserved_token_error, special_policy
from unrolled.text.tokens import TextOptions, iter_sentences, read_blocks, tokenise
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.word_table import WordTable

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
    oov, sentences = sum(piece.oov for piece in pieces), sum(piece.sentences for piece in pieces)
    counts = np.zeros(len(vocabulary), np.int64)
    for piece in pieces:
        counts += np.bincount(piece.ids, minlength=len(vocabulary))
    ids = _joined(pieces, None)
    return Corpus(ids, vocabulary, sentences, ids.size - sentences, oov, counts)


def _counted(
    sources: Sources,
    options: TextOptions,
    limits: tuple[int, int | None, Iterable[str] | None],
    threads: int,
    progress: Callable[[int], None] | None,
) -> Corpus:
    from unrolled.text.word_table import ReservedTokenError, WordTable

    policy = special_policy(options.specials)
    tables = [WordTable() for _ in range(threads)]

    def count(block: Block, worker: int) -> _Piece:
        table, first = tables[worker], tables[worker].words
        try:
            ids = table.count(block.data, policy)
        except ReservedTokenError as token:
            data = np.frombuffer(block.data, np.uint8)
            raise reserved_token_error(
                data, token.position, options.specials, block.place
            ) from None
        sentences = table.last_sentences
        return _Piece(_set_apart(ids), worker, sentences, first_new=first, stop_new=table.words)

    pieces = _on_threads(read_blocks(sources, options), count, threads, progress)
    table, maps = _merged(tables, pieces)
    table.stop_counting()
    order = _kept(table, *limits)
    ranks = np.zeros(table.words, np.int32)
    ranks[order] = np.arange(order.size, dtype=np.int32)
    oov = int(table.counts[3:][ranks[3:] == 0].sum())
    sentences = sum(piece.sentences for piece in pieces)
    counts = np.zeros(order.size, np.int64)
    np.add.at(counts, ranks, table.counts)
    counts[[BOS, EOS]] += sentences
    ids = _joined(pieces, [ranks[merged] for merged in maps])
    return Corpus(ids, table.vocabulary(order), sentences, ids.size - sentences, oov, counts)


def _merged(
    tables: list[WordTable], pieces: list[_Piece]
) -> tuple[WordTable, list[npt.NDArray[np.int64]]]:
    """One table of all words by first appearance, and each table's ids in it.

    Each block's new words are entered in the order of the blocks. A word that another thread saw
    in an earlier block is there already, so the order is that of one thread alone.
    """
    from unrolled.text.word_table import WordTable

    if len(tables) == 1:
        return tables[0], [np.arange(tables[0].words)]
    merged = WordTable()
    maps = [np.arange(table.words) for table in tables]
    for piece in pieces:
        if piece.stop_new > piece.first_new:
            new = tables[piece.worker].spaced(piece.first_new, piece.stop_new)
            ids = merged.count(new, ALL_KEPT)
            maps[piece.worker][piece.first_new : piece.stop_new] = ids[1:-1]
    merged.counts[:] = 0
    for table, known in zip(tables, maps, strict=True):
        merged.counts[known] += table.counts
    return merged, maps


def _kept(
    table: WordTable, min_count: int, max_size: int | None, words: Iterable[str] | None
) -> npt.NDArray[np.int64]:
    """The ids of the words to keep, in their new order."""
    counts = table.counts
    order = np.argsort(-counts[3:], kind="stable").astype(np.int64) + 3
    order = order[counts[order] >= min_count]
    if words is not None:
        every = table.vocabulary(np.arange(table.words, dtype=np.int64))
        listed = np.zeros(table.words, bool)
        listed[every.ids(list(words))] = True
        order = order[listed[order]]
    specials = np.array([UNK, BOS, EOS], np.int64)
    return np.concatenate([specials, order[:max_size]])


def _set_apart(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    # malloc keeps freed blocks of this size for itself; a mapping really goes.
    kept = np.frombuffer(mmap.mmap(-1, max(ids.nbytes, 4)), np.int32)[: ids.size]
    kept[:] = ids
    return kept


def _joined(
    pieces: list[_Piece], ranks: list[npt.NDArray[np.int32]] | None
) -> npt.NDArray[np.int32]:
    """All pieces in one array, each dropped once copied, so that memory never holds them twice."""
    ids = np.empty(sum(piece.ids.size for piece in pieces), np.int32)
    at = 0
    for number, piece in enumerate(pieces):
        part = ids[at : at + piece.ids.size]
        if ranks is None:
            part[:] = piece.ids
        else:
            np.take(ranks[piece.worker], piece.ids, out=part, mode="clip")
        at += part.size
        pieces[number] = _Piece(ids[:0])
    return ids


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
