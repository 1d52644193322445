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

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unrolled.errors import SettingError
from unrolled.runtime.memory import mapped_copy
from unrolled.runtime.threads import run_ahead
from unrolled.text.blocks import Block
from unrolled.text.id_store import IdStore
from unrolled.text.options import TextOptions
from unrolled.text.sources import Sources, text_blocks
from unrolled.text.specials import SPECIALS
from unrolled.text.tokens import cut_blocks, read_blocks
from unrolled.text.unicode_forms import report_unicode_forms
from unrolled.text.vocabulary import BOS, EOS, UNK, Vocabulary

if TYPE_CHECKING:
    from unrolled.text.word_table import WordTable


@dataclass
class Corpus:
    """A text as ids.

    Attributes:
        ids: (T,) int32, each line as ``<s> words </s>``.
        vocabulary: the words.
        sentences: lines, empty ones included.
        tokens: words and ``</s>``, that is T - sentences.
        oov: words that the vocabulary lacks; a literal ``<unk>`` is not one of them.
        word_counts: (V,) int64, how often each id occurs in ``ids``.
        unknown_types: how many different words became ``<unk>``; 0 where that is not known, because
            the words were given or the text has a literal ``<unk>``.
    """

    ids: npt.NDArray[np.int32]
    vocabulary: Vocabulary
    sentences: int
    tokens: int
    oov: int
    word_counts: npt.NDArray[np.int64]
    unknown_types: int = 0

    def take_ids(self) -> npt.NDArray[np.int32]:
        """Return the ids and remove them from the corpus, so that the caller can free them."""
        ids, self.ids = self.ids, self.ids[:0].copy()
        return ids


