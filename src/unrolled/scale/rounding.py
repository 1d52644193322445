"""Round consecutive contexts of one length; the kernels are those of quantizing in memory.

They take nodes of a whole model. Here the contexts are nodes 0 to C, their n-grams the nodes from C
on, and what comes from the suffixes lies behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unrolled.ngram.editing import quantization_kernels as kernels
from unrolled.ngram.editing.quantization_bins import nearest_weights

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Books:
    """The values that numbers are rounded to.

    Attributes:
        log_probs: for each length from 2 on, the 256 log-probabilities and the code of every bin.
        backoffs: (512,) log back-off weights.
    """

    log_probs: list[tuple[Array, Array]]
    backoffs: Array

    def arrays(self) -> dict[str, Array]:
        """What `of_arrays` takes."""
        named = {"backoffs": self.backoffs}
        for length, (book, codes) in enumerate(self.log_probs, 2):
            named |= {f"book {length}": book, f"codes {length}": codes}
        return named

    @classmethod
    def of_arrays(cls, arrays: dict[str, Array]) -> Books:
        """From `arrays`."""
        lengths = range(2, len(arrays) // 2 + 2)
        books = [(arrays[f"book {length}"], arrays[f"codes {length}"]) for length in lengths]
        return cls(books, arrays["backoffs"])


@dataclass(frozen=True)
class RoundedContexts:
    """Rounded contexts, C of them, with N n-grams.

    Attributes:
        codes: (N,) uint8. backoff_codes: (C,) uint16.
        pairs: (N, 2) float32, probabilities and what the codes stand for; of lengths below the
            order.
        sums: (C, 2) float32, what each context sums to, exactly and rounded.
    """

    codes: Array
    backoff_codes: Array
    pairs: Array
    sums: Array


def exact_probabilities(log_probs: Array) -> Array:
    """Probabilities (N,) float32 as quantizing takes them from logarithms."""
    probabilities = np.empty(log_probs.size, np.float32)
    kernels.exact_probabilities(log_probs, probabilities)
    return probabilities


def measured_rooms(children: Array, lower: Array) -> Array:
    """What the shorter contexts leave to words that do not follow contexts, (C,) float64.

    Args:
        children: (C,) how many n-grams each has. lower: (N,) float32 probabilities of suffixes.
    """
    rooms = np.empty(children.size)
    places = np.arange(lower.size, dtype=np.uint32)
    contexts = np.arange(children.size)
    kernels.measure_rooms(first_nodes(children, 0), contexts, places, lower.reshape(-1, 1), rooms)
    return rooms


def first_nodes(children: Array, start: int) -> Array:
    """The first n-gram of each context, and the end, (C + 1,) uint32; they begin at ``start``."""
    first = np.full(children.size + 1, start, np.uint32)
    first[1:] += np.cumsum(children, dtype=np.uint32)
    return first


def rounded_contexts(
    children: Array,
    log_probs: Array,
    backoffs: Array,
    received: tuple[Array, Array | None],
    books: Books,
    length: int,
) -> RoundedContexts:
    """Round the n-grams of one length of some contexts.

    Args:
        children: (C,) how many n-grams each context has. log_probs: (N,). backoffs: (C,).
        received: ``pairs`` (N, 2) of the n-grams' suffixes, and ``sums`` (C, 2) of the contexts'
            suffixes; None for single words, which are taken to sum to one.
        length: words of an n-gram.
    """
    contexts, size = children.size, log_probs.size
    inner = length <= len(books.log_probs)  # the order has no pairs of its own
    start = contexts if inner else max(contexts, size)
    suffixes, exact = np.empty(start + size, np.uint32), np.empty(start + size, np.float32)
    exact[start:] = log_probs
    lower, given = received
    pairs, before = lower, 0
    if inner:
        before = contexts + size
        pairs = np.empty((before + size, 2), np.float32)
        pairs[before:] = lower
        pairs[contexts:before, 0] = exact_probabilities(log_probs)
    suffixes[start:] = np.arange(before, before + size)
    suffixes[:contexts] = np.arange(contexts, 2 * contexts)
    sums = np.ones((2 * contexts, 2), np.float32)
    vocabulary = start
    if given is not None:
        sums[contexts:], vocabulary = given, 0
    codes, backoff_codes = (
        np.zeros(start + size - vocabulary, np.uint8),
        np.zeros(contexts, np.uint16),
    )
    book, nearest = books.log_probs[length - 2]
    kernels.round_contexts(
        first_nodes(children, start), 0, contexts, suffixes, exact, pairs, codes, vocabulary,
        np.exp(book.astype(np.float64)), nearest, backoffs,
        np.exp(books.backoffs.astype(np.float64)), nearest_weights(books.backoffs), backoff_codes,
        sums,
    )  # fmt: skip
    return RoundedContexts(
        codes[start - vocabulary :], backoff_codes, pairs[contexts:before] if inner else lower[:0],
        sums[:contexts],
    )  # fmt: skip
