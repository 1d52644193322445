r"""ARPA files, the text form of n-gram models that every toolkit reads and writes.

::

    \data\
    ngram 1=5
    ngram 2=4

    \1-grams:
    -1.2041<TAB>the<TAB>-0.3010

    \2-grams:
    -0.3010<TAB>the cat

    \end\

A line is a log-probability, the words, oldest first, and, below the highest order, a back-off
weight; both numbers are logarithms to base 10, here and nowhere else in this package. Inside, both
are float32 natural logarithms: ``float32(number * ln 10)`` of the float64 nearest to what is
written. Numbers are written with the fewest digits that read back as the same float32, so a model
survives any number of conversions unchanged. Of the numbers of lmplz, which are float32 log10, nine
in ten come out as they went in, the others within two units of float32's last place.

What other tools write is taken where it has one meaning:

- gzip, bzip2, xz and Zstandard files; text before ``\data\``; CRLF; a UTF-8 signature; no newline
  at the end; blank lines anywhere; tabs or any run of spaces between columns and words.
- Sections in any order, of orders up to 100; an order with no n-grams.
- No back-off weight: 0. At the highest order: 0 or none.
- A log-probability up to 1e-5 above 0, from rounding: 0. ``-inf``: log zero.
- ``-99`` is log zero for ``<s>``, which is never predicted. For other words it stays the number
  it is, as in KenLM: 1e-99 lets a perplexity stay finite. Log zero is written as ``-99`` again.
- Contexts and suffixes of n-grams that are no n-grams themselves are added such that no
  probability changes.
- ``<UNK>`` is ``<unk>``, unless both are there. No ``<unk>``: added with log10 -100, as KenLM does.
  No ``<s>`` or no ``</s>``: added too, the latter as likely as ``<unk>``. Both with a warning.

How the text was cut into tokens is written as JSON in a comment before ``\data\``, which KenLM and
SRILM skip, and read back: ``# unrolled text options: {"tokens": "char", "lower": true, ...}``. A
SentencePiece file does not fit there: name it with ``--tokens`` when the ARPA file is used.

Anything else is an error that names file and line; declared counts are compared and never trusted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from unrolled.errors import FormatError, SettingError
from unrolled.language_models.protocol import require_normalised
from unrolled.ngram.arpa.reader import ArpaReader
from unrolled.ngram.arpa.sections import MAX_LINE, OPTIONS
from unrolled.ngram.model import NgramModel
from unrolled.ngram.trie.layout import inverse_spreader
from unrolled.ngram.trie.lines import write_lines
from unrolled.ngram.trie.table import NgramTable
from unrolled.storage.atomic import atomic_write
from unrolled.text.vocabulary import Vocabulary, readonly

Array = np.ndarray[Any, Any]


def read_arpa(
    path: str | os.PathLike[str],
    *,
    threads: int = 2,
    progress: Callable[[int], None] | None = None,
) -> NgramModel:
    """Read an ARPA file, plain or compressed; see the module for what is taken.

    The file is read once, in blocks, and not held in memory. Word ids go by the order of the
    unigrams in the file, after ``<unk>``, ``<s>`` and ``</s>``.

    Args:
        path: the file; its content, not its name, determines how it is decompressed.
        threads: blocks that are parsed in parallel.
        progress: called with the bytes of the file, compressed as it is, read since the last call.

    Raises:
        FormatError: the file cannot be read or is broken; the line is named.
        MissingExtraError: Zstandard without the package that reads it.

    Warns:
        UnrolledWarning: ``<unk>``, ``<s>`` or ``</s>`` was missing and added.

    >>> import tempfile
    >>> from unrolled import train_ngram
    >>> model = train_ngram(texts=["the cat sat", "the dog sat"], order=2, smoothing="witten-bell")
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_arpa(model, f"{folder.name}/tiny.arpa.gz")
    >>> again = read_arpa(f"{folder.name}/tiny.arpa.gz")
    >>> again.name, again.score("the cat sat") == model.score("the cat sat")
    ('arpa-2', True)
    >>> folder.cleanup()
    """
    if threads < 1:
        raise SettingError(f"threads is {threads}, it must be at least 1")
    return ArpaReader(os.fspath(path), threads, progress).model()


def write_arpa(
    model: NgramModel,
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a model as an ARPA file, all of it or nothing; gzipped if the name ends in ``.gz``.

    A log-probability that rounding left above 0 is written as 0, log zero as -99. The columns are
    those of lmplz: every n-gram below the highest order has a back-off weight, 0
    if need be. The n-grams of an order stand as the model holds them: by context, and within one
    in a fixed order that is not alphabetical. Equal models make equal files.

    Args:
        model: an n-gram model; quantized ones are written as they score.
        path: the file to make.
        threads: that compress ``.gz``; all cores by default.
        progress: called with the n-grams written so far.

    Raises:
        NotNormalisedError: stupid back-off, whose rule for unseen contexts ARPA cannot hold.
        FormatError: the model's file is damaged.
        SettingError, UnrolledError: the file cannot be written.
    """
    require_normalised(model, "an ARPA file")
    table = model.trie.unpack()
    sizes = [table.size(length) for length in range(1, table.order + 1)]
    write_tables(
        path, sizes, lambda length: [table], model.vocabulary, model.config.get("text"),
        where=model.path, threads=threads, progress=progress,
    )  # fmt: skip