def read_corpus(
    sources: Sources | None = None,
    *,
    texts: Iterable[str] | None = None,
    options: TextOptions | None = None,
    vocabulary: Vocabulary | None = None,
    min_count: int = 0,
    max_size: int | None = None,
    words: Iterable[str] | None = None,
    threads: int = 2,
    store: IdStore | None = None,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Read a text as ids, with a given vocabulary or with its own.

    Its own has the words by descending count, equal ones by first appearance, the same whatever
    the number of threads. Words cut off become ``<unk>``.

    Args:
        sources: see read_blocks; or instead
        texts: sentences.
        options: see TextOptions.
        vocabulary: the words; by default those of the text.
        min_count: leave out words that occur fewer times.
        max_size: keep that many words at most, ``<unk> <s> </s>`` not counted.
        words: or a list that is the vocabulary, in this order; words that the text lacks stay.
        threads: threads that encode, while another reads.
        store: holds the ids, in a file if they are many; then those of the corpus are none.
        progress: called with the bytes of the files read since the last call.

    Raises:
        TextError: when the text cannot be read, with the place.
        SettingError: when a limit is negative, or given along with a vocabulary; or a word of the
            list is empty or holds white space.
    """
    given = (vocabulary is not None) + (words is not None)
    if given > 1 or (given and (min_count > 0 or max_size is not None)):
        raise SettingError(
            "min_count and max_size are for the words of the text, not for given ones, and words "
            "are given as one list or one vocabulary"
        )
    if (sources is None) == (texts is None):
        raise SettingError("give either files or texts to read")
    for name, value, least in (
        ("min_count", min_count, 0),
        ("max_size", max_size or 0, 0),
        ("threads", threads, 1),
    ):
        if value < least:
            raise SettingError(f"{name} is {value}, allowed are {least} and more")
    options = options or TextOptions()
    if texts is None:
        blocks = read_blocks(sources or [], options, progress=progress)
    else:
        blocks = cut_blocks(text_blocks(texts), options)
    if words is not None:
        vocabulary = Vocabulary.from_words(dict.fromkeys(words))
    store = store or IdStore()
    if vocabulary is not None:
        return _with_vocabulary(blocks, vocabulary, options.specials, store, threads)
    corpus = _with_own_words(blocks, options.specials, (min_count, max_size), store, threads)
    if options.tokens == "word" and options.normalise != "nfkc":
        report_unicode_forms(corpus.vocabulary, corpus.word_counts)
    return corpus


def _with_vocabulary(
    blocks: Iterator[Block], vocabulary: Vocabulary, specials: str, store: IdStore, threads: int
) -> Corpus:
    def encode(block: Block) -> tuple[npt.NDArray[np.int32], int, int, npt.NDArray[np.int64]]:
        found = vocabulary.encode_block(block.data, specials=specials, place=block.place)
        counts = np.bincount(found.ids, minlength=len(vocabulary))
        return mapped_copy(found.ids), found.sentences, found.oov, counts

    sentences, oov = 0, 0
    counts = np.zeros(len(vocabulary), np.int64)
    for ids, more_sentences, more_oov, more_counts in run_ahead(encode, blocks, threads):
        store.append(ids)
        sentences += more_sentences
        oov += more_oov
        counts += more_counts
    ids = store.finish(threads=threads)
    return Corpus(ids, vocabulary, sentences, store.size - sentences, oov, counts)


@dataclass
class _CountedBlock:
    """A block that a table counted, which got the words ``new`` from it, a text of them all."""

    table: WordTable
    sentences: int
    new: bytes


def _with_own_words(
    blocks: Iterator[Block],
    specials: str,
    limits: tuple[int, int | None],
    store: IdStore,
    threads: int,
) -> Corpus:
    from unrolled.text.word_table import WordTable

    own: dict[int, WordTable] = {}  # a thread's table, which thus sees blocks in their order

    def count(block: Block) -> tuple[_CountedBlock, npt.NDArray[np.int32]]:
        thread = threading.get_ident()
        table = own[thread] = own.get(thread) or WordTable()
        known = table.words
        ids = mapped_copy(table.count(block.data, specials, block.place))
        new = table.spaced(known, table.words) if threads > 1 else b""
        return _CountedBlock(table, table.last_sentences, new), ids

    counted: list[_CountedBlock] = []
    merging = _Merging()
    for block, ids in run_ahead(count, blocks, threads):
        counted.append(block)
        store.append(ids)
        if len(own) > 1:
            merging.extend(counted)
    tables = list(own.values()) or [WordTable()]
    merged, merged_ids = merging.finish(tables)
    for table in tables:
        table.stop_counting()
    sentences = sum(block.sentences for block in counted)
    found = own_words(merged, *limits, sentences)
    final = {id(table): found.ranks[ids] for table, ids in zip(tables, merged_ids, strict=True)}
    mappings = [final[id(block.table)] for block in counted]
    ids = store.finish(mappings, threads=threads)
    return Corpus(
        ids, found.vocabulary, sentences, store.size - sentences, found.oov,
        found.counts, found.unknown_types,
    )  # fmt: skip


@dataclass(frozen=True)
class OwnWords:
    """The vocabulary that a text makes.

    Attributes:
        ranks: the id of each word of the table that they were counted in; 0 of those cut off.
        counts, oov, unknown_types: as of `Corpus`.
    """

    vocabulary: Vocabulary
    ranks: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    oov: int
    unknown_types: int


def own_words(table: WordTable, min_count: int, max_size: int | None, sentences: int) -> OwnWords:
    """The words of a table by descending count, equal ones by their order there."""
    order = _by_frequency(table, min_count, max_size)
    ranks = np.zeros(table.words, np.int32)
    ranks[order] = np.arange(order.size, dtype=np.int32)
    lost = table.counts[3:][ranks[3:] == 0]
    types = lost.size if table.counts[UNK] == 0 else 0
    counts = np.zeros(order.size, np.int64)
    np.add.at(counts, ranks, table.counts)
    counts[[BOS, EOS]] += sentences
    return OwnWords(table.vocabulary(order), ranks, counts, int(lost.sum()), types)


class _Merging:
    """One table of the words of several tables by first appearance, made while they are counted.

    Each block's new words are entered in the order of the blocks. A word that another table got
    from an earlier block is there already, so the order is that of one table alone.
    """

    def __init__(self) -> None:
        from unrolled.text.word_table import WordTable

        self._merged = WordTable()
        self._done = 0
        self._ids: dict[int, list[npt.NDArray[np.int32]]] = {}

    def extend(self, counted: list[_CountedBlock]) -> None:
        """Enter the new words of the blocks that are not done yet."""
        for block in counted[self._done :]:
            ids = self._merged.count(block.new, "keep")[1:-1].copy()
            self._ids.setdefault(id(block.table), []).append(ids)
            block.new = b""
        self._done = len(counted)

    def finish(self, tables: list[WordTable]) -> tuple[WordTable, list[npt.NDArray[Any]]]:
        """The table with the counts of all, and each table's ids in it."""
        if len(tables) == 1:
            return tables[0], [np.arange(tables[0].words)]
        merged, specials = self._merged, np.arange(len(SPECIALS), dtype=np.int32)
        ids = [np.concatenate([specials, *self._ids[id(table)]]) for table in tables]
        merged.counts[:] = 0
        for table, places in zip(tables, ids, strict=True):
            merged.counts[places] += table.counts
        return merged, ids


def _by_frequency(table: WordTable, min_count: int, max_size: int | None) -> npt.NDArray[np.int64]:
    """The ids of the words to keep, in their new order."""
    counts = table.counts
    order = np.argsort(-counts[3:], kind="stable").astype(np.int64) + 3
    order = order[counts[order] >= min_count]
    specials = np.array([UNK, BOS, EOS], np.int64)
    return np.concatenate([specials, order[:max_size]])
