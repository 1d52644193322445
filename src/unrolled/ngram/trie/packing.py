"""Words as bit fields: wrappers that own sizes and threads for the kernels in `trie_kernels`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from unrolled.ngram.trie.layout import SPREADER, inverse_spreader, packed_size
from unrolled.runtime.threads import even_slices, run_slices
from unrolled.text.vocabulary import readonly

Array = np.ndarray[Any, Any]


def pack_words(words: Array, bits: int, threads: int = 1) -> Array:
    """(G,) int32 words to bit fields, spread as the trie stores them."""
    return pack_fields(words, bits, factor=SPREADER, threads=threads)


def pack_fields(values: Array, bits: int, *, factor: int = 1, threads: int = 1) -> Array:
    """(N,) numbers to fields of ``bits`` bits, each multiplied by ``factor`` modulo 2^bits.

    The result is read-only, as fields from a mapped file are: kernels compile for one type.
    """
    from unrolled.ngram.trie import trie_kernels as kernels

    values = np.ascontiguousarray(values, np.int32)
    packed = np.zeros(packed_size(values.size, bits), np.uint64)
    run_slices(
        kernels.pack_fields,
        [(values, *cut, factor, bits, packed) for cut in even_slices(values.size, threads * 4, 64)],
        threads,
    )
    return readonly(packed)


def packed_chunks(
    numbers: Iterable[Array],
    bits: int,
    pack: Callable[..., Array] = pack_words,
    *,
    threads: int = 1,
) -> Iterator[Array]:
    """Words, or with `pack_fields` other numbers, as the same bit fields, chunk by chunk."""
    spare = np.zeros(1, np.uint64)
    for (chunk,) in regrouped(((own,) for own in numbers), 64):
        packed = pack(chunk, bits, threads=threads)
        yield packed[:-1]
        spare = packed[-1:]
    yield spare


def regrouped(chunks: Iterable[tuple[Array, ...]], multiple: int) -> Iterator[tuple[Array, ...]]:
    """The same rows in chunks whose sizes, but the last one's, are a multiple."""
    held: tuple[Array, ...] = ()
    for chunk in chunks:
        if held:
            chunk = tuple(np.concatenate(pair) for pair in zip(held, chunk, strict=True))
        whole = chunk[0].size - chunk[0].size % multiple
        if whole:
            yield tuple(column[:whole] for column in chunk)
        held = tuple(column[whole:] for column in chunk)
    if held and held[0].size:
        yield held


def unpack_words(
    packed: Array, bits: int, start: int, stop: int, *, out: Array | None = None, threads: int = 1
) -> Array:
    """Words of nodes ``start`` to ``stop`` as (stop - start,) int32, in ``out`` if given."""
    from unrolled.ngram.trie import trie_kernels as kernels

    words = np.empty(stop - start, np.int32) if out is None else out
    inverse = inverse_spreader(bits)
    cuts = even_slices(words.size, threads * 4)
    run_slices(
        kernels.unpack_words,
        [(packed, bits, inverse, start + low, words[low:high]) for low, high in cuts],
        threads,
    )
    return words