def write_tables(
    path: str | os.PathLike[str],
    sizes: list[int],
    tables: Callable[[int], Iterable[NgramTable]],
    vocabulary: Vocabulary,
    text_options: dict[str, Any] | None = None,
    *,
    where: str | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the n-grams of an ARPA file, see `write_arpa`, whose tables are made as needed.

    Args:
        sizes: numbers of n-grams by order.
        tables: called with an order; gives tables that hold its n-grams one after another. Their
            log-probabilities above 0 are set to 0.
        text_options: how the text was cut into tokens.
        where: the model's file, for messages. threads: that compress ``.gz``.
        progress: called with the n-grams of a table written so far.
    """
    with atomic_write(path, threads=threads) as file:
        if text_options is not None:
            options = {**text_options}
            options.pop("sentencepiece", None)  # too long for a line
            file.write(OPTIONS + json.dumps(options).encode() + b"\n\n")
        file.write(b"\\data\\\n")
        for length, size in enumerate(sizes, 1):
            file.write(b"ngram %d=%d\n" % (length, size))
        for length in range(1, len(sizes) + 1):
            file.write(b"\n\\%d-grams:\n" % length)
            for table in tables(length):
                here = table.log_probs[table.level(length)]
                np.minimum(here, 0, out=here)
                write_lines(file, table, length, _formatter(table, vocabulary, where), progress)
        file.write(b"\n\\end\\\n")


def _formatter(
    table: NgramTable, vocabulary: Vocabulary, where: str | None
) -> Callable[[Array, int, Array], tuple[int, int]]:
    """What writes lines of one table, as `write_lines` calls it."""
    from unrolled.ngram.arpa.arpa_kernels import format_lines

    words = vocabulary.arrays()
    arrays = (table.log_probs, table.backoffs, words["text"], words["offsets"])
    trie = readonly(table.first), readonly(table.words), table.bits, inverse_spreader(table.bits)
    shared = (*trie, *(readonly(array) for array in arrays))

    def lines(path: Array, stop: int, out: Array) -> tuple[int, int]:
        filled, room = format_lines(path, stop, *shared, out)
        if room < 0:
            raise FormatError(
                "the vocabulary has a word outside its text: the file is damaged", where=where
            )
        if room > MAX_LINE:
            raise FormatError(
                f"an n-gram has {room} bytes, and a line of an ARPA file {MAX_LINE} at most",
                where=where,
            )
        return filled, room

    return lines
